"""An audit whose model is an endpoint: the real job on a real local Ray, the server in this process."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from PIL import Image

from auditor.pipeline.answer import answer
from auditor.storage.embedding_store import EmbeddingStore
from auditor.storage.response_store import ResponseStore
from auditor.storage.run_dir import RunDir
from auditor.storage.work_units import prompt_item, text_key
from jobs.run.settings import load_config
from schemas.config import AuditConfig, ShardConfig
from tests.conftest import workplace_at

KEY = "sk-not-to-be-seen-anywhere"
N = 24


@pytest.fixture(scope="module")
def cluster(quiet_ray: Callable[[int], None]) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUDITOR_TEST_KEY", KEY)  # before Ray starts: workers have the environment of its nodes
        patch.setenv("no_proxy", "*")
        quiet_ray(2)
        yield
        ray.shutdown()


@pytest.fixture
def config(tmp_path: Path, chat_server: Any) -> Path:
    """Two scenarios; every third record has two images, every second earlier turns."""
    media = tmp_path / "media"
    media.mkdir()
    rng = np.random.default_rng(0)
    for i in range(2 * N):
        Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(media / f"{i}.png")
    for name, ask in (("id", "what is in picture {}?"), ("q", "WHAT DO YOU SEE AT {}")):
        rows = []
        for i in range(N):
            row: dict[str, Any] = {
                "record_id": f"{name}{i}",
                "query": ask.format(i),
                "reference": f"noise {i}",
            }
            row["images"] = [f"{i}.png", f"{N + i}.png"] if i % 3 == 0 else [f"{i}.png"]
            if i % 2 == 0:
                row["history"] = [{"role": "user", "text": "hello"}, {"role": "assistant", "text": f"hi {i}"}]
            rows.append(row)
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    path = tmp_path / "audit.yaml"
    path.write_text(
        f"""
data: {{id: id.jsonl, scenarios: {{q: q.jsonl}}, media_root: media}}
encoders: {{image: lab, text: lab}}
models:
- name: hosted
  generator: endpoint
  samples: 3
  temperature: 1
  max_new_tokens: 8
  endpoint:
    {{url: "{chat_server.url}", model: m, api_key_env: AUDITOR_TEST_KEY, tries: 2, backoff_seconds: 0.01}}
critic: {{hidden: 8, steps: 5, seeds: 1}}
bounds: {{entropy_reference: 1.0}}
shards: {{generate: 10}}
"""
    )
    return path


def text_of(body: dict[str, Any]) -> str:
    content = body["messages"][-1]["content"]
    return content if isinstance(content, str) else content[-1]["text"]


def answering(server: Any, poison: set[str]) -> Callable[[dict[str, Any]], Any]:
    def answer(body: dict[str, Any]) -> Any:
        text = text_of(body)
        if text in poison:
            return server.reply({"error": {"message": "cannot"}}, 500)
        return server.reply(
            server.chat(*(f"{text} is noise {i}" for i in range(body["n"])), logprobs=[-0.5, -1])
        )

    return answer


def report_of(out: Path) -> dict[str, Any]:
    found = json.loads((out / "report.json").read_text())
    assert isinstance(found, dict)
    return found


def test_prompts_that_always_fail_are_quarantined_and_asked_again_when_the_server_is_mended(
    cluster: None, config: Path, chat_server: Any, monkeypatch: pytest.MonkeyPatch, run: Callable[..., int]
) -> None:
    poison = {"what is in picture 3?", "what is in picture 4?", "WHAT DO YOU SEE AT 7"}
    chat_server.answer = answering(chat_server, poison)
    out = config.parent / "out"
    assert run(monkeypatch, "audit", "-c", config, "-o", out) == 0  # no thresholds
    report = report_of(out)
    assert report["quarantine"] == {"model_failed": 3}
    rows = {row["scenario"]: row for row in report["scenarios"]}
    for name, failed in (("id", 2), ("q", 1)):
        assert rows[name]["quarantined"] == failed
        assert rows[name]["descriptors"]["answered"] * N == pytest.approx(
            N - failed
        )  # in = out + quarantined

    # Each prompt was put once (the poisoned ones as often as they may), whole.
    asked = Counter(map(text_of, chat_server.asked))
    assert {text: n for text, n in asked.items() if n != 1 and text != "."} == dict.fromkeys(poison, 2)
    assert len(asked.keys() - {"."}) == 2 * N
    for body in chat_server.asked:
        if text_of(body) == ".":
            continue
        assert body["n"] == 3 and body["model"] == "m" and body["temperature"] == 1
        number = int("".join(filter(str.isdigit, text_of(body))))
        *turns, last = body["messages"]
        assert turns == (
            []
            if number % 2
            else [{"role": "user", "content": "hello"}, {"role": "assistant", "content": f"hi {number}"}]
        )
        sent = [part["image_url"]["url"].partition(",")[2] for part in last["content"][:-1]]
        wanted = [number, N + number] if number % 3 == 0 else [number]
        assert [base64.b64decode(data) for data in sent] == [
            (config.parent / "media" / f"{i}.png").read_bytes() for i in wanted
        ]

    # What is embedded: the turns before the query and the query; and the answers, with what they were worth.
    texts = [EmbeddingStore(folder) for folder in (out / "run" / "embeddings").iterdir()]
    for text in (
        "hello\nhi 2\nwhat is in picture 2?",
        "what is in picture 1?",
        "what is in picture 1? is noise 0",
    ):
        assert any(text_key(text) in store for store in texts)
    assert not any(text_key("what is in picture 2?") in store for store in texts)
    [folder] = (out / "run" / "responses").iterdir()
    stored = ResponseStore(folder)
    assert len(stored) == 2 * N and len(stored.errors()) == 3
    identity = json.loads((folder / "identity.json").read_text())
    assert identity["by"]["engine"] == "us m-7" and identity["by"]["endpoint"] == chat_server.url
    bound = rows["q"]["bounds"]["theorem_4_5"]
    assert "log-probabilities of sampled answers" in bound["entropy_source"]
    assert bound["entropy"] == pytest.approx(1.0 + 1.5)  # as given, and -log p of every answer

    # Nothing that was written holds the key.
    files = [path for path in config.parent.rglob("*") if path.is_file()]
    assert len(files) > 20 and not any(KEY.encode() in path.read_bytes() for path in files)
    assert {request.headers.get("Authorization") for request in chat_server.requests} == {f"Bearer {KEY}"}

    # Mended: those that failed are asked, nobody else is.
    chat_server.requests.clear()
    chat_server.answer = answering(chat_server, set())
    assert run(monkeypatch, "audit", "-c", config, "-o", out) == 0
    assert Counter(map(text_of, chat_server.asked)) == Counter(poison)
    report = report_of(out)
    assert report["quarantine"] == {}
    assert {row["descriptors"]["answered"] for row in report["scenarios"]} == {1.0}

    # Nothing is left to ask; other ways of asking find the same answers.
    chat_server.requests.clear()
    slow = ["--set", "models.0.endpoint.concurrency=1", "--set", "models.0.endpoint.requests_per_minute=1"]
    assert run(monkeypatch, "audit", "-c", config, *slow, "-o", out) == 0
    assert chat_server.asked == [] and report_of(out)["run"]["run_id"] == report["run"]["run_id"]


def test_an_endpoint_that_is_down_ends_the_job(
    cluster: None,
    config: Path,
    chat_server: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    run: Callable[..., int],
) -> None:
    chat_server.answer = lambda body: chat_server.reply({"error": {"message": f"no {KEY}"}}, 401)
    out = config.parent / "out"
    assert run(monkeypatch, "audit", "-c", config, "-o", out) == 3
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(told) == 1 and KEY not in told[0]
    assert chat_server.url in told[0] and "status 401" in told[0] and "AUDITOR_TEST_KEY" in told[0]
    assert not (out / "report.json").exists()
    assert not list((out / "run" / "responses").glob("*/*.parquet"))


def test_a_slow_endpoint_is_no_stall(cluster: None, config: Path, chat_server: Any, tmp_path: Path) -> None:
    """One shard that takes longer than workers.stall_seconds, within what its own rates and tries allow."""
    settings = load_config(
        AuditConfig,
        config,
        ["workers.stall_seconds=0.5", "models.0.endpoint.requests_per_minute=600"],
    )
    run = RunDir(tmp_path / "slow")
    run.open()
    prompts = [prompt_item((), f"question {i}") for i in range(30)]
    with workplace_at(run, "ray", settings.workers, ShardConfig()) as at:
        answered = answer(at, settings.models[0], lambda: prompts, seed=0, unit=30).open()
    assert len(answered) == 30 and answered.errors() == {}
    assert len(chat_server.asked) == 30
