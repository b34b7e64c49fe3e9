"""Images to vectors in fixed batches; what kind of model it is comes from the files beside this one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from auditor.encoders.pretrained import fixed_threads, weights_digest
from auditor.errors import RowError
from auditor.interface import Array, Modality
from auditor.records import decode


class ImageEncoder:
    """An `Encoder` of images around a loaded model.

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
    ) -> None:
        """`prepare`: an RGB image -> (3, *size) float32; `forward`: (batch, 3, *size) -> (batch, dim);
        `settings`: what the identity says besides weights, batch, threads and type (name, pooling, layer,
        ...)."""
        self.dim = dim
        self._size = size
        self._prepare = prepare
        self._forward = forward
        self._device = device
        self._threads = threads
        self._batch = batch
        self._identity = json.dumps(
            {
                **settings,
                "weights": weights_digest(model),
                "size": size,
                "dtype": "float32",
                "device": torch.device(device).type,
                "batch": batch,
                "threads": threads,
                "torch": torch.__version__,
            },
            sort_keys=True,
        )

    @property
    def identity(self) -> str:
        """Canonical JSON of everything that changes the output."""
        return self._identity

    def encode(self, contents: Sequence[bytes] | Sequence[str]) -> Array:
        """(n, dim) float32, not normalised, from encoded image bytes.

        Contents are admitted ones; one that does not decode all the same is a row of NaN, its neighbours keep
        their bits, and the caller, who looks for rows that are not finite anyway, finds it.
        """
        images = cast(Sequence[bytes], contents)
        out = np.full((len(images), self.dim), np.nan, dtype=np.float32)
        with fixed_threads(self._threads), torch.inference_mode():
            for start in range(0, len(images), self._batch):
                chunk = images[start : start + self._batch]
                pixels = torch.zeros(self._batch, 3, *self._size)
                good = []
                for i, data in enumerate(chunk):
                    try:
                        pixels[i] = self._prepare(decode(data))
                    except RowError:
                        continue
                    good.append(i)
                rows = self._forward(pixels.to(self._device)).float().cpu().numpy()
                out[start : start + len(chunk)][good] = rows[good]
        return out
