"""`critic.estimator` end to end: a small lab audit with each kind of critic, and what a wrong one says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

LAB = """
data: {reader: lab, n: 60, scenarios: {german: {language: de}}}
encoders: {image: {name: lab}, text: {name: lab}}
models: [{name: weak, generator: transformers, path: "lab:mllm-weak", max_new_tokens: 4, batch: 16}]
shards: {generate: 60, embed: 60, stream: 25}
workers: {executor: serial}
"""
TRAINED = ", hidden: 16, steps: 30, batch: 64"


@pytest.mark.parametrize(
    ("critic", "named"),
    [
        (
            f"estimator: infonce{TRAINED}, seeds: 2",
            "InfoNCE (pairs from at most 4,096 rows a scenario), 2 seeds",
        ),
        (f"estimator: nwj{TRAINED}, seeds: 1, train_on: sample", "NWJ (pairs"),
        (f"estimator: mine{TRAINED}, seeds: 1, cross_fit: 2", "MINE (pairs"),
        ("estimator: gaussian, options: {features: 20}, seeds: 2, cross_fit: 2", "Gaussian, 2 seeds, cross"),
    ],
    ids=["infonce", "nwj", "mine", "gaussian"],
)
def test_an_audit_with_each_critic(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run: Callable[..., int],
    critic: str,
    named: str,
) -> None:
    config, out = tmp_path / "lab.yaml", tmp_path / "out"
    config.write_text(f"{LAB}critic: {{{critic}}}\n")
    assert run(monkeypatch, "audit", "-c", config, "-o", out) == 0
    report = json.loads((out / "report.json").read_text())
    assert report["run"]["critic"].startswith(named)
    rows = {row["scenario"]: row for row in report["scenarios"]}
    german = rows["german"]
    assert german["emid"] == pytest.approx(rows["id"]["emi"] - german["emi"], abs=1e-9)
    low, high = german["intervals"]["emid"]
    assert low < high and np.isfinite([german["emi"], german["mi_model"], low, high]).all()
    # The same command again finds everything, sums of every kind among it.
    assert run(monkeypatch, "audit", "-c", config, "-o", out) == 0
    assert json.loads((out / "report.json").read_text())["scenarios"] == report["scenarios"]


def test_an_unknown_critic_is_refused_before_any_record_is_read(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = tmp_path / "lab.yaml"
    config.write_text(f"{LAB}critic: {{estimator: info-nce}}\n")
    assert run(monkeypatch, "audit", "-c", config, "-o", tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert "critic.estimator: unknown critic 'info-nce' (did you mean infonce?)" in " ".join(said.split())
