"""This module turns images into vectors in fixed batches; what kind of model it is comes from the files
beside this one."""

from __future__ import annotations

import io
import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from PIL import Image

from auditor.encoders.precision import Precision, computing, settle
from auditor.encoders.pretrained import fixed_threads, weights_digest
from auditor.errors import RowError
from auditor.protocols import Array, Modality
from auditor.records import decode

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


class ImageEncoder:
    """This class is an `Encoder` of images around a loaded model.

    Every batch has `batch` images of one size, the last one filled with blanks, so the same arithmetic is
    done for an image whoever comes with it.
    """

    modality: Modality = "image"

    def __init__(
        self,
        model: nn.Module,
        *,
        dim: int,
        size: tuple[int, int],
        prepare: Callable[[Image.Image], Tensor],
        forward: Callable[[Tensor], Tensor],
        settings: Mapping[str, Any],
        device: str,
        threads: int,
        batch: int,
        precision: Precision,
    ) -> None:
        """`prepare`: an RGB image -> (3, *size) float32; `forward`: (batch, 3, *size) -> (batch, dim);
        `settings`: what the identity says besides weights, batch, threads and type (name, pooling, layer,
        ...)."""
        import torch

        self.dim = dim
        self._size = size
        self._prepare = prepare
        self._forward = forward
        self._device = device
        self._threads = threads
        self._batch = batch
        self._decoders = threads if torch.device(device).type == "cuda" else 0
        self._dtype = torch.float32
        self._dtype = settle(settings["name"], precision, device, self._probe)
        self._identity = json.dumps(
            {
                **settings,
                "weights": weights_digest(model),
                "size": size,
                "dtype": str(self._dtype).removeprefix("torch."),
                "device": torch.device(device).type,
                "batch": batch,
                "threads": threads,
                "torch": torch.__version__,
            },
            sort_keys=True,
        )

    @property
    def identity(self) -> str:
        """Return canonical JSON of everything that changes the output."""
        return self._identity

    def encode(self, contents: Sequence[bytes] | Sequence[str]) -> Array:
        """Return vectors (n, dim) float32, not normalised, of encoded image bytes.

        Contents are admitted ones: their headers were checked, their pixels are not. One that does not decode
        is a row of NaN, its neighbours keep their bits, and the caller finds it and asks why
        (`auditor.encoders.isolation`).
        """
        import torch

        images = cast(Sequence[bytes], contents)
        out = np.full((len(images), self.dim), np.nan, dtype=np.float32)
        with fixed_threads(self._threads), computing(self._dtype, self._device):
            for start, decoded in self._decode_batches(images):
                pixels = torch.zeros(self._batch, 3, *self._size)
                good = []
                for i, image in enumerate(decoded):
                    if image is not None:
                        pixels[i] = image
                        good.append(i)
                rows = self._forward(pixels.to(self._device)).float().cpu().numpy()
                out[start : start + len(decoded)][good] = rows[good]
        return out

    def _decode_batches(self, images: Sequence[bytes]) -> Iterator[tuple[int, list[Tensor | None]]]:
        """Yield, batch by batch, where it starts and its images ready for the model (None: one does not
        decode).

        Beside a GPU the next batch is decoded by threads while this one is encoded. On the CPU threads would
        only take the encoder's time: decoding and encoding want the same cores.
        """
        starts = range(0, len(images), self._batch)
        if not self._decoders:
            for start in starts:
                yield start, [self._load(data) for data in images[start : start + self._batch]]
            return
        with ThreadPoolExecutor(self._decoders) as threads:
            ahead: deque[tuple[int, list[Future[Tensor | None]]]] = deque()
            for start in starts:
                chunk = images[start : start + self._batch]
                ahead.append((start, [threads.submit(self._load, data) for data in chunk]))
                if len(ahead) > 1:
                    first, coming = ahead.popleft()
                    yield first, [image.result() for image in coming]
            for first, coming in ahead:
                yield first, [image.result() for image in coming]

    def _load(self, data: bytes) -> Tensor | None:
        try:
            image = decode(data, None)
        except RowError:
            return None
        return self._prepare(image)

    def _probe(self, dtype: torch.dtype) -> Array:
        """Vectors of the probe, computed in `dtype`."""
        before, self._dtype = self._dtype, dtype
        try:
            return self.encode(probe())
        finally:
            self._dtype = before


@cache
def probe() -> tuple[bytes, ...]:
    """Return images that a cheaper arithmetic is tried on: noise, a gradient and stripes, as PNG."""
    rows, columns = np.mgrid[0:96, 0:96].astype(np.float64) / 95
    noise = np.random.default_rng(0).random((96, 96, 3))
    gradient = np.stack([rows, columns, 1 - rows], axis=2)
    stripes = np.repeat((np.sin(40 * columns) > 0)[:, :, None] * 1.0, 3, axis=2)
    out = []
    for picture in (noise, gradient, stripes, (noise + gradient) / 2):
        file = io.BytesIO()
        Image.fromarray((picture * 255).astype(np.uint8)).save(file, format="PNG")
        out.append(file.getvalue())
    return tuple(out)
