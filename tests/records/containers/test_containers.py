"""Containers: the same rows in every one give the same records; content tells what a file is; and whatever
happens to the bytes of a file, no error but `BadInput` leaves it, and rows in = used + left out."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from auditor.errors import BadInput
from auditor.records import Limits, read_many, read_records
from schemas.record import Image, Quarantined, Reason, Record

ROWS: list[dict[str, Any]] = [
    {
        "record_id": f"é{i}",
        "query": f'what, "is" [{i}]?\n{{}}',
        "responses": {"m": [f"a\\{i}", "b"], "k": "]}"},
        "tags": ["x", f"y:{i}"],
        "timestamp": "2024-02-29T12:00:00Z",
    }
    for i in range(60)
]


def json_lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def table(rows: list[dict[str, Any]], delimiter: str = ",") -> bytes:
    out = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.writer(out, delimiter=delimiter)
    writer.writerow(names)
    for row in rows:
        cells = [row.get(name, "") for name in names]
        writer.writerow([json.dumps(c) if isinstance(c, dict | list) else c for c in cells])
    return out.getvalue().encode()


def parquet(rows: list[dict[str, Any]]) -> bytes:
    out = io.BytesIO()
    flat = [{**row, "responses": json.dumps(row["responses"])} for row in rows]
    pq.write_table(pa.Table.from_pylist(flat), out, row_group_size=25)
    return out.getvalue()


def tar(members: list[tuple[str, bytes]], form: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as file:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return out.getvalue()


def shard(rows: list[dict[str, Any]]) -> bytes:
    return tar([(f"{i:05}.json", json.dumps(row).encode()) for i, row in enumerate(rows)])


def zstd(data: bytes) -> bytes:
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, "zstd") as stream:
        stream.write(data)
    return bytes(out.getvalue().to_pybytes())


CONTAINERS: dict[str, Callable[[list[dict[str, Any]]], bytes]] = {
    "JSON lines": json_lines,
    "array": lambda rows: json.dumps(rows).encode(),
    "pretty array": lambda rows: json.dumps(rows, indent=2, ensure_ascii=False).encode(),
    "pretty objects": lambda rows: "\n".join(json.dumps(row, indent=2) for row in rows).encode(),
    "an array a line": lambda rows: b"".join(
        json.dumps(rows[i : i + 7]).encode() + b"\n" for i in range(0, 60, 7)
    ),
    "objects on one line": lambda rows: b"".join(json.dumps(row).encode() for row in rows),
    "lines with commas": lambda rows: b",\n".join(json.dumps(row).encode() for row in rows) + b",\n",
    "CSV": table,
    "semicolons": lambda rows: table(rows, ";"),
    "tabs": lambda rows: table(rows, "\t"),
    "Parquet": parquet,
    "tar": shard,
}
PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "zstd": zstd,
    "bzip2": bz2.compress,
    "gzip in zstd": lambda data: zstd(gzip.compress(data)),
    "two gzips": lambda data: gzip.compress(data[:500]) + gzip.compress(data[500:]),
    "two zstds": lambda data: zstd(data[:500]) + zstd(data[500:]),
}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[Record | Quarantined]:
    path = tmp_path_factory.mktemp("rows") / "a.jsonl"
    path.write_bytes(json_lines(ROWS))
    rows = list(read_records(path))
    assert len(rows) == 60 and all(isinstance(row, Record) for row in rows)
    return rows


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("container", CONTAINERS)
def test_the_same_rows_in_every_container(
    tmp_path: Path, container: str, packing: str, expected: list[Record | Quarantined]
) -> None:
    for name in ("rows.jsonl", "rows"):  # the name says something wrong, or nothing
        path = tmp_path / name
        path.write_bytes(PACKINGS[packing](CONTAINERS[container](ROWS)))
        rows = read_records(path)
        assert list(rows) == expected
        assert rows.progress.rows == len(ROWS)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"])
def test_encodings(tmp_path: Path, encoding: str, expected: list[Record | Quarantined]) -> None:
    (tmp_path / "a.json").write_bytes(json_lines(ROWS).decode().encode(encoding))
    assert list(read_records(tmp_path / "a.json")) == expected
    if encoding in ("utf-16", "utf-8-sig"):
        (tmp_path / "a.csv").write_bytes(table(ROWS).decode().encode(encoding))
        assert list(read_records(tmp_path / "a.csv")) == expected


@pytest.mark.parametrize(
    "name", ["a.jsonl.2025-06-01", "a.jsonl.1", "a.json-20250601", "a.jsonlines", "a.NDJSON", "a.jsonl.3.gz"]
)
def test_rotated_names(tmp_path: Path, name: str, expected: list[Record | Quarantined]) -> None:
    (tmp_path / name).write_bytes(json_lines(ROWS))
    assert list(read_records(tmp_path / name)) == expected


def test_a_byte_order_mark_at_any_line(tmp_path: Path) -> None:
    bom = b"\xef\xbb\xbf"
    (tmp_path / "a.jsonl").write_bytes(b"".join(bom + json_lines([row]) for row in ROWS[:3]))
    assert [row.record_id for row in read_records(tmp_path / "a.jsonl")] == ["é0", "é1", "é2"]


EXCEL = b"PK\x03\x04" + bytes(30)
REFUSED: dict[str, tuple[bytes, str]] = {
    "a.xlsx": (EXCEL, "save the sheet as CSV"),
    "a.jsonl": (EXCEL, "unzip it"),
    "a.db": (b"SQLite format 3\0" + bytes(80), "sqlite3 -json"),
    "a.pkl": (b"\x80\x04\x95" + bytes(30), "to_parquet"),
    "a.feather": (b"FEA1" + bytes(30), "to_parquet"),
    "a.arrow": (b"\xff\xff\xff\xff" + bytes(30), "no readable Arrow file"),
    "b.arrow": (b"ARROW1" + bytes(30), "no readable Arrow file"),
    "a.jsonl.xz": (b"\xfd7zXZ\0" + bytes(30), "unxz"),
    "b.jsonl": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    "page.html": (b"<!DOCTYPE html><html>", "HTML"),
    "photo.png": (b"\x89PNG\r\n\x1a\n" + bytes(30), "data.media_root"),
    "notes.txt": (b"some notes\nmore notes\n", "unknown file type"),
    "empty": (b"", "empty"),
    "empty.csv": (b"", "empty"),
    "text.parquet": (b"no table", "no readable Parquet file"),
    "a.jsonl.gz": (b"no gzip", "is not; is the file whole?"),
    "d.csv": (b"record_id,query,query\n1,q,r\n", "`query` twice"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_read_is_named_with_the_way_out(tmp_path: Path, name: str) -> None:
    data, said = REFUSED[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(BadInput) as caught:
        list(read_records(tmp_path / name))
    assert said in str(caught.value) and name in str(caught.value) and "\n" not in str(caught.value)


def test_one_file_that_cannot_be_read_does_not_stop_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(json_lines(ROWS[:2]))
    (tmp_path / "b.jsonl").write_bytes(EXCEL)
    (tmp_path / "c.parquet").write_bytes(b"PAR1" + bytes(40))
    rows = read_many(f"{tmp_path}/*")
    taken = list(rows)
    assert [row.record_id for row in taken if isinstance(row, Record)] == ["é0", "é1"]
    lost = [row for row in taken if isinstance(row, Quarantined)]
    assert [Path(row.source).name for row in lost] == ["b.jsonl", "c.parquet"]
    assert {row.reason for row in lost} == {Reason.UNREADABLE_LINE}
    assert [read.rows for read in rows.progress.files.values()] == [2, 1, 1]
    (tmp_path / "a.jsonl").write_bytes(EXCEL)
    with pytest.raises(BadInput, match=r"a\.jsonl"):
        list(read_many(f"{tmp_path}/*"))


# JSON arrays.


def test_a_broken_item_of_an_array_costs_its_row(tmp_path: Path) -> None:
    items = [
        '{"record_id": "a", "query": "q"}',
        '{"record_id": tru}',
        "7",
        '{"x": [1}',
        '{"record_id": "b", "query": "q"}',
    ]
    (tmp_path / "a.json").write_text("[" + ",\n".join(items) + "]")
    rows = list(read_records(tmp_path / "a.json"))
    assert [row.record_id for row in rows] == ["a", None, None, None, "b"]
    assert [row.row for row in rows if isinstance(row, Quarantined)] == [2, 3, 4]
    (tmp_path / "a.json").write_text("[" + ",\n".join(items[:1] * 3))
    rows = list(read_records(tmp_path / "a.json"))
    assert isinstance(rows[-1], Quarantined) and "breaks off" in rows[-1].detail


def test_an_array_lies_in_bounded_memory(tmp_path: Path) -> None:
    long = json.dumps({"record_id": "long", "query": "x" * 3_000_000})
    short = json.dumps({"record_id": "short", "query": "q"})
    (tmp_path / "a.json").write_text(f"[{short}, {long}, {short}]")
    first, second, third = read_records(tmp_path / "a.json", Limits(line_bytes=10_000))
    assert isinstance(second, Quarantined) and "10,000 bytes" in second.detail
    assert isinstance(first, Record) and isinstance(third, Record)


def test_lines_stay_lines_where_the_first_is_broken(tmp_path: Path) -> None:
    good = json.dumps({"record_id": "b", "query": "q"})
    for first in ('{"record_id": "a"} and', '{"record_id": "a",', '["a", "b"]', "{", "[1, 2", "garbage"):
        (tmp_path / "a.jsonl").write_text(f"{first}\n{good}\n{good.replace('b', 'c')}\n")
        rows = list(read_records(tmp_path / "a.jsonl"))
        if first != "[1, 2":  # an array, as far as anybody can tell
            assert [isinstance(row, Record) for row in rows] == [False, True, True], first


# CSV.


def test_rows_of_csv_that_do_not_fit_cost_themselves(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(
        b'record_id,query,tags\r\na,"one\r\ntwo",x\r\nb,q\r\n\r\nc,q,x,y\r\nd,\xff,x\r\ne,q,\r\n'
    )
    rows = list(read_records(tmp_path / "a.csv"))
    assert rows[0] == Record("a", "a", query="one\r\ntwo", tags=("x",))
    assert rows[-1] == Record("e", "e", query="q")
    lost = [row for row in rows if isinstance(row, Quarantined)]
    assert [row.row for row in lost] == [4, 6, 7]
    assert "2 cells" in lost[0].detail and "iconv" in lost[2].detail


def test_an_unclosed_quote_takes_no_more_than_a_row_may_have(tmp_path: Path) -> None:
    lines = "".join(f"{i},q\n" for i in range(2000))
    (tmp_path / "a.csv").write_text(f'record_id,query\na,q\nb,"{lines}')
    rows = list(read_records(tmp_path / "a.csv", Limits(line_bytes=5000)))
    assert isinstance(rows[0], Record)
    assert any(isinstance(row, Quarantined) for row in rows)


def test_bombs_in_cells(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"record_id,query,tags\na,q,{',' * 1_200_000}\nb,q,x\n")
    first, second = read_records(tmp_path / "a.csv")
    assert isinstance(first, Quarantined) and "cells" in first.detail
    assert isinstance(second, Record)
    bomb = "[" + "[]," * 1_200_000 + "[]]"
    pq.write_table(pa.table({"record_id": ["a"], "query": ["q"], "tags": [bomb]}), tmp_path / "a.parquet")
    rows = read_records(tmp_path / "a.parquet")
    assert list(rows) == [Record("a", "a", query="q")]
    assert any("100,000 characters" in said for _, said in rows.progress.coercions)


# Tar.


def test_members_that_share_a_key_are_one_row(tmp_path: Path) -> None:
    picture = b"\x89PNG\r\n\x1a\n"
    long = "d" * 150 + "/"
    members = [
        ("a/000.json", b'{"record_id": "r0", "image": "a/000.png", "query": "q"}'),
        ("a/000.png", picture),
        ("a/._000.png", b"what macOS keeps"),
        ("a/000.seg.png", picture + b"2"),
        ("a/001.jpg", picture + b"3"),
        ("a/001.txt", "caption é".encode()),
        ("a/001.cls", b"7"),
        (long + "002.json", b'{"query": "q", "images": ["elsewhere.png"]}'),
        (long + "002.webp", picture),
        ("003.json", b"{broken"),
        ("004.json", b'{"query": "q"}'),
    ]
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT):
        (tmp_path / "a.tar").write_bytes(tar(members, form))
        rows = read_records(tmp_path / "a.tar")
        first, second, third, bad, last = rows
        assert first == Record(
            "r0", "r0", query="q", images=(Image(data=picture), Image(data=picture + b"2"))
        )
        assert second == Record("a/001", "a/001", (Image(data=picture + b"3"),), reference="caption é")
        assert isinstance(third, Record) and third.record_id == long + "002"
        assert third.images == (Image(path="elsewhere.png"), Image(data=picture))
        assert isinstance(bad, Quarantined) and "003.json" in bad.detail
        assert last == Record("004", "004", query="q")
        assert rows.progress.coercions["record_id", "absent, and the key in the tar taken in its place"] == 3


def test_a_large_member_is_skipped_without_being_held(tmp_path: Path) -> None:
    members = [("a.json", b'{"query": "q"}'), ("a.jpg", bytes(100_000)), ("b.json", b'{"query": "q"}')]
    (tmp_path / "a.tar").write_bytes(tar(members))
    bad, good = read_records(tmp_path / "a.tar", Limits(line_bytes=10_000))
    assert isinstance(bad, Quarantined) and "10,000 bytes" in bad.detail
    assert isinstance(good, Record) and good.record_id == "b"


# Whatever happens to the bytes.


def damaged(data: bytes, random: Random) -> bytes:
    out = bytearray(data)
    for _ in range(random.choice([1, 1, 3, 20])):
        at = random.randrange(len(out)) if out else 0
        match random.randrange(5):
            case 0 | 1:
                out[at : at + 1] = bytes([out[at] ^ 1 << random.randrange(8)])
            case 2:
                del out[at:]
            case 3:
                del out[at : at + random.randrange(1, 64)]
            case 4:
                out[at:at] = random.randbytes(random.randrange(1, 64))
        if not out:
            break
    return bytes(out)


@pytest.mark.parametrize("packing", ["plain", "gzip", "zstd"])
@pytest.mark.parametrize("container", CONTAINERS)
def test_damaged_files(tmp_path: Path, container: str, packing: str) -> None:
    random = Random(f"{container} {packing}")
    whole = PACKINGS[packing](CONTAINERS[container](ROWS[:20]))
    path = tmp_path / "a.jsonl"
    for _ in range(60):
        path.write_bytes(damaged(whole, random))
        try:
            rows = read_records(path, Limits(line_bytes=100_000))
            taken = list(rows)
        except BadInput as error:
            assert "\n" not in str(error) and "a.jsonl" in str(error)
            continue
        used = sum(isinstance(row, Record) for row in taken)
        left_out = sum(isinstance(row, Quarantined) and not row.model for row in taken)
        assert rows.progress.rows == used + left_out
        assert sum(read.rows for read in rows.progress.files.values()) == rows.progress.rows


def test_random_bytes(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    starts = [b"", b"{", b"[", b"PAR1", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"BZh9", b"record_id,query\n"]
    for name in ("a.jsonl", "a.csv", "a.tar", "a.parquet", "a"):
        for start in starts * 3:
            (tmp_path / name).write_bytes(start + random.bytes(int(random.integers(0, 3000))))
            try:
                taken = list(read_records(tmp_path / name))
            except BadInput as error:
                assert "\n" not in str(error)
            else:
                assert all(isinstance(row, Record | Quarantined) for row in taken)
