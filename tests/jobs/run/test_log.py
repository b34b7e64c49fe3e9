"""What a job logs: one JSON object a line, in OUT/run, without secrets; a log that cannot be written stops
nothing."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from auditor.pipeline.progress import Tally
from jobs.run.log import LogFormat, LoggedProgress, event, logged, redacted


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_lines_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with logged(tmp_path, LogFormat.TEXT):
        event("begin", "before there is a run directory")
        logging.getLogger("somebody.else").warning("not ours")
        (tmp_path / "run").mkdir()
        logging.getLogger("actors.pool").warning("shard %s failed", "abc")
        heard = LoggedProgress()
        for done in (0, 3, 5):
            heard.update(Tally("embed texts", 5, done, 1, 2.0))
        heard.waiting("embed texts: for 30 s waiting for shard x")
        heard.waiting("embed texts: for 30 s waiting for shard x")  # too soon to be said again
    logging.getLogger("actors.pool").warning("after it")
    found = lines((tmp_path / "run" / "log.jsonl").read_text())
    assert [line["event"] for line in found] == ["begin", "message", "stage", "stage_done", "waiting"]
    assert found[1]["logger"] == "actors.pool" and found[1]["level"] == "warning"
    last = found[3]
    told = {key: last[key] for key in ("stage", "rows", "total", "errors", "seconds", "rate")}
    assert told == {"stage": "embed texts", "rows": 5, "total": 5, "errors": 1, "seconds": 2.0, "rate": 2.5}
    assert capsys.readouterr().err.splitlines()[0] == "shard abc failed"


def test_json_on_standard_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with logged(tmp_path / "nowhere", LogFormat.JSON):
        event("begin", "line\nof two", job="audit")
        try:
            raise ValueError("the text of somebody's record")
        except ValueError:
            logging.getLogger("jobs.x").exception("it failed")
    first, second = lines(capsys.readouterr().err)
    assert first["message"] == "line\nof two" and first["job"] == "audit"
    assert second["exception"] == "ValueError" and "somebody" not in json.dumps(second)
    assert not (tmp_path / "nowhere").exists()


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "run" / "log.jsonl").mkdir(parents=True)
    with logged(tmp_path, LogFormat.TEXT):
        event("begin", "still here")
    (tmp_path / "full" / "run").mkdir(parents=True)
    (tmp_path / "full" / "run" / "log.jsonl").symlink_to("/dev/full")
    with logged(tmp_path / "full", LogFormat.TEXT):
        event("begin", "still here")


@pytest.mark.parametrize(
    ("text", "kept", "gone"),
    [
        ("read s3://user:hunter2@bucket/a.parquet", "bucket/a.parquet", "hunter2"),
        ("GET https://host/a.png?X-Amz-Signature=deadbeef failed", "https://host/a.png", "deadbeef"),
        ("Authorization: Bearer abc.def", "Bearer", "abc.def"),
        ("api_key=sk-123, next", "next", "sk-123"),
        ("{'token': 'hf_xyz'}", "token", "hf_xyz"),
        ("1,024 tokens: 3/s", "1,024 tokens: 3/s", "***"),
    ],
)
def test_secrets_are_left_out(text: str, kept: str, gone: str) -> None:
    assert kept in redacted(text) and gone not in redacted(text)
