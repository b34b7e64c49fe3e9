"""`--dry-run`: counts and costs by hand, with nobody asked for anything."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from auditor.pipeline.plan import Cost, cost, survey
from jobs.run.settings import load_config
from schemas.config import AuditConfig


@pytest.fixture
def config(tmp_path: Path) -> Path:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    Image.new("RGB", (8, 8), "red").save(tmp_path / "b.png")
    rows = [
        {"record_id": "1", "query": "12345678", "responses": {"recorded": "yes"}},  # 2 + 4 tokens
        {"record_id": "2", "query": "12345678"},  # the same prompt
        {"record_id": "3", "query": "é" * 10, "image": "a.png"},  # 5 + 4, and an image
        {
            "record_id": "4",
            "query": "x",
            "images": ["a.png", "b.png"],
            "history": [{"role": "user", "text": "y"}],
        },
        {"record_id": "5"},
    ]
    (tmp_path / "id.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "q.jsonl").write_text(json.dumps({"record_id": "6", "query": "12345"}))  # 2 + 4
    path = tmp_path / "audit.yaml"
    path.write_text(
        """
data: {id: id.jsonl, scenarios: {q: q.jsonl}, media_root: .}
encoders: {image: lab, text: lab}
models:
- name: hosted
  generator: endpoint
  samples: 3
  temperature: 1
  max_new_tokens: 100
  endpoint:
    url: https://nowhere.invalid/v1
    tokens_per_image: 1000
    requests_per_minute: 2
    tokens_per_minute: 1000
    price_per_million_tokens_in: 2
    price_per_million_tokens_out: 10
- {name: local, generator: transformers, max_new_tokens: 10}
- {name: recorded}
"""
    )
    return path


def test_costs_by_hand(config: Path) -> None:
    settings = load_config(AuditConfig, config)
    scopes = survey(settings)
    assert [(s.scenario, s.rows, s.quarantined, s.prompts, s.images) for s in scopes] == [
        ("id", 4, 1, 3, 2),
        ("q", 1, 0, 1, 0),
    ]
    words = 6 + 9 + (1 + 4 + 1 + 4) + 6
    hosted = cost(settings.models[0], scopes)
    into, out = words + 3 * 1000, 4 * 3 * 100
    assert hosted == Cost(
        "hosted", "endpoint", 4, into, out, (into + out) / 1000 / 60, (into * 2 + out * 10) / 1e6
    )
    assert cost(settings.models[1], scopes) == Cost(
        "local", "transformers", 4, words + 3 * 600, 40, None, None
    )
    slow = load_config(AuditConfig, config, ["models.0.endpoint.tokens_per_minute=null"])
    assert cost(slow.models[0], scopes).hours == pytest.approx(4 / 2 / 60)


def test_the_command(
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    run: Callable[..., Any],
    tmp_path: Path,
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)  # nor a key, nor a server
    monkeypatch.setenv("COLUMNS", "200")
    assert run(monkeypatch, "audit", "-c", config, "-o", tmp_path / "out", "--dry-run") == 0
    said = capsys.readouterr().out
    assert "what the answers cost" in said and "no rate set" in said and "3,031" in said and "0.02" in said
    assert not (tmp_path / "out").exists()


def planned(
    run: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *words: object,
) -> tuple[int, str]:
    """Exit code, and what was said on one line, of a command that does nothing."""
    monkeypatch.setenv("COLUMNS", "200")
    code = run(monkeypatch, *words, "--dry-run")
    said = capsys.readouterr()
    plain = (said.out + said.err).encode("ascii", "replace").decode().replace("?", " ")
    return code, " ".join(plain.split())


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["encoders.text=nobody"], "encoders.text.name: unknown text encoder 'nobody'"),
        (["encoders.text.layer=many"], "encoders.text.layer"),
        (["models=[stranger]"], "no recorded responses of stranger; the records have recorded"),
        (["data.scenarios.q=none.jsonl"], "none.jsonl: no such file"),
        (["data.scenarios={}"], "no scenario has a usable record"),
        (["data.media_root=nowhere"], "data.media_root: nowhere is no folder"),
    ],
)
def test_a_plan_refuses_what_an_audit_refuses(
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    run: Callable[..., Any],
    tmp_path: Path,
    overrides: list[str],
    said: str,
) -> None:
    words = ["audit", "-c", config, "-o", tmp_path / "out", *(w for o in overrides for w in ("--set", o))]
    assert planned(run, monkeypatch, capsys, *words) == (
        2,
        told := f"error: {_line(run, monkeypatch, capsys, words)}",
    )
    assert said in told


def _line(
    run: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[object],
) -> str:
    """The error of the command itself."""
    assert run(monkeypatch, *words) == 2
    return " ".join(capsys.readouterr().err.partition("error: ")[2].split())


def test_a_plan_says_that_nobody_answered_what_is_made_here(
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    run: Callable[..., Any],
) -> None:
    blurred = "data.scenarios.blurred={shifts: [{shift: blur}]}"
    code, said = planned(run, monkeypatch, capsys, "audit", "-c", config, "--set", blurred)
    assert code == 0 and "blurred: nobody answered these rows" in said and "recorded has recorded" in said


def rows(n: int, **more: Any) -> str:
    every = [
        {"record_id": f"r{i}", "query": f"q{i % 20}", "responses": {"m": f"a{i}"}, "reference": "b", **more}
        for i in range(n)
    ]
    return "".join(json.dumps(row) + "\n" for row in every)


def test_plans_of_a_baseline_and_of_drift(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    run: Callable[..., Any],
    tmp_path: Path,
) -> None:
    (tmp_path / "id.jsonl").write_text(rows(40) + "{\n")
    out = tmp_path / "baseline"
    build = ["baseline", "build", "--records", tmp_path / "id.jsonl", "-o", out]
    text = ["--text-encoder", "lab", "--image-encoder", "none"]
    small = ["--set", "critic.seeds=1", "--set", "critic.hidden=4", "--set", "critic.steps=5"]
    code, said = planned(run, monkeypatch, capsys, *build)
    assert code == 2 and "--image-encoder" in said and "--text-encoder" in said
    code, said = planned(run, monkeypatch, capsys, *build, *text, "--model", "n")
    assert code == 2 and "no responses of n; the records have m" in said
    code, said = planned(run, monkeypatch, capsys, *build, *text, *small)
    assert code == 0 and not out.exists()
    assert "baseline 40 1 0 61" in said  # queries, answers, a reference
    assert "80 pairs" in said and "5 critics of 5 steps to train" in said and "unreadable_line 1" in said

    drift = ["drift", "--baseline", out, "--traffic", tmp_path / "t.jsonl", "-o", tmp_path / "drift"]
    code, said = planned(run, monkeypatch, capsys, *drift)
    assert code == 2 and "is no baseline" in said
    assert run(monkeypatch, *build, *text, *small, "--set", "workers.executor=serial") == 0
    capsys.readouterr()
    code, said = planned(run, monkeypatch, capsys, *drift)
    assert code == 2 and "t.jsonl: no such file" in said
    (tmp_path / "t.jsonl").write_text(
        rows(30, timestamp="2026-03-01T12:00:00")
        + rows(10, timestamp="2026-03-02").replace('"record_id": "r', '"record_id": "s')
        + "[]\n"
    )
    code, said = planned(run, monkeypatch, capsys, *drift, "--window", "1d")
    assert code == 0 and not (tmp_path / "drift").exists()
    assert "2026-03-01 30 0 51" in said and "2026-03-02 10 0 21" in said
    assert (
        "2 windows, 40 rows" in said and "5 critics, none to be trained" in said and "not_an_object 1" in said
    )

    described = json.loads((out / "baseline.json").read_text())
    made = json.loads(described["encoders"]["text"]) | {"torch": "1.0"}
    (out / "baseline.json").write_text(json.dumps(described | {"encoders": {"text": json.dumps(made)}}))
    code, said = planned(run, monkeypatch, capsys, *drift)
    assert code == 2 and "another text encoder (torch 1.0, here " in said
