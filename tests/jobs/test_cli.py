"""How the command line tells the end of a job: exit code, one line, log, metrics."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

import auditor.pipeline.audit
import jobs.cli

CONFIG = """
data: {id: id.jsonl, scenarios: {}}
encoders: {image: null, text: lab}
models: [m]
"""


@pytest.fixture
def command(tmp_path: Path) -> tuple[object, ...]:
    (tmp_path / "audit.yaml").write_text(CONFIG)
    (tmp_path / "id.jsonl").write_text("")
    return "audit", "-c", tmp_path / "audit.yaml", "-o", tmp_path / "out"


def events(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_bad_input_in_json(
    run: Callable[..., int],
    command: tuple[object, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    (tmp_path / "out" / "run").mkdir(parents=True)  # of an earlier run
    (tmp_path / "id.jsonl").unlink()
    assert run(monkeypatch, *command, "--log-format", "json") == 2
    said = events(capsys.readouterr().err)  # nothing but JSON
    assert [line["event"] for line in said] == ["begin", "failed"]
    assert said[1]["exit_code"] == 2 and "no such file" in str(said[1]["message"])
    assert events((tmp_path / "out" / "run" / "log.jsonl").read_text()) == said
    assert 'auditor_exit_code{job="audit"' in (tmp_path / "out" / "metrics.prom").read_text()
    for name in ("auditor", "actors", "jobs"):
        assert not logging.getLogger(name).handlers


def test_what_nothing_foresaw_is_told_whole_in_one_place(
    run: Callable[..., int],
    command: tuple[object, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    def broken(*arguments: object) -> None:
        raise RuntimeError("the text of somebody's record")

    monkeypatch.setattr(auditor.pipeline.audit, "audit", broken)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out" / "run").mkdir(parents=True)
    assert run(monkeypatch, *command) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: RuntimeError") and f"{tmp_path}/out/auditor-error.log" in line
    assert "Traceback" in (tmp_path / "out" / "auditor-error.log").read_text()
    last = events((tmp_path / "out" / "run" / "log.jsonl").read_text())[-1]
    assert last["exception"] == "RuntimeError" and "somebody" not in json.dumps(last)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["audit.yaml", "id.jsonl", "out"]


def test_out_is_no_remote_address(
    run: Callable[..., int],
    command: tuple[object, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, *command[:3], "-o", "s3://bucket/out") == 2
    assert "not a remote address" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["audit.yaml", "id.jsonl"]


def test_the_details_of_a_failure_lie_where_nobody_works(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """In a file of its own among the temporary ones, which nobody else reads; nowhere where there is no
    folder for such files."""
    (temporary := tmp_path / "temporary").mkdir()
    (work := tmp_path / "work").mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))

    def broken() -> None:
        raise RuntimeError("the text of somebody's record")

    assert jobs.cli._guarded(broken) == jobs.cli._guarded(broken) == 3
    first, second = sorted(temporary.iterdir())
    assert "Traceback" in first.read_text() and first.stat().st_mode & 0o077 == 0
    said = capsys.readouterr().err
    assert str(first) in said and str(second) in said
    monkeypatch.setattr(tempfile, "tempdir", str(work))  # as Python does where it finds no other
    assert jobs.cli._guarded(broken) == 3
    assert "set TMPDIR" in capsys.readouterr().err and not list(work.iterdir())
