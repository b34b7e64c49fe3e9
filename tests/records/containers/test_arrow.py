"""Tables of Arrow, and data sets that `datasets` has saved to a folder."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pytest

from auditor.records import read_many, read_records
from schemas.record import Quarantined, Reason, Record

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def table(start: int, n: int) -> pa.Table:
    rows = [
        {"question": f"q{i}", "answer": f"a{i}", "image": {"bytes": b"\x89PNG", "path": f"{i}.png"}}
        for i in range(start, start + n)
    ]
    schema = pa.schema([("question", pa.string()), ("answer", pa.string()), ("image", IMAGE)])
    return pa.Table.from_pylist(rows, schema)


def write_stream(path: Path, rows: pa.Table) -> Path:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, rows.schema) as writer:
        writer.write_table(rows, max_chunksize=100)
    return path


def save_to_disk(folder: Path, *parts: pa.Table) -> Path:
    """A folder as `Dataset.save_to_disk` leaves it."""
    folder.mkdir(parents=True)
    names = [f"data-{i:05d}-of-{len(parts):05d}.arrow" for i in range(len(parts))]
    for name, part in zip(names, parts, strict=True):
        write_stream(folder / name, part)
    (folder / "dataset_info.json").write_text(json.dumps({"features": {}}))
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    return folder


def test_a_saved_data_set_is_read_from_its_folder(tmp_path: Path) -> None:
    save_to_disk(tmp_path / "set" / "train", table(0, 250), table(250, 50))
    save_to_disk(tmp_path / "set" / "test", table(300, 10))
    (tmp_path / "set" / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
    rows = read_many(tmp_path / "set" / "train")
    records = [row for row in rows if isinstance(row, Record)]
    assert [row.query for row in records] == [f"q{i}" for i in range(300)]
    assert records[7].reference == "a7" and records[7].images[0].data == b"\x89PNG"
    assert set(rows.progress.formats.values()) == {"question_answer"}


@pytest.mark.parametrize("packed", [False, True])
def test_streams_and_feather_files(tmp_path: Path, packed: bool) -> None:
    ours = pa.table({"record_id": ["a", "b"], "query": ["q", "r"], "other": [1, 2]})
    with pa.OSFile(str(tmp_path / "f"), "wb") as file, pa.ipc.new_file(file, ours.schema) as writer:
        writer.write_table(ours)
    write_stream(tmp_path / "s", ours)
    for name in ("f", "s"):
        path = tmp_path / f"{name}.arrow"
        data = (tmp_path / name).read_bytes()
        path.write_bytes(gzip.compress(data) if packed else data)
        assert list(read_records(path)) == [Record("a", "a", query="q"), Record("b", "b", query="r")]


def test_a_stream_that_breaks_off_keeps_the_rows_before(tmp_path: Path) -> None:
    data = write_stream(tmp_path / "a.arrow", table(0, 300)).read_bytes()
    (tmp_path / "a.arrow").write_bytes(data[: len(data) // 2])
    *good, last = read_records(tmp_path / "a.arrow")
    assert len(good) == 100 and all(isinstance(row, Record) for row in good)
    assert (
        isinstance(last, Quarantined)
        and last.reason is Reason.UNREADABLE_LINE
        and "from 100 on" in last.detail
    )
