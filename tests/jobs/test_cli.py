"""How the command line tells the end of a job: exit code, one line, log, metrics."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

import auditor.pipeline.audit

CONFIG = """
data: {id: nowhere.jsonl, scenarios: {}}
encoders: {image: null, text: lab}
models: [m]
"""


@pytest.fixture
def command(tmp_path: Path) -> tuple[object, ...]:
    (tmp_path / "audit.yaml").write_text(CONFIG)
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
    assert sorted(path.name for path in tmp_path.iterdir()) == ["audit.yaml", "out"]


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
    assert [path.name for path in tmp_path.iterdir()] == ["audit.yaml"]
