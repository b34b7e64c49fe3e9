"""The main job with vLLM's engine: cut off in the middle, it goes on over the shards that are there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.pipeline.test_audit import numbers

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(find_spec("vllm") is None, reason="vllm is not installed (make setup-vllm)"),
]
CONFIG = """
data: {reader: lab, n: 32, scenarios: {blur-5: {shifts: [{shift: blur, severity: 5}]}}}
encoders: {image: {name: lab}, text: {name: lab}}
models: [{name: strong, generator: vllm, path: "lab:mllm-strong", max_new_tokens: 8, vllm: {max_num_seqs: 8}}]
critic: {hidden: 16, steps: 40, batch: 64}
shards: {generate: 8}
"""


def start(folder: Path, out: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    environment.pop("RAY_ADDRESS", None)
    (folder / "audit.yaml").write_text(CONFIG)
    command = [sys.executable, "-m", "jobs.audit", "-c", "audit.yaml", "-o", out]
    return subprocess.Popen(command, env=environment, cwd=folder, stderr=subprocess.PIPE, text=True)


def ended(driver: subprocess.Popen[str]) -> int:
    _, said = driver.communicate(timeout=900)
    assert driver.returncode in (0, 1, 4), said
    return driver.returncode


def test_a_killed_driver_leaves_shards_that_are_not_asked_again(tmp_path: Path) -> None:
    code = ended(start(tmp_path, "whole"))
    driver = start(tmp_path, "cut")

    def shards() -> dict[Path, int]:
        """Those of answers, and when they were written."""
        return {p: p.stat().st_mtime_ns for p in tmp_path.glob("cut/run/responses/*/*.parquet")}

    deadline = time.monotonic() + 600
    while not shards() and time.monotonic() < deadline:
        assert driver.poll() is None, driver.communicate()[1]
        time.sleep(0.01)
    driver.send_signal(signal.SIGKILL)
    driver.communicate(timeout=120)
    kept = shards()
    assert driver.returncode == -signal.SIGKILL and 0 < len(kept) < 8
    assert ended(start(tmp_path, "cut")) == code
    assert len(shards()) == 8 and kept.items() <= shards().items()
    assert numbers(tmp_path / "cut") == numbers(tmp_path / "whole")
    assert [row["n"] for row in numbers(tmp_path / "cut")["scenarios"]] == [32, 32]
