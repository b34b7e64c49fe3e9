"""The names in a config are looked up in the registries before anything is read, loaded or started."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial

from pydantic import BaseModel

from auditor.encoders.registry import ENCODERS, HUB, find_encoder
from auditor.errors import BadInput
from auditor.estimators.registry import make_critic
from auditor.generators.registry import GENERATORS
from auditor.graders import check_named
from auditor.protocols import Modality
from auditor.registry import settings_keyword
from auditor.scenarios.registry import check_reader
from auditor.shifts.registry import SHIFTS
from schemas.config import (
    AuditData,
    CriticConfig,
    DataConfig,
    EncoderConfig,
    EncodersConfig,
    GraderConfig,
    ModelConfig,
    Perturbation,
)

MOST_PROBLEMS = 5


def check_names(config: BaseModel) -> None:
    """Raise `BadInput`, one line with the key of each, for names of encoders, generators, readers, shifts and
    critics that no registry knows, and for options that those do not have."""
    problems = []
    for check in _checks(config):
        try:
            check()
        except BadInput as error:
            problems.append(str(error))
    if problems:
        remaining = len(problems) - MOST_PROBLEMS
        raise BadInput(
            "; ".join(problems[:MOST_PROBLEMS]) + (f"; and {remaining} more" if remaining > 0 else "")
        )


def _checks(config: BaseModel) -> Iterator[Callable[[], object]]:
    data, encoders = getattr(config, "data", None), getattr(config, "encoders", None)
    if isinstance(data, DataConfig):
        yield partial(check_reader, data)
        for name, spec in data.scenarios.items() if isinstance(data, AuditData) else ():
            for i, step in enumerate(spec.shifts):
                yield partial(_check_shift, step, f"data.scenarios.{name}.shifts.{i}")
    if isinstance(encoders, EncodersConfig):
        if encoders.image is not None:
            yield partial(_check_encoder, encoders.image, "image")
        yield partial(_check_encoder, encoders.text, "text")
    if isinstance(critic := getattr(config, "critic", None), CriticConfig):
        yield partial(make_critic, critic, seed=0)
    if isinstance(grader := getattr(config, "grader", None), GraderConfig):
        yield partial(check_named, grader)
    for i, model in enumerate(getattr(config, "models", ())):
        if isinstance(model, ModelConfig):
            yield partial(_check_model, model, f"models.{i}")


def _check_shift(step: Perturbation, key: str) -> None:
    settings_keyword(SHIFTS.find(step.shift, f"{key}.shift").settings, step.options, f"{key}.options")


def _check_encoder(config: EncoderConfig, modality: Modality) -> None:
    name = config.name
    if os.sep in name and name not in ENCODERS[modality]:
        name = HUB + name  # a directory, which the machines that load it need to have, and this one does not
    encoder = find_encoder(name, modality, f"encoders.{modality}.name")
    settings_keyword(encoder.settings, {**config.options, **config.own_settings()}, f"encoders.{modality}")


def _check_model(model: ModelConfig, key: str) -> None:
    if model.generator is not None:
        settings = GENERATORS.find(model.generator, f"{key}.generator").settings
        settings_keyword(settings, model.options, f"{key}.options")
    elif model.options:
        raise BadInput(f"{key}.options: they are a generator's, and model {model.name} has none")
