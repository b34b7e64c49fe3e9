"""A full disk: every kind of file says so in one line, leaves nothing behind, and is written once there is
room. On a real small file system; where none may be mounted, under a limit on the size of files."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from auditor.errors import AuditError
from auditor.estimators import CLUB
from auditor.records.writer import RecordWriter
from auditor.report.store import Store
from auditor.storage.atomic import write_bytes, write_text
from auditor.storage.row_cache import ARROW, PARQUET
from schemas.record import Record
from schemas.report import Report, Run, Verdict

SIZE = 1000 * 2**10
RNG = np.random.default_rng(0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "disk"
    made.mkdir()
    return made


@pytest.fixture(params=["disk", "limit"])
def room(request: pytest.FixtureRequest, folder: Path) -> Iterator[Callable[[], None]]:
    """Little room in the folder, until it is called: a file system of 1,000 KiB, or files of at most that."""
    if request.param == "limit":
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (SIZE, before[1]))
        try:
            yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, before)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        return
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no right to mount a file system")
    more = ["mount", "-o", f"remount,size={200 * SIZE}", str(folder)]
    try:
        yield lambda: subprocess.run(more, check=True) and None
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _bytes(path: Path) -> None:
    write_bytes(path, RNG.bytes(2 * SIZE))


TABLE = pa.table({"x": [RNG.bytes(1_000) for _ in range(2_000)]})


def _parquet(path: Path) -> None:
    PARQUET.write(path.parent, "file", TABLE)


def _arrow(path: Path) -> None:
    ARROW.write(path.parent, "file", TABLE)


def _critic(path: Path) -> None:
    CLUB(hidden=500, steps=1).fit(RNG.normal(size=(32, 300)), RNG.normal(size=(32, 300))).save(path)


def _records(path: Path) -> None:
    with RecordWriter(path) as writer:
        for i in range(2_000):
            writer.write(Record(record_id=f"r{i}", base_id=f"r{i}", query=RNG.bytes(500).hex()))


def _page(path: Path) -> None:
    write_text(path, RNG.bytes(SIZE).hex())


@pytest.mark.parametrize("write", [_bytes, _parquet, _arrow, _critic, _records, _page])
def test_a_file_is_written_whole_or_refused_in_one_line(
    folder: Path, room: Callable[[], None], write: Callable[[Path], None]
) -> None:
    path = folder / "file"
    with pytest.raises(AuditError) as refused:
        write(path)
    said = str(refused.value)
    assert said.startswith(f"{folder}: no space left to write file") and "MiB are free" in said
    assert "\n" not in said and "same command" in said
    assert list(folder.iterdir()) == []
    room()
    write(path)
    (file,) = folder.iterdir()
    assert file.stat().st_size > SIZE


def test_a_store_without_room_keeps_what_it_has(folder: Path, room: Callable[[], None]) -> None:
    """Runs are written until the disk is full; those before stay readable, and with room the rest follow."""
    with pytest.raises(AuditError, match=r"no space left to write audit\.duckdb") as refused:
        for i in range(100):
            Store(folder).write_run(_run(i))
    assert "\n" not in str(refused.value)
    kept = i
    assert kept
    room()
    store = Store(folder)
    if kept:
        assert [run.run_id for run in store.runs()] == [f"r{i}" for i in reversed(range(kept))]
        assert store.load_report("r0") == _run(0)
    store.write_run(_run(kept))
    assert store.load_report() == _run(kept)


def _run(number: int) -> Report:
    notes = np.random.default_rng(number).bytes(20_000).hex()
    run = Run(
        run_id=f"r{number}",
        job="audit",
        created=f"2026-01-01T00:00:{number:02d}+00:00",
        seed=0,
        config_hash="0",
        interval_level=0.9,
        config={},
        versions={},
    )
    return Report(run=run, verdict=Verdict(status="pass", because=""), notes=[notes])
