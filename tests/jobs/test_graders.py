"""Accuracy from any grader, from records to the report: a built-in one, the records' own scores, and one that
another package registers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ray

N = 60
LENGTHS = """
from pydantic import Field
from auditor.graders import Settings, grader, grader_identity

class LengthSettings(Settings):
    most: int = Field(8, ge=1)

@grader("short", LengthSettings)
class Short:
    meaning = "the answer is short"

    def __init__(self, settings):
        self.most = settings.most
        self.identity = grader_identity("short", settings)

    def grade(self, record, answer, model):
        return float(len(answer) <= self.most)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of `id` are answered rightly in three of four rows, of `q` in one; all have a score of their
    own beside it, of another value."""
    root = tmp_path_factory.mktemp("graders")
    for name, right in (("id", 3), ("q", 1)):
        rows = [
            {
                "record_id": f"{name}{i}",
                "query": f"what is {name} {i}?",
                "responses": {"m": f"thing {i}" if i % 4 < right else "I cannot tell you that."},
                "reference": f"thing {i}",
                "score": 1.7 if i == 0 else 0.5 if i % 2 else 0.25,
            }
            for i in range(N)
        ]
        (root / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (root / "audit.yaml").write_text(
        "data: {id: id.jsonl, scenarios: {q: q.jsonl}}\nencoders: {image: null, text: lab}\nmodels: [m]\n"
        "critic: {hidden: 8, steps: 10, seeds: 1}\nthresholds: {emid: 9}\nshards: {stream: 25}\n"
    )
    return root


def report(out: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    found = json.loads((out / "report.json").read_text())
    return found, {row["scenario"]: row for row in found["scenarios"] or found["windows"]}


def test_accuracy_by_every_way(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run: Callable[..., int],
    quiet_ray: Callable[[int], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    quiet_ray(2)
    try:
        config = folder / "audit.yaml"
        out = tmp_path / "out"  # one folder: what was made by one grader is not taken for another's

        def audit(*settings: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
            given = [word for setting in settings for word in ("--set", setting)]
            assert run(monkeypatch, "audit", "-c", config, *given, "-o", out) == 0
            return report(out)

        for strategy in ("pool", "sample"):
            whole, rows = audit("grader=exact", f"critic.train_on={strategy}")
            assert (rows["id"]["accuracy"], rows["q"]["accuracy"]) == (0.75, 0.25)
            assert rows["id"]["intervals"]["accuracy"] is not None and "accuracy" not in rows["id"]["missing"]
            assert whole["run"]["grader"]["name"] == "exact"
            assert (
                whole["notes"][-1].startswith("`score` was left out")
                and "1 in id, 1 in q" in whole["notes"][-1]
            )
            page = (out / "report.html").read_text()
            assert 'title="Mean score of the graded answers, 0 to 1: exact match with the reference."' in page
            assert "Accuracy: exact match with the reference." in " ".join(capsys.readouterr().out.split())

            whole, rows = audit(f"critic.train_on={strategy}")  # auto: the records have scores
            assert whole["run"]["grader"]["name"] == "recorded"
            assert rows["q"]["accuracy"] == pytest.approx((30 * 0.5 + 29 * 0.25) / 59)

        whole, rows = audit("grader=none")
        assert whole["run"]["grader"] is None and rows["q"]["accuracy"] is None
        why = "`grader` is none: give the records a `score`, or set `grader:`"
        assert rows["q"]["missing"]["accuracy"] == why

        told = run(monkeypatch, "audit", "-c", config, "--set", "grader={name: exact, tol: 1}", "-o", out)
        assert told == 2 and "grader exact: unknown setting 'tol'" in capsys.readouterr().err

        # Drift: the baseline keeps its accuracy, and windows have theirs.
        baseline, out = tmp_path / "baseline", tmp_path / "drift"
        encoders, critic = "encoders={image: null, text: lab}", "critic={hidden: 8, steps: 10, seeds: 1}"
        given = ("--set", encoders, "--set", critic)
        made = run(
            monkeypatch,
            *("baseline", "build", "--records", folder / "id.jsonl", "-o", baseline),
            *given,
            *("--set", "grader=exact"),
        )
        assert made == 0
        said = json.loads((baseline / "baseline.json").read_text())
        assert (said["accuracy"], said["grader"]["name"]) == (0.75, "exact")
        run(
            monkeypatch,
            *("drift", "--baseline", baseline, "--traffic", folder / "q.jsonl", "-o", out),
            *("--set", "grader=token_f1", "--set", "window_rows=30"),
        )
        whole, rows = report(out)
        assert [row["accuracy"] for row in rows.values()] == pytest.approx([8 / 30, 7 / 30])
        assert whole["run"]["grader"]["meaning"].startswith("F1 of the words")
        (line,) = whole["tables"]["baseline"]
        assert (line["accuracy"], line["grader"]) == (0.75, "exact")
    finally:
        ray.shutdown()


def test_a_grader_of_another_package(folder: Path, tmp_path: Path) -> None:
    """Found through its entry point, in the driver and in the workers, which grade as rows stream by."""
    plugin = tmp_path / "plugin"
    information = plugin / "short_answers-1.0.dist-info"
    information.mkdir(parents=True)
    (plugin / "short_answers.py").write_text(LENGTHS)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: short-answers\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[shift_auditor.graders]\nshort = short_answers\n")
    command = [
        *(sys.executable, "-m", "jobs.audit", "-c", str(folder / "audit.yaml"), "-o", str(tmp_path / "out")),
        *("--set", "critic.train_on=sample", "--set", "grader={name: short, most: 10}"),
        *("--set", "workers={executor: ray, cpu: 1}"),
    ]
    path = os.pathsep.join([str(plugin), str(Path(__file__).parents[2])])
    environment = {**os.environ, "PYTHONPATH": path}
    environment.pop("RAY_ADDRESS", None)
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    whole, rows = report(tmp_path / "out")
    assert (rows["id"]["accuracy"], rows["q"]["accuracy"]) == (0.75, 0.25)
    graded = {"name": "short", "meaning": "the answer is short"}
    identity = '{"grader": "short", "most": 10, "version": 1}'
    assert whole["run"]["grader"] == graded | {"identity": identity}
