"""This module turns images into vectors in fixed batches; what kind of model it is comes from the files
beside this one."""

from __future__ import annotations

import io
import json
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, cast

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

READERS = 4
"""Threads that read and decode ahead of an encoder on the CPU: for files far away they mostly wait."""
MOST_DECODERS = 64


class Batch(NamedTuple):
    """A batch has its pixels (batch, 3, *size), all of them once it is `done`."""

    start: int
    """Position of its first image."""
    pixels: Tensor
    decodes: list[Future[bool]]
    """Of each image whether it decodes."""

    def done(self) -> Batch:
        """Return the batch when all its images are there. Raises what a thread raised."""
        for image in self.decodes:
            image.result()
        return self


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
        least: int | None = None,
    ) -> None:
        """`prepare`: an RGB image -> (3, *size) float32; `forward`: (batch, 3, *size) -> (batch, dim);
        `settings`: what the identity says besides weights, batch, threads and type (name, pooling, layer,
        ...); `least`: the shortest side that `prepare` has a use for (default: the longer one of `size`).
        JPEGs are decoded no larger than is needed for it, which is part of the identity."""
        import torch

        self.dim = dim
        self._size = size
        self._prepare = prepare
        self._forward = forward
        self._device = device
        self._threads = threads
        self._batch = batch
        self._least = max(size) if least is None else least
        self._decoders = _cores() if torch.device(device).type == "cuda" else READERS
        self._dtype = torch.float32
        self._dtype = settle(settings["name"], precision, device, self._probe)
        self._identity = json.dumps(
            {
                **settings,
                "weights": weights_digest(model),
                "size": size,
                "decoding": f"JPEG at the smallest half, quarter or eighth with no side below {self._least}",
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
        (`auditor.encoders.isolation`). Each is asked for once, by the thread that decodes it, so that a
        sequence may read its files then.
        """
        images = cast(Sequence[bytes], contents)
        out = np.full((len(images), self.dim), np.nan, dtype=np.float32)
        before: tuple[Batch, Tensor] | None = None
        spare: list[Tensor] = []
        with (
            ThreadPoolExecutor(self._decoders) as threads,
            fixed_threads(self._threads),
            computing(self._dtype, self._device),
        ):
            for batch in self._batches(images, threads, spare):
                rows = self._forward(batch.pixels.to(self._device, non_blocking=True)).float()
                if before is not None:  # a GPU is at the next batch while the rows of the last one come
                    _take(out, *before)
                    spare.append(before[0].pixels)  # nobody reads them any more
                before = batch, rows
            if before is not None:
                _take(out, *before)
        return out

    def _batches(self, images: Sequence[bytes], threads: Executor, spare: list[Tensor]) -> Iterator[Batch]:
        """Yield batch by batch. Threads read and decode the images of the next batches while one is encoded.
        `spare`: memory of earlier batches."""
        ahead: deque[Batch] = deque()
        deep = max(2, -(-2 * self._decoders // self._batch))
        for start in range(0, len(images), self._batch):
            pixels = spare.pop() if spare else self._memory()
            places = range(start, min(start + self._batch, len(images)))
            array = pixels.numpy()
            array[len(places) :] = 0
            coming = [threads.submit(self._load, images, i, array[i - start]) for i in places]
            ahead.append(Batch(start, pixels, coming))
            if len(ahead) > deep:
                yield ahead.popleft().done()
        while ahead:
            yield ahead.popleft().done()

    def _memory(self) -> Tensor:
        """Memory of a batch that other threads may write to; what stands in it is anything."""
        import torch

        with torch.inference_mode(False):
            on_gpu = torch.device(self._device).type == "cuda"
            return torch.empty(self._batch, 3, *self._size, pin_memory=on_gpu)

    def _load(self, images: Sequence[bytes], index: int, pixels: Array) -> bool:
        """Read, decode and prepare one image into `pixels` (3, *size); whether it decodes."""
        try:
            image = decode(images[index], None, self._least)
        except RowError:
            pixels[:] = 0
            return False
        pixels[:] = self._prepare(image).numpy()
        return True

    def _probe(self, dtype: torch.dtype) -> Array:
        """Vectors of the probe, computed in `dtype`."""
        before, self._dtype = self._dtype, dtype
        try:
            return self.encode(probe())
        finally:
            self._dtype = before


def _cores() -> int:
    """Return how many threads decode for a GPU: as many as this process has cores. They change no bit."""
    return max(READERS, min(MOST_DECODERS, len(os.sched_getaffinity(0))))


def _take(out: Array, batch: Batch, rows: Tensor) -> None:
    """Put the rows of the batch's images that decode into their places."""
    chosen = np.flatnonzero([image.result() for image in batch.decodes])
    out[batch.start + chosen] = rows.cpu().numpy()[chosen]


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
