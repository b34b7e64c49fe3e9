"""Every section of the page is made from a `Page`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from auditor.report.legend import Legend, legend
from schemas.report import Example, Report, Row


@dataclass(frozen=True, slots=True)
class Page:
    """A page holds a report, its results in one list, and the names and colours that all sections use for
    them."""

    report: Report
    examples: Sequence[Example]
    rows: Sequence[Row]
    """Scenarios, then windows."""
    names: Legend
    has_models: bool
    """Whether there is a model to name."""
    has_times: bool

    @property
    def row_noun(self) -> str:
        """Return what a row of a table is; it heads the first column."""
        return "Window" if self.has_times else "Scenario"


def page_of(report: Report, examples: Sequence[Example] = ()) -> Page:
    rows = [*report.scenarios, *report.windows]
    return Page(
        report=report,
        examples=examples,
        rows=rows,
        names=legend(rows),
        has_models=any(row.model for row in rows),
        has_times=any(row.start for row in rows),
    )
