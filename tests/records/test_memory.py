"""Rows in memory: every kind of table says the same, and a bad row stops nothing."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image as Pillow

from auditor.errors import BadInput
from auditor.records import Records, read
from auditor.records.media import decode
from auditor.records.timestamps import NAIVE
from schemas.record import Image, Quarantined, Reason, Record, Turn


def png(colour: str = "red", mode: str = "RGB", size: tuple[int, int] = (8, 6)) -> bytes:
    out = io.BytesIO()
    Pillow.new(mode, size, colour).save(out, "PNG")
    return out.getvalue()


ROWS: list[dict[str, Any]] = [
    {
        "record_id": "a",
        "base_id": "b",
        "image_bytes": png(),
        "query": "What?",
        "history": [{"role": "user", "text": "Hello"}],
        "responses": {"m": ["one", "two"]},
        "reference": "r",
        "timestamp": datetime(2025, 6, 1, 12, tzinfo=UTC),
        "tags": ["t"],
        "scores": {"m": 0.5},
    },
    {"record_id": "c", "query": "Who?", "responses": {"m": ["three"]}},
]
RECORDS = [
    Record(
        "a",
        "b",
        (Image(data=png()),),
        "What?",
        (Turn("user", "Hello"),),
        {"m": ("one", "two")},
        "r",
        datetime(2025, 6, 1, 12, tzinfo=UTC),
        ("t",),
        {"m": 0.5},
    ),
    Record("c", "c", query="Who?", responses={"m": ("three",)}),
]
TABLE = pa.Table.from_pylist(ROWS)


class Dataset(list[Any]):
    """What of a `datasets.Dataset` is used, by its names; it is never imported."""

    column_names = tuple(ROWS[0])

    def select_columns(self, names: list[str]) -> Dataset:
        return self

    def with_format(self, kind: str) -> Dataset:
        assert kind == "arrow"
        return self

    def iter(self, batch_size: int) -> Iterator[pa.Table]:
        yield TABLE.slice(0, 1)
        yield TABLE.slice(1)


Dataset.__module__ = "datasets.arrow_dataset"

SOURCES: dict[str, Any] = {
    "dicts": ROWS,
    "records": RECORDS,
    "table": TABLE,
    "batch": TABLE.to_batches()[0],
    "batches": TABLE.to_batches(max_chunksize=1),
    "map": TABLE.set_column(
        TABLE.column_names.index("responses"),
        "responses",
        pa.array(
            [list(row["responses"].items()) for row in ROWS], pa.map_(pa.string(), pa.list_(pa.string()))
        ),
    ),
    "frame": pd.DataFrame(ROWS),
    "frame from arrow": TABLE.to_pandas(),
    "data set": Dataset(ROWS),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_every_kind_of_table_holds_the_same_records(kind: str) -> None:
    records = read(SOURCES[kind])
    assert list(records) == RECORDS
    assert list(records) == RECORDS, "they can be gone through again"
    assert records.fingerprint == read(ROWS).fingerprint


def test_labels_and_what_is_shown() -> None:
    assert repr(read(TABLE)) == "<Records: a table of 2 rows>"
    assert read(pd.DataFrame(ROWS)).label == "a table of 2 rows"
    assert read(Dataset(ROWS)).label == "a data set of 2 rows"
    assert read(ROWS).label == "2 rows in memory"
    assert repr(read(ROWS, media_root="images")) == "<Records: 2 rows in memory, media_root='images'>"


def test_an_iterator_is_kept() -> None:
    records = read(row for row in ROWS)
    assert list(records) == list(records) == RECORDS


def test_the_fingerprint_is_of_the_content() -> None:
    rows = [dict(row) for row in ROWS]
    records = read(rows)
    before = records.fingerprint
    rows[1]["query"] = "Who is it?"
    assert records.fingerprint != before
    assert read(ROWS[::-1]).fingerprint != read(ROWS).fingerprint
    assert read([*ROWS, {"record_id": 5}]).fingerprint != read(ROWS).fingerprint


def first(value: Any, field: str = "image") -> bytes:
    (row,) = read([{"record_id": "a", "query": "q", field: value}])
    assert isinstance(row, Record)
    data = row.images[0].data
    assert data is not None
    return data


@pytest.mark.parametrize("field", ["image", "image_bytes", "images"])
def test_images_in_memory(field: str) -> None:
    picture = Pillow.open(io.BytesIO(png()))
    for value in (png(), bytearray(png()), memoryview(png()), picture, {"bytes": png(), "path": None}):
        given = [value] if field == "images" else value
        if field == "image_bytes" and isinstance(value, dict):
            continue  # a struct has a path, which these bytes have not
        assert decode(first(given, field)).getpixel((3, 3)) == (255, 0, 0), type(value)


def test_an_image_by_its_path_in_a_struct() -> None:
    (row,) = read([{"record_id": "a", "image": {"bytes": None, "path": "x.png"}}])
    assert isinstance(row, Record) and row.images == (Image(path="x.png"),)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I", "F"])
def test_pictures_of_every_mode_become_png(mode: str) -> None:
    assert decode(first(Pillow.new(mode, (4, 3)))).size == (4, 3)


def test_pictures_are_turned_as_their_exif_says() -> None:
    out = io.BytesIO()
    exif = Pillow.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Pillow.new("RGB", (8, 4)).save(out, "JPEG", exif=exif)
    assert decode(first(Pillow.open(out))).size == decode(out.getvalue()).size == (4, 8)


def test_missing_values_of_pandas_are_no_values() -> None:
    frame = pd.DataFrame(
        {
            "record_id": ["a", "b"],
            "query": pd.array(["q", "r"], dtype="string"),
            "reference": pd.array([pd.NA, "r"], dtype="string"),
            "image": [float("nan"), None],
            "timestamp": [pd.NaT, pd.Timestamp("2025-06-01T12:00:00.000000001Z")],
            "tags": [None, np.array(["t"], dtype=object)],
        }
    )
    moment = datetime(2025, 6, 1, 12, tzinfo=UTC)
    a, b = read(frame)
    assert a == Record("a", "a", query="q")
    assert b == Record("b", "b", query="r", reference="r", timestamp=moment, tags=("t",))
    assert type(b.timestamp) is datetime


@pytest.mark.parametrize("value", [np.datetime64("2025-06-01"), date(2025, 6, 1), pd.Timestamp("2025-06-01")])
def test_moments(value: object) -> None:
    rows = read([{"record_id": "a", "query": "q", "timestamp": value}]).rows()
    (row,) = rows
    assert isinstance(row, Record) and row.timestamp == datetime(2025, 6, 1, tzinfo=UTC)
    assert rows.progress.coercions["timestamp", NAIVE] == 1


class Trap(Mapping[str, Any]):
    """A row that breaks when it is looked at."""

    def __getitem__(self, key: str) -> Any:
        raise RuntimeError("no\nvalue")

    def __iter__(self) -> Iterator[str]:
        return iter(("record_id",))

    def __len__(self) -> int:
        return 1


def deep() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


class Broken(Pillow.Image):
    """A picture whose file went away."""

    size = (4, 4)  # type: ignore[assignment]

    def load(self) -> Any:
        raise OSError("gone")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (5, Reason.NOT_AN_OBJECT),
        (None, Reason.NOT_AN_OBJECT),
        ({}, Reason.MISSING_ID),
        ({"record_id": [7], "query": "q"}, Reason.MISSING_ID),
        ({"record_id": "x"}, Reason.MISSING_INPUT),
        ({"record_id": "x", "query": {"a": 5}}, Reason.MISSING_INPUT),
        ({"record_id": "x", "query": "q", "tags": deep()}, Reason.UNREADABLE_LINE),
        ({"record_id": "x", "query": "q" * 200_000}, Reason.TEXT_TOO_LONG),
        ({"record_id": "x", "image": np.zeros((2, 2))}, Reason.IMAGE_CORRUPT),
        ({"record_id": "x", "image": b""}, Reason.IMAGE_CORRUPT),
        ({"record_id": "x", "image": Broken()}, Reason.IMAGE_CORRUPT),
        ({"record_id": "x", "image": Pillow.new("1", (9_000, 9_000))}, Reason.IMAGE_TOO_LARGE),
        (Trap(), Reason.UNREADABLE_LINE),
        (Record("", "x", query="q"), Reason.MISSING_ID),
        (Record("x", "x", query="q", tags=5), Reason.UNREADABLE_LINE),  # type: ignore[arg-type]
        (Record("x", "x", images=7), Reason.UNREADABLE_LINE),  # type: ignore[arg-type]
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_bad_row_says_why_and_stops_nothing(row: object, reason: Reason) -> None:
    before, bad, after = read([ROWS[1], row, {**ROWS[1], "record_id": "d"}])
    assert isinstance(before, Record) and isinstance(after, Record)
    assert isinstance(bad, Quarantined)
    assert (bad.source, bad.row, bad.reason) == ("3 rows in memory", 1, reason)
    assert "\n" not in bad.detail


def test_limits_of_the_source() -> None:
    rows = [{"record_id": "a", "query": "four"}, {"record_id": "b", "image": Pillow.new("L", (9, 9))}]
    short, large = read(rows, max_text_chars=3, max_image_pixels=80)
    assert isinstance(short, Quarantined) and short.reason == Reason.TEXT_TOO_LONG
    assert isinstance(large, Quarantined) and large.reason == Reason.IMAGE_TOO_LARGE


class DatasetDict(dict[str, Any]):
    pass


DatasetDict.__module__ = "datasets.dataset_dict"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (5, "int holds no records"),
        (b"id.jsonl", "bytes holds no records"),
        (None, "NoneType holds no records"),
        ({"record_id": ["a"]}, "a dict is no table"),
        (DatasetDict(train=[], test=[]), "one of them, by its name ('train', 'test')"),
        (pa.table({"id": ["a"]}), "a table of 1 row: has no column `record_id` (it has id)"),
        (pd.DataFrame([["a", "b", "c"]], columns=["record_id", "query", "query"]), "`query` twice"),
        ("nowhere.jsonl", "nowhere.jsonl: no such file"),
        (["nowhere.jsonl"], "nowhere.jsonl: no such file"),
        ("nowhere-*.jsonl", "no such file"),
        ("notes.txt", "notes.txt: no such file"),
        (
            [
                pa.RecordBatch.from_pydict({"record_id": ["a"]}),
                pa.RecordBatch.from_pydict({"record_id": [1]}),
            ],
            "do not make one table",
        ),
    ],
    ids=str,
)
def test_what_holds_no_records_is_refused_at_once(source: Any, said: str) -> None:
    with pytest.raises(BadInput) as refused:
        read(source)
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"record_id": name, "query": "q"}) + "\n")
    one, two = read(tmp_path / "a.jsonl"), read([tmp_path / "a.jsonl", tmp_path / "b.jsonl"])
    assert one.path == one.label == str(tmp_path / "a.jsonl")
    assert (two.path, two.label) == (None, f"{tmp_path / 'a.jsonl'} and 1 more")
    assert (
        [row.record_id for row in two] == [row.record_id for row in read(f"{tmp_path}/*.jsonl")] == ["a", "b"]
    )
    before = two.fingerprint
    (tmp_path / "b.jsonl").write_text("")
    assert two.fingerprint != before


def test_settings_are_kept_and_may_be_added_to() -> None:
    records = read(read(ROWS, media_root=Path("a"), url_allow=["x.org"]), media_root="b")
    assert isinstance(records, Records)
    assert records.settings == {"media_root": "b", "url_allow": ("x.org",)}
