"""The reports of a run, as JSON, as a page and as text, and the store that they are made from. May import
the rooms up to `attribution`.

A new section of the page is one file with `@section("name", ...)` above the function that says what it shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from auditor.report.html import html
from auditor.report.json import write_json
from auditor.report.page import Page
from auditor.report.registry import section
from auditor.report.store import Store
from auditor.report.text import summary
from auditor.storage.atomic import write_text
from schemas.report import Example, Report

__all__ = ["Page", "section", "summary", "write_reports"]


def write_reports(source: Store | Report, out: Path, examples: Sequence[Example] | None = None) -> Report:
    """Write `report.json` and `report.html` into the folder `out`, and return the report.

    `source` is a store, whose latest run is taken with its examples, or a report. `examples` are shown
    instead of the store's; an empty list shows none.
    """
    if isinstance(source, Store):
        report = source.load_report()
        shown_examples = source.load_examples(report.run.run_id) if examples is None else examples
    else:
        report, shown_examples = source, examples or ()
    write_json(report, out / "report.json")
    write_text(out / "report.html", html(report, shown_examples))
    return report
