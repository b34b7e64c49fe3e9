"""Generators by name. A new one is a file beside this and a line in `_GENERATORS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from auditor.encoders.pretrained import lab_directory, model_directory
from auditor.errors import BadInput
from auditor.generators.endpoint import EndpointGenerator
from auditor.generators.sampling import Sampling
from auditor.generators.transformers import TransformersGenerator
from auditor.generators.vllm import VllmGenerator
from auditor.protocols import Generator
from schemas.config import VllmConfig

BATCH = 64
LAB = "lab:"


def make_generator(settings: Mapping[str, Any], *, device: str = "cpu", threads: int = 1) -> Generator:
    """The generator of `{generator, model, temperature, samples, max_new_tokens}` and its own settings
    (transformers: `batch`; vllm: `vllm`, the fields of `VllmConfig`).

    `generator` and `model` must be given; a model is a directory, a name that the hub knows, or `lab:NAME`
    (the lab's own, `lab:mllm-strong`). The rest have the defaults of `Sampling` (greedy, one answer) and
    `BATCH`.

    Raises:
        BadInput: an unknown generator or setting (the known ones are listed), or a model that cannot be had.
    """
    given = dict(settings)
    name = given.pop("generator", None)
    if name not in _GENERATORS:
        raise BadInput(f"unknown generator {name!r}; known: {', '.join(generator_names())}")
    return _GENERATORS[name](given, device, threads)


def generator_names() -> list[str]:
    """The generators that there are."""
    return sorted(_GENERATORS)


def _transformers(given: dict[str, Any], device: str, threads: int) -> Generator:
    batch = given.pop("batch", BATCH)
    if not isinstance(batch, int) or batch < 1:
        raise BadInput(f"generator transformers: batch is {batch!r}, must be a whole number >= 1")
    directory, model, sampling = _loaded("transformers", given, "batch")
    return TransformersGenerator(
        directory, name=model, sampling=sampling, batch=batch, device=device, threads=threads
    )


def _vllm(given: dict[str, Any], device: str, threads: int) -> Generator:
    given.pop("batch", None)  # the engine makes its own
    try:
        settings = VllmConfig(**given.pop("vllm", {}))
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(map(str, first["loc"]))
        raise BadInput(f"generator vllm: vllm.{at}: {first['msg']}") from None
    directory, model, sampling = _loaded("vllm", given, "vllm")
    return VllmGenerator(
        directory, name=model, sampling=sampling, settings=settings, device=device, threads=threads
    )


def _loaded(generator: str, given: dict[str, Any], *own: str) -> tuple[Path, str, Sampling]:
    """Directory and name of a model that is loaded here, and how it is sampled; `own`: the generator's own
    settings, for the message."""
    model = given.pop("model", None)
    if not isinstance(model, str):
        raise BadInput(f"generator {generator}: no model given; a directory, a hub name or lab:NAME")
    try:
        sampling = Sampling(**given)
    except TypeError:
        known = [*own, "model", *Sampling.__dataclass_fields__]
        unknown = ", ".join(repr(key) for key in given if key not in known)
        raise BadInput(
            f"generator {generator}: unknown setting {unknown}; it takes: {', '.join(known)}"
        ) from None
    directory = lab_directory(model.removeprefix(LAB)) if model.startswith(LAB) else model_directory(model)
    return directory, model, sampling


def _endpoint(given: dict[str, Any], device: str, threads: int) -> Generator:
    model = given.pop("model", None)
    given.pop("batch", None)  # a server makes its own
    return EndpointGenerator.of(model, given)


_GENERATORS: dict[str, Callable[[dict[str, Any], str, int], Generator]] = {
    "endpoint": _endpoint,
    "transformers": _transformers,
    "vllm": _vllm,
}
