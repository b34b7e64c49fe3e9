"""Files of records are found by paths, globs and folders; each is taken once, whatever links lead to it."""

from __future__ import annotations

import json
import os
from hashlib import sha256
from pathlib import Path

import fsspec
import pytest

from auditor.errors import BadInput
from auditor.records import read, read_many
from auditor.records.sources import expand, mark, record_ending


def touch(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def names(paths: list[str], root: Path) -> list[str]:
    return [os.path.relpath(path, root) for path in paths]


def test_each_file_once_whatever_links_say(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    for day in ("2025-06-01", "2025-06-02"):
        touch(logs / day / "a.jsonl")
    (logs / "loop").symlink_to(".")
    (logs / "another").symlink_to(tmp_path)
    (logs / "a-latest").symlink_to("2025-06-02")
    (logs / "2025-06-01" / "0-link.jsonl").symlink_to("a.jsonl")
    os.link(logs / "2025-06-01" / "a.jsonl", logs / "2025-06-01" / "b.jsonl")
    (logs / "gone.jsonl").symlink_to("nowhere")
    once = ["logs/2025-06-01/a.jsonl", "logs/2025-06-02/a.jsonl"]
    for pattern in ("logs/**/*.jsonl", "logs/**", "logs", "**/a.jsonl", "**/logs/**/a.jsonl"):
        assert names(expand(f"{tmp_path}/{pattern}"), tmp_path) == once, pattern
    listed = [logs / "2025-06-02/a.jsonl", f"{logs}/**/*.jsonl", logs / "a-latest" / "a.jsonl"]
    assert names(expand(listed), tmp_path) == [once[1], once[0]]
    assert expand(logs / "2025-06-01" / "0-link.jsonl") == [str(logs / "2025-06-01" / "0-link.jsonl")]


def test_many_loops_end(tmp_path: Path) -> None:
    for i in range(6):
        touch(tmp_path / f"d{i}" / "a.jsonl")
        for j in range(6):
            (tmp_path / f"d{i}" / f"to{j}").symlink_to(tmp_path / f"d{j}")
    assert len(expand(f"{tmp_path}/**/*.jsonl")) == 6


def test_relative_patterns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "x" / "y" / "a.jsonl")
    touch(tmp_path / "b.jsonl")
    monkeypatch.chdir(tmp_path)
    assert expand("**/*.jsonl") == ["b.jsonl", "x/y/a.jsonl"]
    assert expand("x/**/*.jsonl") == expand("x") == expand("x/") == expand("*/y") == ["x/y/a.jsonl"]


def test_a_folder_stands_for_its_files_of_records(tmp_path: Path) -> None:
    taken = ["a.jsonl", "b.json.gz", "c/d.csv", "c/part-00000", "e.jsonl.2025-06-01", "f.parquet", "g.tar"]
    left = [".h.jsonl", "_i.jsonl", "j.jsonl.tmp", "k.jsonl~", ".l/m.jsonl", "_n/o.jsonl", "p.png", "q.txt"]
    for name in (*taken, *left, "_SUCCESS", "c/.crc"):
        touch(tmp_path / name)
    assert names(expand(tmp_path), tmp_path) == sorted(taken)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="empty"):
        expand(tmp_path / "empty")


def test_a_folder_is_read(tmp_path: Path) -> None:
    touch(tmp_path / "b.jsonl", json.dumps({"record_id": "b", "query": "q"}))
    touch(tmp_path / "a.csv", "record_id,query\na,q\n")
    rows = read(tmp_path)
    assert [row.record_id for row in rows] == ["a", "b"]
    before = rows.fingerprint
    touch(tmp_path / "c.jsonl", json.dumps({"record_id": "c", "query": "q"}))
    assert rows.fingerprint != before


def test_folders_elsewhere() -> None:
    memory = fsspec.filesystem("memory")
    for name in ("a.jsonl", "deep/b.jsonl", "_c.jsonl"):
        memory.pipe_file(f"/folder/{name}", json.dumps({"record_id": name, "query": "q"}).encode())
    assert [row.record_id for row in read_many("memory://folder/")] == ["a.jsonl", "deep/b.jsonl"]


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        ("x.jsonl", ".jsonl"),
        ("x.JSONL.GZ", ".jsonl"),
        ("x.jsonl.2025-06-01", ".jsonl"),
        ("x.jsonl.2025-06-01T00:00:00Z.zst", ".jsonl"),
        ("x.jsonl-20250601", ".jsonl"),
        ("s3://bucket/x.csv", ".csv"),
        ("x.2025", None),
        ("x", None),
        ("x.jsonl.txt", None),
    ],
)
def test_endings(name: str, ending: str | None) -> None:
    assert record_ending(name) == ending


def test_marks(tmp_path: Path) -> None:
    path = touch(tmp_path / "a.jsonl", "text")
    found = mark(str(path))
    assert found is not None
    assert (found.size, found.digest, found.changed) == (4, sha256(b"text").hexdigest(), "")
    assert mark(str(tmp_path / "none")) is None
    with open(tmp_path / "large", "wb") as file:
        file.truncate(65 * 2**20)
    large = mark(str(tmp_path / "large"))
    assert large is not None and large.digest is None and large.changed
