"""A thousand spoilt files of every format and kind: no traceback, no hang, every row used or left out."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from auditor.errors import BadInput
from auditor.records import MediaPolicy, Quarantine, admit, read_many
from auditor.records.limits import Limits
from auditor.records.tally import Tally
from schemas.record import Record
from tests.records.formats.writers import WRITERS, talks

Rng = np.random.Generator
EACH = 50
"""Spoilt files of each kind: 1,000 in all."""
LIMITS = Limits(line_bytes=2**20)


def _lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _table(path: Path) -> pa.Table:
    plain = ("record_id", "query", "reference", "timestamp")
    return pa.Table.from_pylist([{name: row.get(name) for name in plain} for row in _lines(path)])


def _csv(path: Path) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(_table(path).column_names)
    writer.writerows(row.values() for row in _table(path).to_pylist())
    return out.getvalue().encode()


def _arrow(path: Path, feather: bool) -> bytes:
    table, sink = _table(path), pa.BufferOutputStream()
    opened = pa.ipc.new_file if feather else pa.ipc.new_stream
    with opened(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=5)
    return bytes(sink.getvalue())


def _array(path: Path) -> bytes:
    return json.dumps(_lines(path), indent=1).encode()


CONTAINERS: dict[str, tuple[str, Callable[[Path], bytes]]] = {
    "array": ("a.json", _array),
    "csv": ("a.csv", _csv),
    "stream": ("a.arrow", lambda path: _arrow(path, False)),
    "feather": ("b.arrow", lambda path: _arrow(path, True)),
    "gzip": ("a.jsonl.gz", lambda path: gzip.compress(path.read_bytes())),
    "zstd": ("a.jsonl.zst", lambda path: bytes(pa.compress(path.read_bytes(), "zstd", asbytes=True))),
    "bzip2": ("a.jsonl.bz2", lambda path: bz2.compress(path.read_bytes())),
    "utf-16": ("a.jsonl", lambda path: path.read_text().encode("utf-16")),
    "latin-1": ("a.jsonl", lambda path: path.read_text().replace("e", "é").encode("latin-1", "replace")),
    "packed table": ("a.csv.gz", lambda path: gzip.compress(_csv(path))),
}


def flipped(data: bytes, rng: Rng) -> bytes:
    spoilt = bytearray(data)
    for at in rng.integers(len(data), size=int(rng.integers(1, 40))):
        spoilt[at] ^= 1 << int(rng.integers(8))
    return bytes(spoilt)


def cut(data: bytes, rng: Rng) -> bytes:
    return data[: int(rng.integers(len(data)))]


def moved(data: bytes, rng: Rng) -> bytes:
    a, b, c = sorted(int(i) for i in rng.integers(len(data), size=3))
    return data[:a] + data[b:c] + data[a:b] + data[c:]


def zeroed(data: bytes, rng: Rng) -> bytes:
    at, size = int(rng.integers(len(data))), int(rng.integers(1, 2000))
    return data[:at] + bytes(min(size, len(data) - at)) + data[at + size :]


def stuffed(data: bytes, rng: Rng) -> bytes:
    """Something large, deep or odd in the middle."""
    deep = b"[" * 100_000
    inside = [deep, b'{"a":' * 50_000, b"9" * 50_000, b'"' + b"x" * 3_000_000, b"\xff\xfe\x00", b"\n" * 5000]
    inside += [b'{"record_id": 1e999, "query": NaN}\n', b'\n{"record_id": "\\ud800", "query": "\\u0000"}\n']
    at = int(rng.integers(len(data)))
    return data[:at] + inside[int(rng.integers(len(inside)))] + data[at:]


def repeated(data: bytes, rng: Rng) -> bytes:
    a, b = sorted(int(i) for i in rng.integers(len(data), size=2))
    return data[:b] + data[a:b] * int(rng.integers(1, 4)) + data[b:]


SPOILING = (flipped, cut, moved, zeroed, stuffed, repeated)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    (folder / "media").mkdir()
    WRITERS["records"](talks(20), folder)
    return folder


def check(source: Path, media: Path) -> None:
    """Read and admit whatever there is, as `gather` does, and count."""
    rows, tally = read_many(str(source), LIMITS), Tally("spoilt")
    used = 0
    quarantine = Quarantine()
    try:
        for row in admit(tally.counted(rows), MediaPolicy(media), LIMITS, "spoilt"):
            if isinstance(row, Record):
                used += 1
            else:
                quarantine.add(row)
    except BadInput as error:
        assert "\n" not in str(error) and str(error)
        return
    files = tally.files(quarantine, [str(source)])
    assert used == sum(file.used for file in files)
    assert all(file.rows == file.used + sum(file.left_out.values()) for file in files)


@pytest.mark.parametrize("kind", [*WRITERS, *CONTAINERS])
@pytest.mark.timeout(120)
def test_fifty_spoilt_files(kind: str, good: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng([*kind.encode()])
    media = good / "media"
    if kind in CONTAINERS:
        name, make = CONTAINERS[kind]
        files = [(name, make(good / "records.jsonl"))]
    else:
        folder = tmp_path / "written"
        folder.mkdir()
        media = folder / "media"
        media.mkdir()
        written = WRITERS[kind](talks(20), folder)
        paths = sorted(Path(written).parent.glob(Path(written).name))
        files = [(path.name, path.read_bytes()) for path in paths if path.is_file() and path.stat().st_size]
    for number in range(EACH):
        place = tmp_path / str(number)
        place.mkdir()
        spoilt = int(rng.integers(len(files)))
        for at, (name, data) in enumerate(files):
            made = SPOILING[number % len(SPOILING)](data, rng) if at == spoilt else data
            (place / name).write_bytes(made)
        check(place if len(files) > 1 else place / files[0][0], media)
