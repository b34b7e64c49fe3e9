"""Image encoders of transformers (CLIP, SigLIP, ViT, DINOv2, ...): a directory, or a name that the hub
knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers import AutoImageProcessor, AutoModel

from auditor.encoders.images import ImageEncoder
from auditor.encoders.openclip import PATCH_MEAN
from auditor.encoders.precision import Precision
from auditor.encoders.pretrained import load_model
from auditor.errors import BadInput

PATCHES = "patch-mean"
"""Patch tokens of `hidden_states[layer]`, class and register tokens left out, averaged."""
POOLINGS = (PATCHES, PATCH_MEAN)


def load(
    directory: Path,
    *,
    name: str,
    pooling: str,
    layer: int,
    device: str,
    threads: int,
    batch: int,
    precision: Precision,
) -> ImageEncoder:
    """The vision model in `directory`. For CLIP both poolings are the published one.

    Raises:
        BadInput: the directory holds no vision model of patch tokens, or the model no such layer.
    """
    if pooling not in POOLINGS:
        raise BadInput(f"encoder {name}: unknown pooling {pooling!r}; it has: {', '.join(POOLINGS)}")
    try:
        processor = AutoImageProcessor.from_pretrained(directory, trust_remote_code=False, backend="pil")
    except (OSError, ValueError, KeyError) as error:
        raise BadInput(f"encoder {name}: {directory} does not load ({str(error).splitlines()[0]})") from error
    loaded = load_model(AutoModel, directory, name)
    model = getattr(loaded, "vision_model", loaded).to(device)

    def forward(pixels: Tensor) -> Tensor:
        states = model(pixel_values=pixels, output_hidden_states=True).hidden_states[layer]
        patches = (pixels.shape[2] // model.config.patch_size) * (pixels.shape[3] // model.config.patch_size)
        return states[:, -patches:].float().mean(1)

    def prepare(image: Image.Image) -> Tensor:
        return processor(images=image, return_tensors="pt")["pixel_values"][0]

    size = prepare(Image.new("RGB", (64, 64))).shape[1:]
    try:
        with torch.inference_mode():
            dim = forward(torch.zeros(1, 3, *size, device=device)).shape[1]
    except (AttributeError, TypeError, IndexError) as error:
        raise BadInput(f"encoder {name}: no patch tokens at layer {layer} ({error})") from error
    preprocessing: dict[str, Any] = {
        key: value
        for key, value in processor.to_dict().items()
        if isinstance(value, (str, int, float, list, dict))
    }
    return ImageEncoder(
        model,
        dim=dim,
        size=(size[0], size[1]),
        prepare=prepare,
        forward=forward,
        settings={"name": name, "pooling": pooling, "layer": layer, "preprocessing": preprocessing},
        device=device,
        threads=threads,
        batch=batch,
        precision=precision,
    )
