"""The page's tables are made of these cells."""

from __future__ import annotations

from typing import NamedTuple

from auditor.report.numbers import interval, number
from schemas.report import Bound, Row


class Cell(NamedTuple):
    text: str
    detail: str = ""
    sort: str = ""
    warn: str = ""


class TableRow(NamedTuple):
    row: Row
    name: str
    colour: str
    cells: list[Cell]


def estimate_cell(value: float | None, detail: str = "", spread: float | None = None) -> Cell:
    if value is None:
        return Cell(number(None))
    warn = "" if spread is None else f"spread over critics ±{number(spread)}"
    return Cell(number(value), detail, repr(value), warn)


def relevance_cell(row: Row, value: float | None, detail: str = "", spread: float | None = None) -> Cell:
    """Return the cell of EMI or EMID, which says so where these are not reliable."""
    if value is None or row.reliable is not False:
        return estimate_cell(value, detail, spread)
    return Cell(f"({number(value)})", "not reliable", "", row.missing.get("reliable", ""))


def bound_cell(bound: Bound | None) -> Cell:
    if bound is None or bound.value is None:
        return Cell(number(None))
    if bound.complete:
        return Cell(number(bound.value), interval(bound.interval), repr(bound.value))
    return Cell(number(bound.value) + "*", "incomplete", repr(bound.value), "only " + ", ".join(bound.terms))


def sort_key(value: float | None) -> str:
    return "" if value is None else repr(value)
