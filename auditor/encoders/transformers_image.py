"""This module loads the image encoders of transformers (CLIP, SigLIP, ViT, DINOv2, ...): a directory, or a
name that the hub knows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from auditor.encoders import openclip
from auditor.encoders.images import ImageEncoder
from auditor.encoders.openclip import PATCH_MEAN, OpenClipSettings
from auditor.encoders.precision import Precision
from auditor.encoders.pretrained import load_model, model_directory
from auditor.encoders.registry import HUB, encoder
from auditor.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor

PATCHES = "patch-mean"
"""Patch tokens of `hidden_states[layer]`, class and register tokens left out, averaged."""
POOLINGS = (PATCHES, PATCH_MEAN)
_OPEN_CLIP = "open_clip_config.json"


@encoder(HUB, "image", settings=OpenClipSettings, shown="hf:NAME")
def named_or_directory(*, name: str, settings: OpenClipSettings, **options: Any) -> ImageEncoder:
    """Load a model by a name that the hub knows, or from a directory; one that open_clip has saved is
    open_clip's to load."""
    place = name.removeprefix(HUB)
    if (Path(place) / _OPEN_CLIP).is_file():
        return openclip.from_directory(Path(place), name=name, **settings.model_dump(), **options)
    return load(model_directory(place), name=name, **settings.model_dump(), **options)


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
    """Load the vision model in `directory`. For CLIP both poolings are the published one.

    Raises:
        BadInput: the directory holds no vision model of patch tokens, or the model no such layer.
    """
    import torch
    from transformers import AutoImageProcessor, AutoModel

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
    resized = getattr(processor, "size", None) or {}
    least = max(*size, *(v for v in dict(resized).values() if isinstance(v, int)))
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
        least=least,
    )
