"""All trained estimators share batches with rows held out, and AdamW with early stopping.

Small batches learn nearly as much a step as large ones until their noise is what is left to learn. So where
rows are held out to say so, training may start with small batches and go to larger ones when the held-out
loss stalls: the same likelihood, or a better one, for a fraction of the rows (`benchmarks/bench_speed.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auditor.protocols import Critic
from auditor.sketch import Floats, as_rows
from schemas.config import CriticConfig

if TYPE_CHECKING:
    import torch

    Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    Watch = Callable[[list[NDArray[np.float32]]], None]

HELD_OUT = 0.1
"""Share of the base ids that early stopping is judged on."""
CHECK_EVERY = 50
"""Least number of steps between two looks at the held-out loss, and number of them between two reports."""
GROWTH = (16, 4, 1)
"""A growing batch: the full size divided by each of these in turn."""
LAST_STEPS = 10
"""Steps at the end of training that can be watched: the paper chose hyperparameters by their variance."""
_LEAST_BATCH = 32
_LOOK_ROWS = 3
"""Rows trained on between two looks, in multiples of the held-out rows: looking is a tenth of the time."""
_DIVERGED = "training diverged: the loss is not finite (normalise the rows, lower lr)"
_LEAST_HELD_OUT = 8
"""With fewer rows than this to hold out, the training rows judge: better than a coin."""
LEAST_GROUPS = 8
"""Groups of pairs below which nothing is trained: any critic has two pairs by heart (CLUB: 970 nats)."""


class Stepwise(Critic, Protocol):
    """A `Stepwise` critic reads `steps` of the config: the sweep moves its learning rate, batch and width."""

    def fit(
        self,
        x: ArrayLike,
        y: ArrayLike,
        groups: ArrayLike | None = None,
        watch: Callable[[Self], None] | None = None,
    ) -> Self:
        """Train as `Critic.fit` does; `watch` sees the critic after each of the last LAST_STEPS where no rows
        are held out."""
        ...


_tell: ContextVar[Callable[[float], None] | None] = ContextVar("_tell", default=None)


@contextmanager
def reporting(tell: Callable[[float], None]) -> Iterator[None]:
    """Call `tell` every CHECK_EVERY steps of a training in this thread with the share that it has done of the
    steps that it may do (it may stop before them)."""
    token = _tell.set(tell)
    try:
        yield
    finally:
        _tell.reset(token)


def _report(share: float) -> None:
    if (tell := _tell.get()) is not None:
        tell(share)


def pairs(x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    """Return x (n, d_x) and y (n, d_y), checked. ValueError where their lengths differ, or a row is not
    finite."""
    xs, ys = as_rows(x, "x"), as_rows(y, "y")
    if len(xs) != len(ys):
        raise ValueError(f"{len(xs)} rows of x and {len(ys)} of y: pairs are needed")
    return xs, ys


def held_out(config: CriticConfig) -> float:
    """Return the share of base ids that a config holds out of training."""
    return HELD_OUT if config.early_stopping else 0.0


def block_labels(blocks: ArrayLike, n: int, n_blocks: int) -> NDArray[np.int64]:
    """Return (n,) blocks of n rows, checked. ValueError where there are not n, or not in 0..n_blocks-1."""
    labels = np.asarray(blocks, dtype=np.int64)
    if labels.shape != (n,) or (n and not (labels.min() >= 0 and labels.max() < n_blocks)):
        raise ValueError(f"blocks must be {n} labels in 0..{n_blocks - 1}")
    return labels


def linear_weights(
    out: int, fan_in: int, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return (out, fan_in) weights and (out,) biases of a layer by torch.nn.Linear's own law, U(±1/√fan_in),
    without touching torch's global generator."""
    limit = 1 / np.sqrt(fan_in)
    return (
        rng.uniform(-limit, limit, (out, fan_in)).astype(np.float32),
        rng.uniform(-limit, limit, out).astype(np.float32),
    )


def group_labels(x: Floats, y: Floats, groups: ArrayLike | None) -> NDArray[np.int64]:
    """Return (n,) labels 0, 1, ... of the groups of pairs x (n, d_x), y (n, d_y): those given, else one a
    pair, copies of a pair together.

    ValueError where `groups` are not n, or where there are fewer than LEAST_GROUPS: any critic tells so few
    apart, whether x tells anything of y or not.
    """
    if groups is None:
        contents = np.concatenate([np.ascontiguousarray(x), np.ascontiguousarray(y)], axis=1)
        rows = contents.view(np.dtype((np.void, contents.itemsize * contents.shape[1]))).ravel()
        _, first, copies = np.unique(rows, return_index=True, return_inverse=True)
        names = first[copies]
    else:
        names = np.asarray(groups)
        if names.shape != (len(x),):
            raise ValueError(f"{names.size} group labels for {len(x)} rows")
    labels = np.unique(names, return_inverse=True)[1].astype(np.int64)
    count = int(labels.max()) + 1 if len(labels) else 0
    if count < LEAST_GROUPS:
        what = "different pairs" if groups is None else "groups of pairs"
        raise ValueError(f"training needs at least {LEAST_GROUPS} {what}, not {count}")
    return labels


class Split(NamedTuple):
    """A `Split` says which rows train and which are held out, whole groups at a time."""

    train: NDArray[np.intp]
    held_out: NDArray[np.intp]
    """None where no rows are to be held out, or too few groups could be"""
    asked: bool
    """Whether rows were to be held out"""
    groups: int
    """Groups held out"""

    @property
    def too_few(self) -> bool:
        """Return whether rows were to be held out, and too few groups could be to judge by them."""
        return self.asked and self.groups < _LEAST_HELD_OUT

    @classmethod
    def of(cls, labels: NDArray[np.int64], share: float, rng: np.random.Generator) -> Self:
        """Hold out a share of the groups (n,) labels, drawn from `rng`."""
        order = rng.permutation(int(labels.max()) + 1)
        groups = int(share * len(order))
        out = np.isin(labels, order[:groups])
        if not _LEAST_HELD_OUT <= out.sum() < len(labels):
            out[:], groups = False, 0
        return cls(np.flatnonzero(~out), np.flatnonzero(out), share > 0, groups)


class Batches:
    """`Batches` are pairs on a device, split into training rows and rows held out by group."""

    def __init__(
        self, x: Floats, y: Floats, rng: np.random.Generator, batch: int, split: Split, device: str
    ) -> None:
        import torch

        self._x, self._y = (torch.tensor(z, dtype=torch.float32, device=device) for z in (x, y))
        self._train = split.train
        self._rng = rng
        self.size = min(batch, len(split.train))
        """Rows of a full batch."""
        self._device = device
        self.judged_apart = bool(len(split.held_out))
        """Whether the rows to judge by are others than the training rows."""
        index = torch.from_numpy(split.held_out if self.judged_apart else split.train).to(device)
        self.held_out = (self._x[index], self._y[index]) if split.asked else None
        """Rows to judge by: none where none were asked for, the training rows where there are too few."""

    def batches(self, size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield endless batches of `size` rows: epochs of shuffled rows, the remainder of each left out."""
        import torch

        while True:
            order = torch.from_numpy(self._rng.permutation(self._train)).to(self._device)
            for start in range(0, len(order) - size + 1, size):
                index = order[start : start + size]
                yield self._x[index], self._y[index]


def early_stopped(
    parameters: list[torch.Tensor],
    loss: Loss,
    data: Batches,
    steps: int,
    lr: float,
    patience: int,
    *,
    growing: bool = False,
    clip: float | None = None,
    watch: Watch | None = None,
) -> list[NDArray[np.float32]]:
    """Return the parameters of least held-out loss within `steps` full batches of AdamW, as numpy arrays:
    those it starts from, where training does not better them.

    A stage ends when that loss has not fallen for `patience` steps, or when as many rows as `steps` full
    batches hold have gone by. One stage; with `growing` (and rows held out) one a size of GROWTH, each from
    the best parameters so far. `clip`: the longest gradient that is stepped along. Without rows to judge by,
    the parameters after `steps` steps; `watch` is then called with those after each of the last LAST_STEPS
    (and never else: the last are not the ones kept).
    ValueError where the loss is not finite.
    """
    import torch

    # The fused step shares tiny tensors out among threads: on a busy machine they wait for one another.
    alone = parameters[0].device.type != "cpu" or torch.get_num_threads() == 1
    optimizer = torch.optim.AdamW(parameters, lr=lr, fused=alone)
    if data.held_out is None:
        for step, (xb, yb) in zip(range(steps), data.batches(data.size), strict=False):
            last = _step(optimizer, loss(xb, yb), parameters, clip)
            if step % CHECK_EVERY == 0:
                _report(step / steps)
            if watch is not None and step >= steps - LAST_STEPS:
                watch([p.detach().cpu().numpy() for p in parameters])
        if not bool(torch.isfinite(last)):
            raise ValueError(_DIVERGED)
        return [p.detach().cpu().numpy() for p in parameters]
    best = [p.detach().clone() for p in parameters]
    with torch.no_grad():
        least = loss(*data.held_out).item()
    if not np.isfinite(least):
        raise ValueError(_DIVERGED)
    divisors = GROWTH if growing and data.judged_apart else (1,)
    sizes = sorted({max(min(_LEAST_BATCH, data.size), data.size // divisor) for divisor in divisors})
    rows = 0
    for size in sizes:
        with torch.no_grad():
            for p, b in zip(parameters, best, strict=True):
                p.copy_(b)
        look = max(CHECK_EVERY, _LOOK_ROWS * len(data.held_out[0]) // size)
        best_step = 0
        for step, (xb, yb) in enumerate(data.batches(size), start=1):
            _step(optimizer, loss(xb, yb), parameters, clip)
            rows += size
            spent = rows >= steps * data.size
            if step % CHECK_EVERY == 0:
                _report(rows / (steps * data.size))
            if step % look == 0 or spent:
                with torch.no_grad():
                    held_out = float(loss(*data.held_out))
                if held_out < least:
                    best, least, best_step = [p.detach().clone() for p in parameters], held_out, step
                if spent or step - best_step >= patience:
                    break
        if spent:
            break
    return [p.cpu().numpy() for p in best]


def _step(
    optimizer: torch.optim.Optimizer, loss: torch.Tensor, parameters: list[torch.Tensor], clip: float | None
) -> torch.Tensor:
    import torch

    optimizer.zero_grad()
    loss.backward()
    if clip is not None:
        torch.nn.utils.clip_grad_norm_(parameters, clip)
    optimizer.step()
    return loss.detach()
