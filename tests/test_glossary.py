"""The glossary explains what people meet in a config or in a report."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest
from pydantic import BaseModel

import schemas.config
import schemas.report
from auditor.bounds import FORMS
from auditor.measures.families import MODALITIES
from schemas.report import Status

TEXT = (Path(__file__).parents[1] / "docs" / "glossary.md").read_text(encoding="utf-8")
NAMED = set(re.findall(r"`([^`\n]+)`", TEXT))


def fields(module: ModuleType) -> Iterator[tuple[str, str, bool]]:
    """(class, field, whether it is described where it is defined)."""
    for name, kind in vars(module).items():
        if inspect.isclass(kind) and issubclass(kind, BaseModel) and kind.__module__ == module.__name__:
            for field, info in kind.model_fields.items():
                yield name, field, bool(info.description)


@pytest.mark.parametrize("module", [schemas.config, schemas.report])
def test_every_key_has_its_term_or_a_description(module: ModuleType) -> None:
    lacking = [
        f"{name}.{field}" for name, field, described in fields(module) if not described and field not in NAMED
    ]
    assert not lacking, f"describe them in {module.__name__}, or name them in docs/glossary.md: {lacking}"


def test_every_section_of_a_config_has_its_term() -> None:
    """A section is a key whose value has keys of its own."""
    sections = {
        field
        for kind in vars(schemas.config).values()
        if inspect.isclass(kind) and issubclass(kind, BaseModel) and kind.__name__.endswith("Config")
        for field, info in kind.model_fields.items()
        if inspect.isclass(info.annotation) and issubclass(info.annotation, BaseModel)
    }
    assert sections >= {"data", "critic", "workers"} and not sections - NAMED, sections - NAMED


def test_what_reports_name_has_its_term() -> None:
    assert not {*FORMS, *MODALITIES, *get_args(Status)} - NAMED
