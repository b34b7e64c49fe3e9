"""The training job at a tiny size: it runs, learns, saves, and resumes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from typer import Typer
from typer.testing import CliRunner

from jobs.train_lab import main


def run(*arguments: str) -> str:
    app = Typer()
    app.command()(main)
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(autouse=True)
def few_threads() -> None:
    torch.set_num_threads(1)


def test_stages_run_in_order_and_resume(tmp_path: Path) -> None:
    small = ("--out", str(tmp_path), "--scenes", "120", "--threads", "1")
    first = run(*small, "--stage", "vision", "--steps", "4")
    assert "vision 4/4" in first
    # The same command again does no step again.
    assert "vision" not in run(*small, "--stage", "vision", "--steps", "4")
    run(*small, "--stage", "weak", "--steps", "2")
    assert (tmp_path / "mllm-weak" / "model.safetensors").exists()
    assert (tmp_path / "mllm-weak" / "processor_config.json").exists()
    run(*small, "--stage", "clip", "--steps", "1")
    assert (tmp_path / "clip" / "open_clip_model.safetensors").exists()
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".") and p.name != ".work"]


def test_the_loss_falls(tmp_path: Path) -> None:
    small = ("--out", str(tmp_path), "--scenes", "200", "--threads", "1", "--stage", "text")
    losses = [float(re.findall(r"loss ([\d.]+)", run(*small, "--steps", steps))[-1]) for steps in ("1", "8")]
    assert losses[1] < losses[0]
