"""This module registers generators by name. A new one is a file beside this (or in a package of its own) with
`@generator(...)`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from auditor.encoders.pretrained import model_directory
from auditor.errors import BadInput
from auditor.generators.sampling import Sampling
from auditor.protocols import Generator
from auditor.registry import Registry, Settings, settings_keyword

BATCH = 64

F = TypeVar("F", bound=Callable[..., Generator])


@dataclass(frozen=True, slots=True)
class NamedGenerator:
    """An entry has the function that makes a generator and the class of its own settings (None: it has
    none)."""

    make: Callable[..., Generator]
    settings: type[Settings] | None


GENERATORS: Registry[NamedGenerator] = Registry(
    "generator", "auditor.generators.generator", "shift_auditor.generators", "auditor.generators"
)


def generator(name: str, *, settings: type[Settings] | None = None) -> Callable[[F], F]:
    """Register the function below, which makes a generator, under `name`.

    It is called with `model` (a name or a path; None where none was given), `sampling`, `batch`, `device` and
    `threads`, and with `settings` where a class of settings is given: what the config has beside those,
    validated.
    """

    def register(make: F) -> F:
        GENERATORS.add(name, NamedGenerator(make, settings), make)
        return make

    return register


def make_generator(settings: Mapping[str, Any], *, device: str = "cpu", threads: int = 1) -> Generator:
    """Make the generator of `{generator, model, temperature, samples, max_new_tokens, batch}` and its own
    settings (vllm: `vllm`, the fields of `VllmConfig`; endpoint: `endpoint`, those of `EndpointConfig`).

    `generator` and `model` must be given; a model is a directory, a name that the hub knows, or `lab:NAME`
    (the lab's own, `lab:mllm-strong`). The rest have the defaults of `Sampling` (greedy, one answer) and
    `BATCH`.

    Raises:
        BadInput: an unknown generator or setting (the known ones are listed), or a model that cannot be had.
    """
    options = dict(settings)
    name = options.pop("generator", None)
    entry = GENERATORS.find(name)
    model, batch = options.pop("model", None), options.pop("batch", BATCH)
    if not isinstance(batch, int) or batch < 1:
        raise BadInput(f"generator {name}: batch is {batch!r}, must be a whole number >= 1")
    drawn = {key: options.pop(key) for key in Sampling.__dataclass_fields__ if key in options}
    return entry.make(
        model=model,
        sampling=Sampling(**drawn),
        batch=batch,
        device=device,
        threads=threads,
        **settings_keyword(entry.settings, options, f"generator {name}"),
    )


def generator_names() -> list[str]:
    """Return the names of all generators."""
    return GENERATORS.names()


def weights_of(model: str | None, name: str) -> tuple[Path, str]:
    """Return the directory and name of a model that the generator `name` loads itself. Raises `BadInput`."""
    if not isinstance(model, str):
        raise BadInput(f"generator {name}: no model given; a directory, a hub name or lab:NAME")
    return model_directory(model), model
