"""An optional field never costs the row: single values become texts exactly, other shapes are read, what
cannot be is left out, and each of these is counted."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.errors import RowError
from auditor.records import read_records
from auditor.records.coercions import Coercions
from auditor.records.fields import FIELDS, Parsed, parse_id, parse_record
from auditor.records.lines import load_json
from schemas.record import Image, Quarantined, Reason, Record, Turn


def parsed(**fields: Any) -> Parsed:
    return parse_record({"record_id": "a", "query": "q", **fields}, "a")


IDS: list[tuple[Any, str]] = [
    ("7", "7"),
    (42, "42"),
    (2**53 + 1, "9007199254740993"),
    (-1, "-1"),
    (True, "true"),
    (1.0, "1"),
    (2.5, "2.5"),
    (Decimal("12.50"), "12.50"),
    (Decimal(10) ** 30, "1" + "0" * 30),
    (b"\xc3\xa9", "é"),
    (UUID(int=5), "00000000-0000-0000-0000-000000000005"),
    ({"$oid": "64b7"}, "64b7"),
    ({"$numberLong": "9007199254740993"}, "9007199254740993"),
]


@pytest.mark.parametrize(("value", "text"), IDS, ids=str)
def test_ids_are_taken_exactly(value: Any, text: str) -> None:
    counts = Coercions()
    assert parse_id({"record_id": value}, counts) == text
    assert counts.total() == (not isinstance(value, str | dict))


@given(st.integers() | st.decimals(allow_nan=False, allow_infinity=False, places=3))
def test_numbers_of_ids_come_back(number: int | Decimal) -> None:
    assert type(number)(parse_id({"record_id": number}, Coercions())) == number


@given(st.lists(st.integers() | st.text("0123456789.eE-", min_size=1, max_size=8), unique=True, max_size=8))
def test_different_ids_of_one_kind_stay_different(values: list[int | str]) -> None:
    for kind in (int, str):
        of_kind = [value for value in values if isinstance(value, kind)]
        assert len({parse_id({"record_id": v}, Coercions()) for v in of_kind}) == len(of_kind)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "is absent; say which field holds it (`map`"),
        ({"record_id": None}, "is null"),
        ({"record_id": float("nan")}, "is null"),
        ({"record_id": " "}, "is blank"),
        ({"record_id": ["a"]}, "is a list"),
        ({"record_id": b"\xff"}, "is bytes"),
        ({"record_id": {"a": 1, "b": 2}}, "is an object"),
    ],
)
def test_what_is_no_id_says_so(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(RowError) as caught:
        parse_id(fields, Coercions())
    assert caught.value.reason is Reason.MISSING_ID and said in caught.value.detail


def test_digits_stay_as_a_json_file_has_them() -> None:
    row = load_json('{"query": 1.10, "reference": 2e3, "responses": {"m": [0.50, -0.0, 3]}, "tags": [1.0]}')
    record, counts = parsed(**row)
    assert (record.query, record.reference, record.tags) == ("1.10", "2e3", ("1.0",))
    assert record.responses == {"m": ("0.50", "-0.0", "3")}
    assert counts["responses", "taken from a number"] == 3


FIELDS_READ: list[tuple[str, Any, dict[str, Any], str]] = [
    ("query", 5, {"query": "5"}, "taken from a number"),
    ("query", [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], {"query": "a\nb"}, ""),
    ("base_id", 5, {"base_id": "5"}, "taken from a number"),
    ("conversation_id", 5, {"conversation_id": "5"}, "taken from a number"),
    ("reference", True, {"reference": "true"}, "taken from a boolean"),
    ("reference", "[1, 2]", {"reference": "[1, 2]"}, ""),
    ("reference", ["x", 2, "x"], {"reference": "x", "other_references": ("2",)}, "several"),
    ("references", ["x", None], {"reference": "x"}, ""),
    ("reference", {"deep": []}, {}, "left out, since it was an object"),
    ("reference", float("nan"), {}, ""),
    ("responses", {"m": 42}, {"responses": {"m": ("42",)}}, "taken from a number"),
    ("responses", {"m": [True, None]}, {"responses": {"m": ("true", "")}}, "taken from a boolean"),
    ("responses", {"m": float("nan"), "k": "x"}, {"responses": {"k": ("x",)}}, ""),
    ("responses", {"m": {"role": "assistant", "content": "x"}}, {"responses": {"m": ("x",)}}, "`content`"),
    ("responses", {"m": [{"type": "text", "text": "x"}]}, {"responses": {"m": ("x",)}}, ""),
    ("responses", '{"m": "x"}', {"responses": {"m": ("x",)}}, "read from JSON text"),
    ("responses", "{broken", {}, "left out, since it was a text, not an object of model -> answer"),
    ("responses", "a plain answer", {}, "left out, since it was a text, not an object of model -> answer"),
    ("responses", ["x"], {}, "left out, since it was a list"),
    ("responses", 5, {}, "left out, since it was a number"),
    ("responses", "", {}, ""),
    ("responses", {" ": "x", "m": "y"}, {"responses": {"m": ("y",)}}, "no name"),
    ("tags", "prod", {"tags": ("prod",)}, "taken as one tag"),
    ("tags", ["a", 3, None, " "], {"tags": ("a", "3")}, "taken from a number"),
    (
        "tags",
        {"env": "prod", "n": 3, "of": ["x", "y"]},
        {"tags": ("env:prod", "n:3", "of:x", "of:y")},
        "joined",
    ),
    ("tags", [("env", "prod")], {"tags": ("env:prod",)}, "joined"),
    ("tags", '["a"]', {"tags": ("a",)}, "read from JSON text"),
    ("tags", [["a"], "b"], {"tags": ("b",)}, "read without what was a list"),
    ("group", 7, {"group": ("7",)}, "taken from a number"),
    ("group", ["a", 7, "a"], {"group": ("a", "7")}, "taken from a number"),
    ("group", {"a": 1}, {}, "read without what was an object"),
    ("timestamp", " ", {}, ""),
    ("timestamp", "soon", {}, "left out, since it was no moment"),
    (
        "history",
        '[{"role": "user", "text": "hi"}]',
        {"history": (Turn("user", "hi"),)},
        "read from JSON text",
    ),
    ("history", [{"role": "user", "content": "hi"}], {"history": (Turn("user", "hi"),)}, "`content`"),
    ("history", {"role": "user", "text": "hi"}, {"history": (Turn("user", "hi"),)}, ""),
    (
        "history",
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}, {"text": "hi"}]}],
        {"history": (Turn("user", "hi"),)},
        "read without its parts that are no text",
    ),
    (
        "history",
        [{"role": "assistant", "content": None}, {"role": "user", "text": "hi"}],
        {"history": (Turn("user", "hi"),)},
        "without its turns that have no text",
    ),
    ("history", "hello", {}, "left out, since it was no list of {role, text}"),
    ("history", [{"text": "hello"}], {}, "left out"),
]


@pytest.mark.parametrize(("name", "value", "expected", "said"), FIELDS_READ, ids=str)
def test_other_shapes_cost_no_row(name: str, value: Any, expected: dict[str, Any], said: str) -> None:
    record, counts = parsed(**{name: value})
    assert record == Record(**({"record_id": "a", "base_id": "a", "query": "q"} | expected))
    assert any(said in kind for _, kind in counts) if said else not counts
    assert {field for field, _ in counts} <= {name, "reference"}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
optional = [name for name in FIELDS if name not in ("record_id", "query") and "image" not in name]


@given(st.dictionaries(st.sampled_from(optional), json_values))
def test_no_optional_field_costs_the_row(fields: dict[str, Any]) -> None:
    record, _ = parsed(**fields)
    assert record.query == "q"
    assert all(isinstance(text, str) for answers in record.responses.values() for text in answers)
    assert all(isinstance(tag, str) and tag.strip() for tag in record.tags)


def test_a_row_without_input_says_what_was_lost() -> None:
    with pytest.raises(RowError) as caught:
        parse_record({"query": {"of": 1}, "image": False}, "a")
    assert caught.value.reason is Reason.MISSING_INPUT
    assert "`query` was left out" in caught.value.detail and "`image` was left out" in caught.value.detail


def test_ids_of_parquet_columns(tmp_path: Path) -> None:
    columns = {
        "int": pa.array([1, 2**60 + 1]),
        "float": pa.array([1.0, 2.0]),
        "decimal": pa.array([Decimal("1"), Decimal("2")], pa.decimal128(20, 0)),
        "binary": pa.array([b"1", b"2"]),
        "dictionary": pa.array(["1", "2"]).dictionary_encode(),
    }
    for name, column in columns.items():
        pq.write_table(pa.table({"record_id": column, "query": ["q", "q"]}), tmp_path / f"{name}.parquet")
        rows = read_records(tmp_path / f"{name}.parquet")
        ids = [row.record_id for row in rows]
        assert ids == (["1", str(2**60 + 1)] if name == "int" else ["1", "2"])


def test_a_repeated_id_is_refused_and_other_repeated_names_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"record_id": "a", "record_id": "b", "query": "q"}\n'
        '{"record_id": "c", "query": "q", "query": "r", "x": 1, "x": 2}\n'
    )
    rows = read_records(path)
    bad, good = rows
    assert isinstance(bad, Quarantined) and bad.reason is Reason.MISSING_ID and "more than once" in bad.detail
    assert good == Record("c", "c", query="r")
    assert [name for name, _ in rows.progress.coercions] == ["query"]


def test_coercions_of_rows_that_are_lost_are_not_counted(jsonl: Any) -> None:
    rows = read_records(jsonl({"record_id": 1, "timestamp": 1709209815}, {"record_id": 2, "query": "q"}))
    lost, kept = rows
    assert isinstance(lost, Quarantined) and isinstance(kept, Record)
    assert lost.record_id == "1"
    assert rows.progress.coercions == {("record_id", "taken from a number"): 1}


def test_json_text_in_every_nested_field_of_a_table(tmp_path: Path) -> None:
    cells = {
        "record_id": "a",
        "images": '[{"image": "x.png"}, "y.png"]',
        "history": '[{"role": "user", "content": "hi"}]',
        "responses": '{"m": ["x", 2]}',
        "tags": '{"env": "prod"}',
        "scores": '{"m": 0.5}',
        "group": '["g", 7]',
    }
    expected = Record(
        "a",
        "a",
        images=(Image(path="x.png"), Image(path="y.png")),
        history=(Turn("user", "hi"),),
        responses={"m": ("x", "2")},
        tags=("env:prod",),
        scores={"m": 0.5},
        group=("g", "7"),
    )
    pq.write_table(pa.table({name: [cell] for name, cell in cells.items()}), tmp_path / "a.parquet")
    assert list(read_records(tmp_path / "a.parquet")) == [expected]
    line = {name: cell if name == "record_id" else json.loads(cell) for name, cell in cells.items()}
    (tmp_path / "a.jsonl").write_text(json.dumps(line))
    assert list(read_records(tmp_path / "a.jsonl")) == [expected]
