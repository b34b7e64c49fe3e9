from __future__ import annotations

import gzip
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import fsspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditor.errors import AuditError, BadInput
from auditor.records import (
    RecordWriter,
    read_records,
    read_run_records,
    records_from_table,
    records_table,
    write_records,
)
from schemas.record import RECORDS, Image, Record, Turn

# What a reader may yield: no blank text where blank means absent, nothing that UTF-8 has no bytes for.
chars = st.characters(exclude_characters="\x00", exclude_categories=["Cs"])
free = st.text(chars, max_size=12)
texts = free.filter(lambda text: bool(text.strip()))
images = st.builds(Image, path=texts) | st.builds(Image, data=st.binary(min_size=1, max_size=12))
records = st.builds(
    Record,
    record_id=texts,
    base_id=texts,
    images=st.lists(images, min_size=1, max_size=3, unique=True).map(tuple),
    query=st.none() | texts,
    history=st.lists(st.builds(Turn, free, free), max_size=2).map(tuple),
    responses=st.dictionaries(texts, st.lists(texts, min_size=1, max_size=2).map(tuple), max_size=2),
    reference=st.none() | texts,
    timestamp=st.none() | st.datetimes(timezones=st.just(UTC)),
    tags=st.lists(texts, max_size=2).map(tuple),
    scores=st.dictionaries(texts, st.floats(0, 1), max_size=2),
    group=st.lists(texts, max_size=2, unique=True).map(tuple),
    conversation_id=st.none() | texts,
)
some = st.lists(records, max_size=4)
free_files = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@free_files
@given(records=some, ending=st.sampled_from(["jsonl", "jsonl.gz", "ndjson", "parquet"]))
def test_what_is_written_is_read_back(tmp_path: Path, records: list[Record], ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    assert write_records(path, records) == len(records)
    assert list(read_records(path)) == records
    assert list(tmp_path.glob(".*")) == []


@free_files
@given(records=some)
def test_the_run_schema_keeps_everything(records: list[Record]) -> None:
    admitted = [replace(r, images=tuple(replace(i, digest="0" * 64) for i in r.images)) for r in records]
    table = records_table(admitted)
    assert table.schema == RECORDS
    assert records_from_table(table) == admitted


def test_the_same_records_make_the_same_gzip(tmp_path: Path) -> None:
    for name in ("a.jsonl.gz", "b.jsonl.gz"):
        write_records(tmp_path / name, [Record("a", "a", query="q")])
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()
    assert json.loads(gzip.decompress((tmp_path / "a.jsonl.gz").read_bytes())) == {
        "record_id": "a",
        "query": "q",
    }


def test_elsewhere() -> None:
    write_records("memory://out/a.parquet", [Record("a", "a", query="q")])
    assert fsspec.filesystem("memory").exists("/out/a.parquet")
    assert list(read_records("memory://out/a.parquet")) == [Record("a", "a", query="q")]


def test_unknown_ending_and_refused_place(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"a\.csv"):
        write_records(tmp_path / "a.csv", [])
    (tmp_path / "file").touch()
    with pytest.raises(AuditError, match="cannot be written"):
        write_records(tmp_path / "file" / "a.jsonl", [])


def test_run_writer_in_batches(tmp_path: Path) -> None:
    path = tmp_path / "run" / "records.parquet"
    rows = [
        Record(str(i), str(i), query="q", timestamp=datetime(2025, 1, 1, tzinfo=UTC)) for i in range(2500)
    ]
    with RecordWriter(path) as writer:
        for row in rows:
            writer.write(row)
        assert not path.exists()
    assert writer.count == 2500
    batches = list(read_run_records(path, batch=1000))
    assert [len(batch) for batch in batches] == [1000, 1000, 500]
    assert [row for batch in batches for row in batch] == rows


def test_nothing_is_left_of_a_failed_write(tmp_path: Path) -> None:
    path = tmp_path / "records.parquet"
    with RecordWriter(path) as writer:
        writer.write(Record("old", "old", query="q"))
    with pytest.raises(KeyError), RecordWriter(path) as writer:
        writer.write(Record("new", "new", query="q"))
        raise KeyError("stop")
    unwritable = Record("new", "new", query=5)  # type: ignore[arg-type]
    with pytest.raises(Exception, match="int"), RecordWriter(path) as writer:
        writer.write(unwritable)
    with pytest.raises(TypeError):
        write_records(tmp_path / "b.jsonl", [replace(unwritable, query=object())])  # type: ignore[arg-type]
    assert [p.name for p in tmp_path.iterdir()] == ["records.parquet"]
    assert [row.record_id for batch in read_run_records(path) for row in batch] == ["old"]


def test_run_records_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no PAR1")
    write_records(tmp_path / "public.parquet", [Record("a", "a", query="q")])
    for name in ("missing.parquet", "bad.parquet", "public.parquet"):
        with pytest.raises(BadInput, match=name):
            list(read_run_records(tmp_path / name))
