"""Tiles show the few numbers to see first."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from auditor.report import words
from auditor.report.numbers import count, number, plural
from schemas.report import Report, Row, Status


class Tile(NamedTuple):
    label: str
    value: str
    detail: str
    status: str = ""


def tiles(report: Report) -> list[Tile]:
    """Return the few numbers to see first."""
    rows = [*report.scenarios, *report.windows]
    tally = Counter(row.verdict.status for row in rows)
    noun = "window" if report.windows and not report.scenarios else "scenario"
    scenarios = len({row.scenario for row in rows})
    models = len({row.model for row in rows if row.model})
    entries = [
        Tile(
            noun.capitalize() + "s", f"{scenarios:,}", plural(models, "model") if models else "no model named"
        )
    ]
    order: tuple[Status, ...] = ("fail", "warn", "undecided", "pass")
    kinds = [
        Tile(words.STATUS[s], f"{tally[s]:,}", "of " + plural(len(rows), "result"), s)
        for s in order
        if tally[s]
    ]
    entries += kinds
    reliable = [row for row in rows if row.emid is not None and row.reliable is not False]
    worst = max(reliable, key=lambda row: row.emid or 0.0, default=None)
    if worst is not None:
        entries.append(Tile("Most relevance lost", f"{number(worst.emid)} nats", _row_name(worst)))
    moved = [
        (divergence.excess, name, row)
        for row in rows
        for name, divergence in row.divergences.items()
        if divergence.excess is not None and name != "joint"
    ]
    if moved:
        excess, name, row = max(moved, key=lambda entry: entry[0])
        entries.append(
            Tile("Moved most", words.MODALITY.get(name, name), f"excess {number(excess)}, {row.scenario}")
        )
    quarantined = sum(report.quarantine.values())
    entries.append(
        Tile("Rows set aside", count(quarantined), "quarantined" if quarantined else "every row was used")
    )
    return entries


def _row_name(row: Row) -> str:
    return row.scenario if row.model is None else f"{row.scenario}, {row.model}"
