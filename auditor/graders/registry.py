"""This module is the registry of graders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from auditor.protocols import Grader
from auditor.registry import Registry, Settings, read_settings
from schemas.config import GraderConfig

M = TypeVar("M", bound=Callable[..., Grader])


class GraderMaker(NamedTuple):
    """An entry says how a registered grader is made."""

    settings: type[Settings]
    make: Callable[[Any], Grader]
    """Called with the settings."""


GRADERS: Registry[GraderMaker] = Registry(
    "grader", "auditor.graders.grader", "shift_auditor.graders", "auditor.graders"
)


def grader(name: str, settings: type[Settings] = Settings) -> Callable[[M], M]:
    """Register a class (or function) that makes a `Grader` from its settings.

    Raises:
        BadInput: the name is taken.
    """

    def register(make: M) -> M:
        GRADERS.add(name, GraderMaker(settings, make), make)
        return make

    return register


def make_grader(config: GraderConfig) -> Grader:
    """Make the grader that a config names.

    Raises:
        BadInput: an unknown name or setting (the known ones are listed), or the grader's own complaint.
    """
    maker = GRADERS.find(config.name, "grader.name")
    return maker.make(read_settings(maker.settings, config.settings(), f"grader {config.name}"))
