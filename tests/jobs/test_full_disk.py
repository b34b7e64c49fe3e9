"""The main job where a disk is full."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import ray

SMALL = """
data: {reader: lab, n: 60, scenarios: {german: {language: de}}}
encoders: {image: {name: lab}, text: {name: lab}}
models: [{name: weak, generator: transformers, path: "lab:mllm-weak", max_new_tokens: 4, batch: 16}]
critic: {hidden: 16, steps: 40, batch: 64, seeds: 1}
shards: {generate: 32, embed: 32, stream: 25}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "audit.yaml"
    path.write_text(SMALL)
    return path


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system with room for the records and little more; skipped where none may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no right to mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_one_line_and_the_same_command_goes_on(
    config: Path,
    small_disk: Path,
    quiet_ray: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    run: Callable[..., int],
) -> None:
    quiet_ray(2)
    try:
        # The records fit; the embeddings, written by workers, do not.
        out = small_disk / "out"
        assert run(monkeypatch, "audit", "-c", config, "-o", out) == 3
        said = capsys.readouterr().err
        errors = [line for line in said.splitlines() if line.startswith("error:")]
        assert len(errors) == 1 and f"error: {out}" in errors[0] and "no space left to write" in errors[0]
        assert "Traceback" not in said and "tried again" not in said
        assert not list(out.rglob("*.tmp"))
        subprocess.run(["mount", "-o", "remount,size=100m", str(small_disk)], check=True)
        assert run(monkeypatch, "audit", "-c", config, "-o", out) in (0, 1, 4)
        assert json.loads((out / "report.json").read_text())["scenarios"]
    finally:
        ray.shutdown()
