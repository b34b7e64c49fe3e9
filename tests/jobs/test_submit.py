"""`ray job submit` to a real cluster: a head without CPUs and two nodes, tokens on, the dashboard on
loopback. The audit that ran there is the one that runs alone."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipeline.test_audit import numbers

ROOT = Path(__file__).parents[2]
RAY = Path(sys.executable).with_name("ray")
LAB = """
data:
  reader: lab
  n: 60
  scenarios: {blur-5: {shifts: [{shift: blur, severity: 5}]}}
encoders: {image: {name: lab}, text: {name: lab}}
models: [{name: weak, generator: transformers, path: "lab:mllm-weak", max_new_tokens: 4, batch: 16}]
critic: {hidden: 16, steps: 20, batch: 64, seeds: 1}
shards: {generate: 20, embed: 20, stream: 25}
"""


def free_port() -> int:
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        port: int = it.getsockname()[1]
        return port


CLUSTER = """
import sys
from ray.cluster_utils import Cluster
store = 100 * 2**20
head = {"num_cpus": 0, "object_store_memory": store, "include_dashboard": True}
head |= {"dashboard_host": "127.0.0.1", "dashboard_port": int(sys.argv[1])}
head |= {"dashboard_agent_listen_port": int(sys.argv[2])}  # the usual one may be another cluster's
nodes = Cluster(initialize_head=True, head_node_args=head)
try:
    for _ in range(2):
        nodes.add_node(num_cpus=1, object_store_memory=store)
    print("ready", flush=True)
    sys.stdin.read()
finally:
    nodes.shutdown()
"""
"""In a process of its own: Ray reads the token's surroundings once a process."""


@pytest.fixture
def dashboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of the jobs API. Whoever has this environment has the token."""
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    port, pipe = free_port(), subprocess.PIPE
    command = [sys.executable, "-c", CLUSTER, str(port), str(free_port())]
    nodes = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
    assert nodes.stdin is not None and nodes.stdout is not None
    try:
        while (line := nodes.stdout.readline()) != "ready\n":
            assert line, "the cluster did not start"
        yield f"http://127.0.0.1:{port}"
    finally:
        nodes.stdin.close()
        nodes.wait(60)


def submit(address: str, *command: str, token: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "RAY_AUTH_TOKEN": token or os.environ["RAY_AUTH_TOKEN"]}
    surroundings = json.dumps({"env_vars": {"PYTHONPATH": str(ROOT)}})
    return subprocess.run(
        [str(RAY), "job", "submit", "--address", address, "--runtime-env-json", surroundings, "--", *command],
        env=environment,
        capture_output=True,
        text=True,
        timeout=400,
    )


def test_an_audit_is_submitted_as_a_job(dashboard: str, tmp_path: Path) -> None:
    config = tmp_path / "lab.yaml"
    config.write_text(LAB)
    there, here = tmp_path / "cluster", tmp_path / "alone"
    command = [sys.executable, "-m", "jobs.audit", "--config", str(config), "--log-format", "json", "--out"]

    refused = submit(dashboard, *command, str(there), token=secrets.token_hex(32))
    assert refused.returncode != 0 and not there.exists()
    assert "uthentication" in refused.stderr + refused.stdout

    deadline = time.monotonic() + 120
    while "No available agent" in (done := submit(dashboard, *command, str(there))).stderr:
        assert time.monotonic() < deadline, done.stderr  # a node's agent starts after its raylet
        time.sleep(2)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "succeeded" in done.stdout
    events = [json.loads(line) for line in (there / "run" / "log.jsonl").read_text().splitlines()]
    assert [events[0]["event"], events[-1]["event"]] == ["begin", "end"]
    stages = {line["stage"]: line["rows"] for line in events if line["event"] == "stage_done"}
    assert (
        stages["answers of weak"] == 120
        and 'auditor_exit_code{job="audit"' in (there / "metrics.prom").read_text()
    )

    alone = {name: value for name, value in os.environ.items() if name != "RAY_AUTH_TOKEN"}
    subprocess.run(
        [*command, str(here)],
        env={**alone, "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        timeout=400,
    )
    assert numbers(there) == numbers(here)

    # What cannot be audited fails as a job, with its one line.
    bad = submit(dashboard, *command, str(there), "--set", "models=[]")
    assert bad.returncode != 0 and "at least 1 item" in bad.stdout + bad.stderr
