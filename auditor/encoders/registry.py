"""Encoders by name. A new one is a file beside this and a line in `_IMAGE` or `_TEXT`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, get_args

from auditor.encoders import efficientnet, openclip, transformers_image, transformers_text
from auditor.encoders.precision import Precision
from auditor.encoders.pretrained import lab_directory, model_directory
from auditor.errors import BadInput
from auditor.protocols import Encoder, Modality

Loader = Callable[..., Encoder]

IMAGE_BATCH = 16
TEXT_BATCH = 16


def make_encoder(
    name_or_settings: str | Mapping[str, Any],
    modality: Modality,
    *,
    device: str = "cpu",
    threads: int = 1,
    batch: int | None = None,
) -> Encoder:
    """The encoder of a name, or of settings `{name, pooling, layer, precision}` (all but `name` optional).

    Beside the names of `encoder_names`, a local directory, `hf:NAME` (transformers) and, for images,
    `open_clip:MODEL/TAG` are names.

    Raises:
        BadInput: an unknown name or setting (the known ones are listed), a package that is not installed, or
        a
            model that cannot be reached.
    """
    name, given, loader, precision = _checked(name_or_settings, modality)
    default_batch = IMAGE_BATCH if modality == "image" else TEXT_BATCH
    return loader(
        **given,
        name=name,
        device=device,
        threads=threads,
        batch=batch or default_batch,
        precision=precision,
    )


def check_encoder(name_or_settings: str | Mapping[str, Any], modality: Modality) -> None:
    """Raises `BadInput` as `make_encoder` does for an unknown name or setting; loads and fetches nothing."""
    _checked(name_or_settings, modality)


def _checked(
    name_or_settings: str | Mapping[str, Any], modality: Modality
) -> tuple[str, dict[str, Any], Loader, str]:
    """The name, its settings with their defaults, its loader and its precision."""
    given = {"name": name_or_settings} if isinstance(name_or_settings, str) else dict(name_or_settings)
    name = given.pop("name", None)
    if not isinstance(name, str):
        raise BadInput(f"encoders.{modality}: no name given; known: {', '.join(encoder_names(modality))}")
    precision = given.pop("precision", "auto")
    if precision not in get_args(Precision):
        raise BadInput(f"encoder {name}: precision {precision!r} is none of {', '.join(get_args(Precision))}")
    loader, defaults = _find(name, modality)
    unknown = sorted(set(given) - set(defaults))
    if unknown:
        takes = ", ".join(sorted(defaults)) or "none"
        raise BadInput(f"encoder {name}: unknown setting {', '.join(map(repr, unknown))}; it takes: {takes}")
    return name, {**defaults, **given}, loader, precision


def encoder_names(modality: Modality) -> list[str]:
    """The names that need no address."""
    return sorted(_IMAGE if modality == "image" else _TEXT)


def _find(name: str, modality: Modality) -> tuple[Loader, dict[str, Any]]:
    """The loader of `name`, and the defaults of the settings that it takes."""
    named = _IMAGE if modality == "image" else _TEXT
    if name in named:
        return named[name]
    scheme, _, rest = name.partition(":")
    if modality == "image" and scheme == "open_clip" and "/" in rest:
        model, _, tag = rest.rpartition("/")
        return partial(openclip.from_tag, model, tag), _PATCHES
    directory = rest if scheme == "hf" and rest else name
    if directory == name and not Path(name).is_dir():
        known = [*encoder_names(modality), "hf:NAME", "a directory"]
        if modality == "image":
            known.append("open_clip:MODEL/TAG")
        raise BadInput(f"encoders.{modality}: unknown encoder {name!r}; known: {', '.join(known)}")
    if modality == "text":
        return _hub(transformers_text.load, directory, multilingual=False), _LAST_MEAN
    if (Path(directory) / "open_clip_config.json").is_file():
        return partial(openclip.from_directory, Path(directory)), _PATCHES
    return _hub(transformers_image.load, directory), _PATCHES


def _hub(load: Loader, name: str, **fixed: Any) -> Loader:
    return lambda **options: load(model_directory(name), **fixed, **options)


def _lab_image(**options: Any) -> Encoder:
    return openclip.from_directory(lab_directory("clip"), **options)


def _lab_text(**options: Any) -> Encoder:
    return transformers_text.load(lab_directory("xlmr"), multilingual=True, **options)


_PATCHES: dict[str, Any] = {"pooling": openclip.PATCH_MEAN, "layer": -1}
_LAST_MEAN: dict[str, Any] = {"pooling": "mean", "layer": -1}

_IMAGE: dict[str, tuple[Loader, dict[str, Any]]] = {
    # The space that the contrastive training shapes; patch tokens are shaped by the supervised tower alone.
    "lab": (_lab_image, {**_PATCHES, "pooling": openclip.PROJECTED}),
    "clip-vit-b32-openai": (partial(openclip.from_tag, "ViT-B-32-quickgelu", "openai"), _PATCHES),
    "efficientnet-lite0": (efficientnet.load, {}),
}
_TEXT: dict[str, tuple[Loader, dict[str, Any]]] = {
    # The last layer, not the published layer 0: lab questions differ by word order ("left of", "above"),
    # which an average of embeddings does not see.
    "lab": (_lab_text, _LAST_MEAN),
    "xlm-roberta-base": (
        _hub(transformers_text.load, "FacebookAI/xlm-roberta-base", multilingual=True),
        {"pooling": "mean-but-first", "layer": 0},
    ),
    "minilm": (transformers_text.load_minilm, _LAST_MEAN),
}
