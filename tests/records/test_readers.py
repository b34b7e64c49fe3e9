from __future__ import annotations

import base64
import gzip
import json
import os
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditor.errors import BadInput
from auditor.records import Limits, read_many, read_records
from auditor.records.fields import FIELDS
from auditor.records.timestamps import NAIVE
from schemas.record import Image, Quarantined, Reason, Record, Turn

Write = Callable[..., Path]


def only(path: Path, **limits: int) -> Record | Quarantined:
    rows = list(read_records(path, Limits(**limits)))
    assert len(rows) == 1
    return rows[0]


def test_every_field_of_the_public_format(jsonl: Write) -> None:
    path = jsonl(
        {
            "record_id": "a",
            "base_id": "b",
            "image": "x.png",
            "images": ["x.png", "y.png", {"image_bytes": base64.b64encode(b"z").decode()}],
            "query": "What?",
            "history": [{"role": "user", "text": "Hello"}],
            "responses": {"m": "one", "n": ["two", "three"], "absent": None},
            "reference": "r",
            "timestamp": "2025-06-01T14:00:00+02:00",
            "tags": ["t"],
            "group": ["ann", " ", "monday", "ann"],
            "conversation_id": "c",
            "unknown": {"ignored": [1]},
        }
    )
    assert only(path) == Record(
        record_id="a",
        base_id="b",
        images=(Image(path="x.png"), Image(path="y.png"), Image(data=b"z")),
        query="What?",
        history=(Turn("user", "Hello"),),
        responses={"m": ("one",), "n": ("two", "three")},
        reference="r",
        timestamp=datetime(2025, 6, 1, 12, tzinfo=UTC),
        tags=("t",),
        group=("ann", "monday"),
        conversation_id="c",
    )


def test_nulls_blanks_and_a_base64_text_among_images(jsonl: Write) -> None:
    data = b"\x89PNG\r\n\x1a\n" + bytes(60)
    path = jsonl(
        {"record_id": "a", "query": "q", "image": None, "responses": None, "history": None, "tags": None},
        {"record_id": "b", "query": " ", "image": "x.png", "base_id": "", "reference": ""},
        {"record_id": "c", "images": [base64.b64encode(data).decode()]},
    )
    first, second, third = read_records(path)
    assert first == Record("a", "a", query="q")
    assert second == Record("b", "b", images=(Image(path="x.png"),))
    assert third == Record("c", "c", images=(Image(data=data),))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"\xff\xfe", Reason.UNREADABLE_LINE),
        ('{"record_id": "a", ', Reason.UNREADABLE_LINE),
        ("[" * 200_000, Reason.UNREADABLE_LINE),
        ('{"record_id": "a", "query": "q", "x": ' + "1" * 5000 + "}", Reason.UNREADABLE_LINE),
        ({"record_id": "a", "query": "q", "group": "g" * 10_000}, Reason.TEXT_TOO_LONG),
        (["a"], Reason.NOT_AN_OBJECT),
        ("null", Reason.NOT_AN_OBJECT),
        ({"query": "q"}, Reason.MISSING_ID),
        ({"record_id": "  ", "query": "q"}, Reason.MISSING_ID),
        ({"record_id": "a\x00", "query": "q"}, Reason.MISSING_ID),
        ({"record_id": "\ud800", "query": "q"}, Reason.MISSING_ID),
        ({"record_id": [5], "query": "q"}, Reason.MISSING_ID),
        ({"record_id": {"id": 5}, "query": "q"}, Reason.MISSING_ID),
        ({"record_id": None, "query": "q"}, Reason.MISSING_ID),
        ({"record_id": "a"}, Reason.MISSING_INPUT),
        ({"record_id": "a", "query": {"of": 1}}, Reason.MISSING_INPUT),
        ({"record_id": "a", "image_bytes": ""}, Reason.MISSING_INPUT),
        ({"record_id": "a", "image_bytes": 7}, Reason.IMAGE_CORRUPT),
        ({"record_id": "a", "image": {"height": 7}}, Reason.IMAGE_MISSING),
        ('{"record_id": "a", "query": NaN}', Reason.MISSING_INPUT),
        ({"record_id": "a", "query": "\t"}, Reason.MISSING_INPUT),
        ({"record_id": "a", "images": []}, Reason.MISSING_INPUT),
        ({"record_id": "a", "images": [None]}, Reason.IMAGE_MISSING),
        ({"record_id": "a", "image_bytes": "?"}, Reason.IMAGE_CORRUPT),
        ({"record_id": "a", "images": ["x.png"] * 40}, Reason.IMAGE_TOO_LARGE),
        ({"record_id": "a", "query": "q" * 100_001}, Reason.TEXT_TOO_LONG),
        ({"record_id": "a", "query": "q", "reference": "q" * 100_001}, Reason.TEXT_TOO_LONG),
        ({"record_id": "a" * 1001, "query": "q"}, Reason.TEXT_TOO_LONG),
        (
            {"record_id": "a", "query": "q", "history": [{"role": "u", "text": "q" * 100_001}]},
            Reason.TEXT_TOO_LONG,
        ),
    ],
)
def test_bad_rows(jsonl: Write, line: object, reason: Reason) -> None:
    path = jsonl({"record_id": "good", "query": "q"}, line, {"record_id": "good too", "query": "q"})
    before, bad, after = read_records(path)
    assert isinstance(before, Record) and isinstance(after, Record)
    assert isinstance(bad, Quarantined)
    assert (bad.source, bad.row, bad.reason, bad.model) == (str(path), 2, reason, "")
    assert bad.detail


def test_an_unusable_answer_costs_the_answer_and_not_the_row(jsonl: Write) -> None:
    answers = {"m": "fine", "blank": " ", "none": [], "some": ["yes", ""], "odd": {"a": 3}, "long": "x" * 30}
    rows = list(
        read_records(jsonl({"record_id": "a", "query": "q", "responses": answers}), Limits(text_chars=20))
    )
    assert rows[-1] == Record("a", "a", query="q", responses={"m": ("fine",), "some": ("yes",)})
    lost = {row.model: row.reason for row in rows[:-1] if isinstance(row, Quarantined)}
    empty = dict.fromkeys(("blank", "none", "some", "odd"), Reason.EMPTY_RESPONSE)
    assert lost == empty | {"long": Reason.TEXT_TOO_LONG}


def test_texts_that_no_utf8_file_takes_are_cleaned(jsonl: Write) -> None:
    row = only(jsonl('{"record_id": "a", "query": "x\\ud800y\\u0000z \\ud83d\\ude00"}'))
    assert isinstance(row, Record) and row.query == "x\ufffdy\ufffdz 😀"


def test_naive_timestamps_are_utc_and_counted(jsonl: Write) -> None:
    moments = ["2025-06-01T12:00:00", "2025-06-01T12:00:00Z", "2025-06-01"]
    rows = read_records(jsonl(*({"record_id": m, "query": "q", "timestamp": m} for m in moments)))
    assert [row.timestamp for row in rows if isinstance(row, Record)] == [
        datetime(2025, 6, 1, 12, tzinfo=UTC),
        datetime(2025, 6, 1, 12, tzinfo=UTC),
        datetime(2025, 6, 1, tzinfo=UTC),
    ]
    assert rows.progress.coercions == {("timestamp", NAIVE): 2}
    assert rows.progress.rows == 3


def test_a_long_line_is_skipped_without_being_held(jsonl: Write) -> None:
    path = jsonl({"record_id": "a", "query": "q"}, b"x" * 5_000_000, {"record_id": "b", "query": "q"})
    first, long, last = read_records(path, Limits(line_bytes=1000))
    assert (
        isinstance(long, Quarantined)
        and long.reason is Reason.UNREADABLE_LINE
        and "1,000 bytes" in long.detail
    )
    assert isinstance(first, Record) and isinstance(last, Record) and last.record_id == "b"


def test_a_bomb_of_values_is_not_parsed(jsonl: Write) -> None:
    row = only(jsonl(b'{"record_id": "a", "query": "q", "x": [' + b"[]," * 1_200_000 + b"[]]}"))
    assert isinstance(row, Quarantined) and "values" in row.detail


def test_blank_lines_bom_and_carriage_returns(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_bytes(
        b'\xef\xbb\xbf{"record_id": "a", "query": "q"}\r\n\r\n  \n{"record_id": "b", "query": "q"}'
    )
    assert [row.record_id for row in read_records(path)] == ["a", "b"]


def test_gzip_whole_and_broken_off(tmp_path: Path) -> None:
    lines = [json.dumps({"record_id": str(i), "query": os.urandom(40).hex()}) for i in range(2000)]
    packed = gzip.compress("\n".join(lines).encode())
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(packed)
    assert len(list(read_records(path))) == 2000
    path.write_bytes(packed[: len(packed) // 2])
    rows = list(read_records(path))
    assert 100 < len(rows) < 2000
    assert all(isinstance(row, Record) for row in rows[:-1])
    assert isinstance(rows[-1], Quarantined) and rows[-1].reason is Reason.UNREADABLE_LINE
    path.write_bytes(b"not gzip")
    with pytest.raises(BadInput, match=r"a\.jsonl\.gz"):
        list(read_records(path))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "empty.parquet").touch()
    (tmp_path / "folder.jsonl").mkdir()
    (tmp_path / "table.csv").touch()
    for name in ("missing.jsonl", "empty.parquet", "folder.jsonl", "table.csv", "*.nothing"):
        with pytest.raises(BadInput) as caught:
            list(read_many(str(tmp_path / name)))
        assert name in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(BadInput, match="nonsense") as caught:
        list(read_records("nonsense://user:secret@host/a.jsonl"))
    assert "secret" not in str(caught.value)


def test_many_files_in_the_order_of_names(tmp_path: Path) -> None:
    for name in ("b", "a", "c[1]"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"record_id": name, "query": "q"}))
    assert [row.record_id for row in read_many(f"{tmp_path}/*.jsonl")] == ["a", "b", "c[1]"]
    some: list[str | Path] = [tmp_path / "c[1].jsonl", f"{tmp_path}/a*.jsonl"]
    rows = read_many(some)
    assert [row.record_id for row in rows] == ["c[1]", "a"]
    assert rows.progress.source.endswith("a.jsonl")


def test_files_elsewhere() -> None:
    memory = fsspec.filesystem("memory")
    for name in ("a", "b"):
        memory.pipe_file(f"/traffic/{name}.jsonl", json.dumps({"record_id": name, "query": "q"}).encode())
    rows = list(read_many("memory://traffic/*.jsonl"))
    assert [row.record_id for row in rows] == ["a", "b"]


PARQUET_RESPONSES = {
    "map of texts": pa.array([[("m", "yes")], None], pa.map_(pa.string(), pa.string())),
    "map of lists": pa.array([[("m", ["yes"])], []], pa.map_(pa.string(), pa.list_(pa.string()))),
    "struct": pa.array([{"m": "yes", "n": None}, {"m": None, "n": None}]),
    "JSON": pa.array(['{"m": ["yes"]}', None]),
}


@pytest.mark.parametrize("shape", PARQUET_RESPONSES)
def test_parquet(tmp_path: Path, shape: str) -> None:
    table = pa.table(
        {
            "record_id": pa.array(["a", "b"]).dictionary_encode(),
            "query": pa.array(["q", None], pa.large_string()),
            "image_bytes": pa.array([None, b"x"], pa.binary()),
            "history": [[{"role": "user", "text": "hello"}], []],
            "responses": PARQUET_RESPONSES[shape],
            "timestamp": pa.array([datetime(2025, 6, 1), None], pa.timestamp("ns")),
            "tags": [["t"], None],
            "extra": [1, 2],
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    rows = read_records(tmp_path / "a.parquet")
    assert next(rows) == Record(
        "a",
        "a",
        query="q",
        history=(Turn("user", "hello"),),
        responses={"m": ("yes",)},
        timestamp=datetime(2025, 6, 1, tzinfo=UTC),
        tags=("t",),
    )
    assert (rows.progress.row, rows.progress.coercions["timestamp", NAIVE]) == (0, 1)
    assert next(rows) == Record("b", "b", images=(Image(data=b"x"),))
    assert list(rows) == []


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([10**15], pa.timestamp("s")), None),
        (pa.array(["not a time"]), None),
        (pa.array([1_700_000_000]), datetime(2023, 11, 14, 22, 13, 20)),
        (pa.array([Decimal("1700000000.125")]), datetime(2023, 11, 14, 22, 13, 20, 125_000)),
        (
            pa.array([1_700_000_000_000], pa.timestamp("ms", tz="Europe/Berlin")),
            datetime(2023, 11, 14, 22, 13, 20),
        ),
        (pa.array([date(2025, 6, 1)]), datetime(2025, 6, 1)),
        (pa.array(["2025-06-01T00:00:00Z"]), datetime(2025, 6, 1)),
    ],
)
def test_parquet_timestamps(tmp_path: Path, column: pa.Array, expected: datetime | None) -> None:
    pq.write_table(
        pa.table({"record_id": ["a"], "query": ["q"], "timestamp": column}), tmp_path / "a.parquet"
    )
    row = only(tmp_path / "a.parquet")
    assert isinstance(row, Record)
    assert row.timestamp == (None if expected is None else expected.replace(tzinfo=UTC))


def test_parquet_text_that_is_not_utf8_costs_its_field(tmp_path: Path) -> None:
    text = pa.array([b"fine", b"\xff"], pa.binary()).view(pa.string())
    table = {"record_id": ["a", "b"], "query": ["q", "q"], "reference": text}
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    rows = read_records(tmp_path / "a.parquet")
    assert [row.reference for row in rows if isinstance(row, Record)] == ["fine", None]
    assert rows.progress.coercions == {("reference", "left out, since it could not be read"): 1}
    pq.write_table(pa.table({"record_id": ["a", "b"], "query": text}), tmp_path / "a.parquet")
    fine, bad = read_records(tmp_path / "a.parquet")
    assert isinstance(fine, Record) and isinstance(bad, Quarantined)
    assert (bad.row, bad.reason, bad.record_id) == (1, Reason.MISSING_INPUT, "b")
    assert "`query`" in bad.detail


def test_parquet_broken_half_way(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    queries = [os.urandom(50).hex() for _ in range(3000)]
    table = pa.table({"record_id": [str(i) for i in range(3000)], "query": queries})
    pq.write_table(table, path, row_group_size=1000, write_page_checksum=True)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2000] = bytes(2000)
    path.write_bytes(data)
    rows = list(read_records(path))
    assert len(rows) == 1001 and isinstance(rows[999], Record)
    assert isinstance(rows[-1], Quarantined) and rows[-1].reason is Reason.UNREADABLE_LINE
    assert "1000 to 2999" in rows[-1].detail


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from([*FIELDS, "unknown"])
wild_lines = (
    st.binary(max_size=40)
    | st.dictionaries(names, json_values, max_size=6).map(lambda d: json.dumps(d).encode())
    | json_values.map(lambda value: json.dumps(value).encode())
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(wild_lines.map(lambda line: line.replace(b"\n", b" ")), max_size=8))
def test_rows_in_are_rows_out_whatever_the_bytes(tmp_path: Path, lines: list[bytes]) -> None:
    path = tmp_path / "wild.jsonl"
    first = b'{"record_id": "first", "query": "q"}'  # so that these are JSON lines, whatever the others hold
    path.write_bytes(b"\n".join([first, *lines]))
    rows = list(read_records(path))
    out = sum(isinstance(row, Record) or not row.model for row in rows)
    whole = [line.removeprefix(b"\xef\xbb\xbf") for line in lines]
    assert out == 1 + sum(bool(line.strip()) for line in whole)
