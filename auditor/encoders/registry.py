"""This module registers encoders by name. A new one is a file beside this (or in a package of its own) with
`@encoder(...)`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

from auditor.encoders.precision import Precision
from auditor.errors import BadInput
from auditor.protocols import Encoder, Modality
from auditor.registry import Registry, Settings, settings_keyword

IMAGE_BATCH = 16
TEXT_BATCH = 16
HUB = "hf:"
"""Scheme of the names that the hub knows; what it names may be a directory, too."""

F = TypeVar("F", bound=Callable[..., Encoder])
P = TypeVar("P", bound=Callable[[str], Path])


@dataclass(frozen=True, slots=True)
class NamedEncoder:
    """An entry has the function that loads an encoder and the class of its own settings (None: it has
    none)."""

    load: Callable[..., Encoder]
    settings: type[Settings] | None


ENCODERS: Mapping[Modality, Registry[NamedEncoder]] = {
    modality: Registry(
        f"{modality} encoder", "auditor.encoders.encoder", "shift_auditor.encoders", "auditor.encoders"
    )
    for modality in get_args(Modality)
}


def encoder(
    name: str, modality: Modality, *, settings: type[Settings] | None = None, shown: str | None = None
) -> Callable[[F], F]:
    """Register the function below, which loads an encoder of `modality`, under `name`.

    It is called with `name` (as the config gives it), `device`, `threads`, `batch` and `precision`, and with
    `settings` where a class of settings is given: those that the config has beside the name, validated. A
    name that ends in a colon is a scheme, which messages list as `shown`.
    """

    def register(load: F) -> F:
        ENCODERS[modality].add(name, NamedEncoder(load, settings), load, shown)
        return load

    return register


def make_encoder(
    name_or_settings: str | Mapping[str, Any],
    modality: Modality,
    *,
    device: str = "cpu",
    threads: int = 1,
    batch: int | None = None,
) -> Encoder:
    """Make the encoder of a name, or of settings `{name, precision}` and the encoder's own (many have
    `pooling` and `layer`); all but `name` are optional.

    Beside the names of `encoder_names`, a local directory is a name.

    Raises:
        BadInput: an unknown name or setting (the known ones are listed), a package that is not installed, or
            a model that cannot be reached.
    """
    options = {"name": name_or_settings} if isinstance(name_or_settings, str) else dict(name_or_settings)
    name = options.pop("name", None)
    if not isinstance(name, str):
        raise BadInput(f"encoders.{modality}: no name given; known: {', '.join(encoder_names(modality))}")
    precision = options.pop("precision", "auto")
    if precision not in get_args(Precision):
        raise BadInput(f"encoder {name}: precision {precision!r} is none of {', '.join(get_args(Precision))}")
    entry = find_encoder(name, modality, f"encoders.{modality}")
    default_batch = IMAGE_BATCH if modality == "image" else TEXT_BATCH
    return entry.load(
        name=name,
        device=device,
        threads=threads,
        batch=batch or default_batch,
        precision=precision,
        **settings_keyword(entry.settings, options, f"encoder {name}"),
    )


def encoder_names(modality: Modality) -> list[str]:
    """Return the names of encoders, schemes with what stands for their rest (`hf:NAME`)."""
    return ENCODERS[modality].names()


def find_encoder(name: str, modality: Modality, key: str) -> NamedEncoder:
    """Find what loads the encoder of a name or directory. Raises `BadInput` for an unknown name, after
    `key`."""
    known = ENCODERS[modality]
    return known.find(HUB + name if name not in known and Path(name).is_dir() else name, key)


@dataclass(frozen=True, slots=True)
class ModelPath:
    """An entry says where the models of a scheme lie."""

    directory: Callable[[str], Path]


MODEL_PATHS: Registry[ModelPath] = Registry(
    "model path", "auditor.encoders.model_path", "shift_auditor.models"
)


def model_path(scheme: str) -> Callable[[P], P]:
    """Register the function below, which gives the directory of a model by its name: with the scheme `lab:`
    it is asked for `mllm-weak` where a config names the model `lab:mllm-weak`. It raises `BadInput`."""

    def register(directory: P) -> P:
        MODEL_PATHS.add(scheme, ModelPath(directory), directory, f"{scheme}NAME")
        return directory

    return register
