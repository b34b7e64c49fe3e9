"""`auditor doctor`, here and against a real cluster of two nodes, one of which lacks the driver's disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster as Nodes

from jobs.doctor import checks as doctor
from jobs.doctor import examine

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def findings(text: str) -> dict[str, dict[str, str]]:
    return {check["name"]: check for check in json.loads(text)}


def test_the_lab_finds_all_it_needs(
    run: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    assert run(monkeypatch, "doctor", "-c", ROOT / "examples" / "lab.yaml", "-o", out, "--json") == 0
    found = findings(capsys.readouterr().out)
    assert {"python", "cpu", "faiss", "store", "model hub", "ray token", "cluster"} <= set(found)
    assert found["model lab-strong"]["found"] == "the lab's own"
    assert found["workers of lab-weak"]["status"] == "ok"
    assert not out.exists()
    assert run(monkeypatch, "doctor", "-o", out) == 0
    assert "auditor doctor" in capsys.readouterr().out


def test_what_a_config_needs_and_is_not_there(
    run: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    (tmp_path / "audit.yaml").write_text(
        "data: {id: gone.jsonl, scenarios: {}, media_root: nowhere}\n"
        "encoders: {image: null, text: minilm}\n"
        "models: [{name: far/away, generator: vllm, replicas: 9000}]\n"
    )
    assert run(monkeypatch, "doctor", "-c", tmp_path / "audit.yaml", "--json") == 2
    found = findings(capsys.readouterr().out)
    assert found["records"]["status"] == found["media"]["status"] == "fail"
    assert "not in the cache" in found["model far/away"]["found"]
    assert found["model hub"]["status"] == "fail"  # offline, and needed
    assert "9000 replicas of 1 CPUs do not fit" in found["workers of far/away"]["found"]
    assert all(check["way_out"] for check in found.values() if check["status"] != "ok")
    (tmp_path / "audit.yaml").write_text("data: {id: gone.jsonl, scenaria: {}}\n")
    assert run(monkeypatch, "doctor", "-c", tmp_path / "audit.yaml") == 2
    assert "unknown key" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("environment", "status"),
    [
        ({"RAY_AUTH_MODE": "disabled"}, "warn"),
        ({"RAY_AUTH_TOKEN": "secret-of-ours"}, "ok"),
        ({"RAY_ADDRESS": "10.0.0.1:6379"}, "warn"),
        ({}, "ok"),
    ],
)
def test_the_token(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, environment: dict[str, str], status: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    (check,) = doctor._tokens(doctor.WorkersConfig())
    assert check.status == status and "secret-of-ours" not in check.found


def test_a_cluster_is_asked_and_one_that_is_silent_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 100 * 2**20})
    try:
        nodes.add_node(num_cpus=2, num_gpus=2, object_store_memory=100 * 2**20)
        monkeypatch.setenv("RAY_ADDRESS", nodes.address)
        config = tmp_path / "audit.yaml"
        config.write_text(
            "data: {id: a.jsonl, scenarios: {}}\nencoders: {image: null, text: lab}\n"
            "models: [{name: 'lab:mllm-weak', generator: transformers, replicas: 3}]\n"
        )
        found = {check.name: check for check in examine(config, (), tmp_path / "out")}
        assert f"{nodes.address}: 2 nodes" in found["cluster"].found
        assert found["shared storage"].status == "ok" and not (tmp_path / "out").exists()
        assert "3 replicas of 1 GPUs and 1 CPUs do not fit: 2 do" in found["workers of lab:mllm-weak"].found
    finally:
        nodes.shutdown()
    monkeypatch.setattr(doctor, "CLUSTER_SECONDS", 5.0)
    (check,) = [c for c in doctor._cluster(doctor.Needs(), tmp_path) if c.name == "cluster"]
    assert check.status == "fail" and check.way_out
