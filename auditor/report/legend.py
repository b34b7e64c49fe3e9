"""A legend gives each model a colour, each family a mark, and each name its short form: the same in every
drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from auditor.report import words
from auditor.report.svg import MARKS
from schemas.report import Row

COLOURS = 8
"""Colours that the style sheet has (m0 to m7); more models share them."""


@dataclass(frozen=True, slots=True)
class Legend:
    models: dict[str | None, str]
    """Class of the colour of each model."""
    families: dict[str | None, str]
    """Mark of each family."""
    scenario_names: dict[str, str]
    """Scenario -> name without what all begin with."""
    model_names: dict[str | None, str]

    def name(self, row: Row) -> str:
        return self.scenario_names[row.scenario]

    def title(self, row: Row) -> str:
        """Return what hovering over a row's mark says first."""
        return row.scenario if row.model is None else f"{row.scenario} · {row.model}"


def legend(rows: Sequence[Row]) -> Legend:
    models = list(dict.fromkeys(row.model for row in rows))
    families = list(dict.fromkeys(row.family for row in rows))
    return Legend(
        models={model: f"m{i % COLOURS}" for i, model in enumerate(models)},
        families={family: MARKS[i % len(MARKS)] for i, family in enumerate(families)},
        scenario_names=words.short_names([row.scenario for row in rows]),
        model_names={model: model or "no model" for model in models},
    )
