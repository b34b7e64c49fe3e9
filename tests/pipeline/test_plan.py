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
        {"record_id": "1", "query": "12345678"},  # 2 + 4 tokens
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
    assert [(s.scenario, s.rows, s.aside, s.prompts, s.images) for s in scopes] == [
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
