"""This module holds what every training loop of the lab shares: optimisers, the schedule, resuming, and
atomic saving."""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

Log = Callable[[str], None]


class Muon(torch.optim.Optimizer):
    """This optimiser is momentum whose update of each matrix is orthogonalised (Jordan et al., 2024), in
    float32.

    `torch.optim.Muon` orthogonalises in bfloat16, which CPUs without native support run two hundred times
    slower than float32; these matrices are small enough that float32 costs a few milliseconds a step.  The
    update is scaled to AdamW's usual size (0.2 sqrt of the larger side), so both groups can share one
    learning rate.
    """

    def __init__(
        self, params: Iterable[Tensor], lr: float, momentum: float = 0.95, weight_decay: float = 0.01
    ):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Make one update from the gradients present."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(p)
                buffer = state["momentum"]
                buffer.lerp_(p.grad, 1.0 - group["momentum"])
                update = orthogonalise(p.grad.lerp(buffer, group["momentum"]))
                p.mul_(1.0 - group["lr"] * group["weight_decay"])
                p.add_(update, alpha=-0.2 * math.sqrt(max(p.shape)) * group["lr"])


def orthogonalise(g: Tensor, steps: int = 5) -> Tensor:
    """Return about the nearest semi-orthogonal matrix to ``g`` (r, c), by a quintic Newton-Schulz
    iteration."""
    x = g / (g.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    if tall:
        x = x.T
    for _ in range(steps):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.T if tall else x


class Optimiser:
    """This optimiser is Muon for the hidden matrices, AdamW for the rest, one schedule (linear warm-up, flat,
    linear decay)."""

    def __init__(self, modules: nn.Module, lr: float, total: int, is_hidden: Callable[[str, Tensor], bool]):
        named = [(n, p) for n, p in modules.named_parameters() if p.requires_grad]
        hidden = [p for n, p in named if is_hidden(n, p)]
        rest = [p for n, p in named if not is_hidden(n, p)]
        self.parts: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(rest, lr=lr, betas=(0.9, 0.98), weight_decay=0.0),
            Muon(hidden, lr=lr),
        ]
        self.params = [p for _, p in named]
        self.lr, self.total = lr, total

    def step(self, step: int, progress: float | None = None) -> None:
        """Update and clear gradients; ``progress`` in [0, 1] overrides ``step / total`` where time is the
        budget."""
        nn.utils.clip_grad_norm_(self.params, 1.0)
        done = step / self.total if progress is None else progress
        rate = self.lr * min(1.0, (step + 1) / 60) * max(0.02, min(1.0, (1.0 - done) / 0.5))
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = rate
            part.step()
            part.zero_grad(set_to_none=True)

    def state(self) -> list[dict[str, Any]]:
        """Return the state to resume from."""
        return [part.state_dict() for part in self.parts]

    def load(self, state: list[dict[str, Any]]) -> None:
        """Resume from `state`."""
        for part, saved in zip(self.parts, state, strict=True):
            part.load_state_dict(saved)


@contextmanager
def replacing(directory: Path) -> Iterator[Path]:
    """Give a scratch directory that takes the place of ``directory`` when the block ends well."""
    scratch = directory.with_name(f".{directory.name}.{os.getpid()}")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        yield scratch
        for path in scratch.iterdir():
            path.chmod(0o644)  # safetensors writes files that only their owner may read
        old = directory.with_name(f".{directory.name}.{os.getpid()}.old")
        if directory.exists():
            os.replace(directory, old)
        os.replace(scratch, directory)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write a resumable checkpoint so that a reader sees the old one or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    torch.save(content, scratch)
    os.replace(scratch, path)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """Read the checkpoint at ``path``, or None where there is none."""
    if not path.exists():
        return None
    loaded: dict[str, Any] = torch.load(path, weights_only=True)
    return loaded


class Clock:
    """A clock counts the seconds spent on a stage, carried over restarts."""

    def __init__(self, spent: float = 0.0):
        self._start = time.monotonic() - spent

    @property
    def seconds(self) -> float:
        """Return the seconds so far."""
        return time.monotonic() - self._start
