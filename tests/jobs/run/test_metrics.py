"""The text file for Prometheus, read back by Prometheus's own parser."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from auditor.errors import BadInput
from auditor.pipeline.progress import Tally
from jobs.run import metrics
from jobs.run.metrics import Metrics
from schemas.report import Report, Row, Run, Verdict


def read(path: Path) -> dict[tuple[str, str], float]:
    """(name, value of the one label besides job and out) -> value."""
    found = {}
    for family in text_string_to_metric_families(path.read_text()):
        for sample in family.samples:
            assert sample.labels.pop("job") == "drift" and sample.labels.pop("out")
            found[sample.name, next(iter(sample.labels.values()), "")] = sample.value
    return found


def report(statuses: list[str]) -> Report:
    run = Run(
        run_id="r",
        job="drift",
        created="2026-01-01T00:00:00+00:00",
        seed=0,
        interval_level=0.9,
        config={},
        config_hash="h",
        versions={},
    )
    windows = [
        Row(scenario=f"w{i}", model=None, n=5, verdict=Verdict(status=status, because="so"))
        for i, status in enumerate(statuses)
    ]
    verdict = Verdict(status="fail", because="so")
    return Report(run=run, windows=windows, verdict=verdict, quarantine={"image_missing": 3})


def test_a_job_from_begin_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "EVERY_SECONDS", 0.0)
    clock = iter(range(100, 200))
    monkeypatch.setattr(metrics.time, "monotonic", lambda: float(next(clock)))
    measured = Metrics("drift", tmp_path)
    measured.update(Tally("embed texts", 100, 40, 2, 8.0))
    path = tmp_path / "metrics.prom"
    found = read(path)
    assert found["auditor_running", ""] == 1 and ("auditor_exit_code", "") not in found
    assert found["auditor_stage_rows_done", "embed texts"] == 40
    assert found["auditor_stage_row_errors", "embed texts"] == 2
    assert found["auditor_stage_rows_per_second", "embed texts"] == 5
    assert found["auditor_stage_stall_seconds", "embed texts"] == 0
    measured.waiting("something")
    measured.waiting("something")
    assert read(path)["auditor_stage_stall_seconds", "embed texts"] > 0
    measured.ended(1, report(["pass", "fail", "fail"]))
    found = read(path)
    assert found["auditor_running", ""] == 0 and found["auditor_exit_code", ""] == 1
    assert found["auditor_end_timestamp_seconds", ""] >= found["auditor_start_timestamp_seconds", ""]
    assert found["auditor_verdict", "fail"] == 1 and found["auditor_verdict", "pass"] == 0
    assert found["auditor_results", "fail"] == 2 and found["auditor_results", "undecided"] == 0
    assert found["auditor_quarantined_rows", "image_missing"] == 3
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.prom"]


def test_it_is_written_every_few_seconds_and_always_at_the_end(tmp_path: Path) -> None:
    measured = Metrics("drift", tmp_path)
    for done in range(50):
        measured.update(Tally("embed texts", 50, done, 0, 1.0))
    assert read(tmp_path / "metrics.prom")["auditor_stage_rows_done", "embed texts"] == 0
    measured.ended(3)
    assert read(tmp_path / "metrics.prom")["auditor_stage_rows_done", "embed texts"] == 49


def test_where_it_is_written(tmp_path: Path) -> None:
    Metrics("drift", tmp_path / "none").ended(2)  # no run directory: nothing was begun
    assert not (tmp_path / "none").exists()
    Metrics("drift", tmp_path / "none", tmp_path / "drift.prom").ended(2)
    assert read(tmp_path / "drift.prom")["auditor_exit_code", ""] == 2
    with pytest.raises(BadInput, match=r"--metrics .*: there is no folder"):
        Metrics("drift", tmp_path, tmp_path / "nowhere" / "drift.prom")
    (tmp_path / "metrics.prom").mkdir()
    Metrics("drift", tmp_path).ended(0)  # cannot be written: told, and no more
