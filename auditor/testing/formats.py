"""This module is the contract of a format."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from auditor.errors import RowError
from auditor.records import Progress
from auditor.records.fields import FIELDS
from auditor.records.formats import FORMATS, Chosen, Reading, in_order, translate
from auditor.records.formats.detect import recognised
from auditor.records.limits import DEFAULT_LIMITS
from auditor.records.raw import Raw
from auditor.records.readers import one_row
from auditor.records.screen import Place
from auditor.testing.contracts import require
from schemas.record import Record

_ODD: tuple[Any, ...] = (None, 3, -0.5, True, "", "\ud800", [], {}, [None], [[]], {"a": None}, b"\xff")


def check_format(name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Check the format `name` with `rows`, objects of such a log: it recognises each of them, and no format
    that is asked before it does; what it makes of them are public fields, of which records are made, the same
    in every reading; it changes no object; and no object makes it raise.

    Raises:
        AssertionError: a contract is broken; the message says which.
    """
    who = f"format {name}"
    format = FORMATS.find(name, "data.format")
    require(bool(rows), f"{who}: give rows of such a log")
    require(bool(format.told_by.strip()), f"{who}: does not say what it is told by")
    before = in_order()[: [known.name for known in in_order()].index(name)]
    for row in rows:
        require(format.recognises(row), f"{who}: does not recognise the row {_shown(row)}")
        for other in before:
            require(
                not recognised(row, other),
                f"{who}: the format {other.name}, which is asked before it, recognises the row {_shown(row)}",
            )
    kept = copy.deepcopy(list(rows))
    first, second = _read(name, rows), _read(name, rows)
    require(list(rows) == kept, f"{who}: changes the rows that it reads")
    require(first == second, f"{who}: the rows differ from one reading to the next")
    require(any(isinstance(row, Record) for row in first), f"{who}: no row becomes a record ({first[:1]})")
    for odd in _odd_rows(rows):
        try:
            format.recognises(odd)
        except Exception as error:
            raise AssertionError(f"{who}: recognises raises on {_shown(odd)} ({error!r})") from error
    try:
        _read(name, list(_odd_rows(rows)))
    except Exception as error:
        raise AssertionError(f"{who}: raises while it translates ({error!r})") from error


def _read(name: str, rows: Sequence[Mapping[str, Any]]) -> list[object]:
    progress = Progress()
    reading = Reading(DEFAULT_LIMITS, None, progress.coercions)
    raws = iter([Raw(Place("log", i), dict(row)) for i, row in enumerate(rows)])
    found: list[object] = []
    for raw in translate([("log", raws)], Chosen(name), reading, progress.formats):
        if not isinstance(raw.fields, RowError):
            unknown = sorted(set(raw.fields) - set(FIELDS))
            require(not unknown or name == "records", f"format {name}: gives no public fields: {unknown}")
        place = progress.advance(*raw.place)
        found += one_row(raw.fields, DEFAULT_LIMITS, place, progress, raw.failed)
    return found


def _odd_rows(rows: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Rows with an odd value in the place of each field in turn, without it, and an empty one."""
    yield {}
    for row in rows:
        for field in row:
            yield {name: value for name, value in row.items() if name != field}
            for odd in _ODD:
                yield {**row, field: odd}


def _shown(row: Mapping[str, Any]) -> str:
    return repr(dict(row))[:80]
