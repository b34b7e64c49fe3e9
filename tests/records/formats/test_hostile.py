"""Whatever objects a log holds: nothing is raised, nothing hangs, and every object is used or left out."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditor.errors import RowError
from auditor.records import Progress
from auditor.records.formats import Chosen, Reading, in_order, translate
from auditor.records.limits import DEFAULT_LIMITS
from auditor.records.lines import json_lines
from auditor.records.raw import Raw
from auditor.records.readers import one_row
from auditor.records.screen import Place
from schemas.record import Quarantined, Record

SAMPLES = Path(__file__).parent / "samples"
SEVERAL = {"otel", "mlflow"}
"""Formats of which an object may be several rows."""
PUBLIC = {"query": "$..content", "images": "$..url", "response": "$.output", "history": "$.messages[:-1]"}


def sampled() -> list[dict[str, Any]]:
    rows = []
    for path in sorted(SAMPLES.glob("*.jsonl")):
        with open(path, "rb") as stream:
            rows += [row for _, row in json_lines(stream, 2**20) if isinstance(row, dict)]
    return rows


ROWS = sampled()


def names(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield name
            yield from names(item)
    for item in value if isinstance(value, list) else ():
        yield from names(item)


NAMES = sorted({name for row in ROWS for name in names(row)})
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False),
    st.text(max_size=8),
    st.sampled_from(
        ["", " ", "user", "assistant", "text", "image_url", "blob", "chat", "[", "[{]", "{", "$"]
    ),
    st.sampled_from([b"", b"\xff", "\ud800", "\0", "1e999", "data:image/png;base64,", "data:,"]),
    st.just("@@@langfuseMedia:type=image/|id=../x|source=@@@"),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=8)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in items:
        yield (*path, name)
        yield from places(item, (*path, name))


@st.composite
def damaged(draw: st.DrawFn) -> dict[str, Any]:
    """A row of a sample in which a few values are others, or gone."""
    row = copy.deepcopy(draw(st.sampled_from(ROWS)))
    for _ in range(draw(st.integers(1, 3))):
        where = draw(st.sampled_from(list(places(row)) or [()]))
        inner = row
        for name in where[:-1]:
            inner = inner[name]
        if not where:
            continue
        if isinstance(inner, dict) and draw(st.booleans()):
            del inner[where[-1]]
        else:
            inner[where[-1]] = draw(VALUES)
    return row


def read(rows: list[dict[str, Any]], chosen: Chosen) -> tuple[list[Record | Quarantined], Progress]:
    progress = Progress()
    reading = Reading(DEFAULT_LIMITS, None, progress.coercions, progress.joined)
    raws = iter([Raw(Place("f", i), row) for i, row in enumerate(rows)])
    found: list[Record | Quarantined] = []
    for raw in translate([("f", raws)], chosen, reading, progress.formats):
        assert isinstance(raw.fields, dict | RowError)
        found += one_row(raw.fields, DEFAULT_LIMITS, progress.advance(*raw.place), progress, raw.failed)
    return found, progress


def check(rows: list[dict[str, Any]], chosen: Chosen) -> None:
    before = repr(rows)
    found, progress = read(rows, chosen)
    assert repr(rows) == before
    whole = [row for row in found if isinstance(row, Record) or not row.model]
    assert len(whole) == progress.rows
    left_out = sum(n for (field, _), n in progress.coercions.items() if field == "row")
    accounted = len(whole) + left_out + progress.joined.total()
    formats = set(progress.formats.values())
    assert accounted >= len(rows) if formats & (SEVERAL | {"webdataset"}) else accounted == len(rows), formats
    again, _ = read(rows, chosen)
    assert again == found


QUIET = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@QUIET
@given(st.lists(OBJECTS | damaged(), max_size=6))
def test_as_told_from_the_rows(rows: list[dict[str, Any]]) -> None:
    check(rows, Chosen())
    check(rows, Chosen(map=PUBLIC))


@pytest.mark.parametrize("name", [format.name for format in in_order()])
@QUIET
@given(rows=st.lists(OBJECTS | damaged(), max_size=5))
def test_as_every_format(name: str, rows: list[dict[str, Any]]) -> None:
    check(rows, Chosen(name))


@pytest.mark.parametrize("name", [format.name for format in in_order()])
def test_deeply_nested(name: str) -> None:
    listed: Any = "q"
    valued: Any = {"stringValue": "q"}
    for _ in range(5000):
        listed = [listed]
        valued = {"kvlistValue": {"values": [{"key": "a", "value": valued}]}}
    deep = {"messages": listed, "body": listed, "tags": listed, "query": "q", "id": None, "custom_id": "a"}
    attributes = {"attributes": [{"key": "gen_ai.a", "value": valued}], "spanId": "a"}
    for row in (deep, attributes, {"custom_id": "b", "body": {"input": listed}}):
        found, _ = read([row], Chosen(name))
        assert len(found) <= 2
        found, _ = read([row], Chosen())
        assert len(found) <= 2
