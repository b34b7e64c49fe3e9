"""This module loads the image encoders of open_clip: a published name and tag, or a directory with
`open_clip_config.json`."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from auditor.encoders.images import ImageEncoder
from auditor.encoders.precision import Precision
from auditor.encoders.pretrained import hub_file
from auditor.encoders.registry import encoder
from auditor.errors import BadInput
from auditor.registry import Settings

if TYPE_CHECKING:
    from torch import Tensor, nn

PATCH_MEAN = "patch-mean-last-hidden-pre-postnorm"
"""Patch tokens of a layer's output, before the final layer norm, the class token left out, averaged: with the
last layer this is `hidden_states[-1][:, 1:].mean(1)` of transformers' CLIP, as the paper's encoder is."""
PROJECTED = "projected"
"""The model's own image features: the projected class token for CLIP."""
POOLINGS = (PATCH_MEAN, PROJECTED)

_FULL_NAME = "open_clip_model.safetensors"
_SCHEME = "open_clip:"


class OpenClipSettings(Settings):
    """The settings say which part of the model is used."""

    pooling: str = PATCH_MEAN
    layer: int = -1


@encoder("clip-vit-b32-openai", "image", settings=OpenClipSettings)
def clip_vit_b32_openai(*, settings: OpenClipSettings, **options: Any) -> ImageEncoder:
    """Load CLIP ViT-B/32 of OpenAI, the paper's image encoder."""
    return from_tag("ViT-B-32-quickgelu", "openai", **settings.model_dump(), **options)


@encoder(_SCHEME, "image", settings=OpenClipSettings, shown="open_clip:MODEL/TAG")
def any_published(*, name: str, settings: OpenClipSettings, **options: Any) -> ImageEncoder:
    """Load any model that open_clip lists, by `open_clip:MODEL/TAG`."""
    model, _, tag = name.removeprefix(_SCHEME).rpartition("/")
    if not model:
        raise BadInput(f"encoder {name}: write open_clip:MODEL/TAG, such as open_clip:ViT-B-32/openai")
    return from_tag(model, tag, name=name, **settings.model_dump(), **options)


def from_tag(model: str, tag: str, **options: Any) -> ImageEncoder:
    """Load a model of open_clip's list with published weights, say `("ViT-B-32", "openai")`.

    Raises:
        BadInput: open_clip knows no such pair, or the weights cannot be reached.
    """
    import open_clip

    published = open_clip.get_pretrained_cfg(model, tag)
    if not published:
        tags = open_clip.list_pretrained_tags_by_model(model)
        known = f"its tags: {', '.join(tags)}" if tags else "no such model"
        raise BadInput(f"open_clip has no weights {tag!r} for {model!r} ({known})")
    parts = published["hf_hub"].strip("/").split("/", 2)
    weights = hub_file("/".join(parts[:2]), parts[2] if len(parts) > 2 else _FULL_NAME)
    preprocess = {k: published[k] for k in ("mean", "std", "interpolation", "resize_mode") if k in published}
    # Without this, OpenAI's weights under the plain name get the wrong activation, with no more than a
    # warning.
    gelu = bool(published.get("quick_gelu"))
    loaded = open_clip.create_model(
        model, pretrained=str(weights), force_quick_gelu=gelu, force_preprocess_cfg=preprocess
    )
    return _encoder(loaded.visual, **options)


def from_directory(directory: Path, **options: Any) -> ImageEncoder:
    """Load a model saved as open_clip saves it: `open_clip_config.json` beside its weights."""
    import open_clip

    try:
        loaded = open_clip.create_model(f"local-dir:{directory}", require_pretrained=True)
    except (RuntimeError, ValueError, OSError, UnpicklingError, SafetensorError) as error:
        raise BadInput(f"{directory}: no open_clip model ({str(error).splitlines()[0]})") from error
    return _encoder(loaded.visual, **options)


def _encoder(
    visual: nn.Module,
    *,
    name: str,
    pooling: str,
    layer: int,
    device: str,
    threads: int,
    batch: int,
    precision: Precision,
) -> ImageEncoder:
    import open_clip
    import torch
    from open_clip.transform import PreprocessCfg, image_transform_v2

    if pooling not in POOLINGS:
        raise BadInput(f"encoder {name}: unknown pooling {pooling!r}; it has: {', '.join(POOLINGS)}")
    if pooling == PROJECTED and layer != -1:
        raise BadInput(f"encoder {name}: pooling {PROJECTED!r} is of the last layer only")
    if pooling == PATCH_MEAN and not hasattr(visual, "forward_intermediates"):
        raise BadInput(f"encoder {name}: this model shows no patch tokens; use pooling {PROJECTED!r}")
    visual = visual.eval().to(device)
    config: dict[str, Any] = dict(visual.preprocess_cfg)  # type: ignore[arg-type]

    def forward(pixels: Tensor) -> Tensor:
        if pooling == PROJECTED:
            return visual(pixels)
        maps = visual.forward_intermediates(  # type: ignore[operator]
            pixels, indices=[layer], stop_early=True, intermediates_only=True, output_fmt="NCHW"
        )["image_intermediates"][0]
        return maps.float().mean((2, 3))

    height, width = open_clip.transform.to_2tuple(visual.image_size)
    with torch.inference_mode():
        try:
            dim = forward(torch.zeros(1, 3, height, width, device=device)).shape[1]
        except AssertionError as error:
            raise BadInput(f"encoder {name}: layer {layer} ({error})") from error
    return ImageEncoder(
        visual,
        dim=dim,
        size=(height, width),
        prepare=image_transform_v2(PreprocessCfg(**config), is_train=False),
        forward=forward,
        settings={"name": name, "pooling": pooling, "layer": layer, "preprocessing": config},
        device=device,
        threads=threads,
        batch=batch,
        precision=precision,
    )
