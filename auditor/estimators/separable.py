"""InfoNCE, NWJ and MINE share a separable critic T(x, y) = f(x)·g(y) that is trained on a lower bound of MI.

A network that starts at random learns many weak directions badly (64 pairs of coordinates that share 0.5
nats: 0.13 from 16,384 rows). The log-ratio of a Gaussian law is separable too, and has a closed form; so
networks start at it, and add to it.

These bounds need pairs of rows: they run on samples (`pair_sums`). A separable critic costs two small forward
passes and one matrix product a batch; a concatenated one took 5.9 s a step at batch 1,024. Training needs
torch; a trained critic scores rows in plain numpy.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from auditor.estimators.canonical import RATIO_ARRAYS, GaussianRatio
from auditor.estimators.critic_files import digest_of, read_critic, write_critic
from auditor.estimators.pair_sums import PairSums
from auditor.estimators.training import (
    Batches,
    Split,
    block_labels,
    early_stopped,
    group_labels,
    held_out,
    linear_weights,
    pairs,
)
from auditor.registry import Settings
from auditor.sketch import Floats
from auditor.sketch.blocks import HASH_BLOCKS
from schemas.config import CriticConfig

if TYPE_CHECKING:
    import torch

Start = Literal["gaussian", "random"]
_OUT = 64
"""Dimension of f(x) and g(y) of the networks."""
_MOST_HELD_OUT = 2048
"""Held-out pairs that judge: their score matrix is square."""
_CHUNK_ROWS = 4096
_NAMES = tuple(
    f"{net}.{layer}.{kind}" for net in ("f", "g") for layer in (0, 2) for kind in ("weight", "bias")
)
"""(out, in) weights, (out,) biases."""


class SeparableOptions(Settings):
    """These are the `critic.options` of `infonce`, `nwj` and `mine`."""

    start: Start = Field(
        "gaussian",
        description="gaussian: the log-ratio of a Gaussian law, to which networks add what it lacks. "
        "random: networks alone, from random weights, as in the paper.",
    )


class SeparableEstimator(ABC):
    """A `SeparableEstimator` is a lower bound of I(X; Y) in nats. Its critic is the log-ratio of a Gaussian
    law in closed form (`canonical`) and what two networks f and g add to it: before training, nothing.

    f and g are two-layer ReLU networks; the defaults are those of the paper's Table 6. With `start="random"`
    they are the whole critic, as in the paper. The same call gives the same bits on a fixed number of
    threads.
    """

    kind: ClassVar[str]
    sums_type: ClassVar[type[PairSums]]
    clip: ClassVar[float | None] = None
    """Longest gradient that is stepped along, for bounds whose gradient is not bounded itself."""

    def __init__(
        self,
        *,
        hidden: int = 500,
        steps: int = 5000,
        lr: float = 1e-3,
        batch: int = 1024,
        seed: int = 0,
        device: str = "cpu",
        holdout: float = 0.1,
        patience: int = 500,
        start: Start = "gaussian",
    ) -> None:
        if start not in get_args(Start):
            raise ValueError(f"unknown start {start!r}: gaussian or random")
        self.hidden = hidden
        self.steps = steps
        self.lr = lr
        self.batch = batch
        self.seed = seed
        self.device = device
        self.holdout = holdout
        self.patience = patience
        self.start: Start = start
        self._weights: list[NDArray[np.float32]] | None = None
        self._ratio: GaussianRatio | None = None

    @classmethod
    def from_config(cls, config: CriticConfig, options: Any, *, seed: int, device: str = "cpu") -> Self:
        """Return an untrained critic of a config's `critic`, with these `SeparableOptions`."""
        return cls(
            hidden=config.hidden,
            steps=config.steps,
            lr=config.lr,
            batch=config.batch,
            seed=seed,
            holdout=held_out(config),
            device=device,
            start=options.start,
        )

    @staticmethod
    @abstractmethod
    def bound(scores: torch.Tensor) -> torch.Tensor:
        """Return the bound (nats) from T of all (b, b) pairs of a batch, the true pairs on the diagonal."""

    def fit(
        self,
        x: ArrayLike,
        y: ArrayLike,
        groups: ArrayLike | None = None,
        watch: Callable[[Self], None] | None = None,
    ) -> Self:
        """Maximise the bound on pairs x (n, d_x), y (n, d_y), with AdamW and early stopping.

        `groups` (n,) labels rows that are held out together; where absent, copies of one pair are. From a
        Gaussian start the networks are not trained where too few groups can be held out to judge them.
        `watch` sees the critic after each of the last LAST_STEPS where no rows are held out. ValueError below
        LEAST_GROUPS groups.
        """
        import torch

        xs, ys = pairs(x, y)
        labels = group_labels(xs, ys, groups)
        rng = np.random.default_rng(self.seed)
        split = Split.of(labels, self.holdout, rng)
        self._ratio, start_x, start_y = None, xs[:, :0], ys[:, :0]
        if self.start == "gaussian":
            train = split.train
            self._ratio = GaussianRatio.fit(xs[train], ys[train], labels[train], self.seed)
            start_x, start_y, xs, ys = self._ratio.see(xs, ys)
        k = start_x.shape[1]
        data = Batches(
            np.concatenate([start_x, xs], axis=1),
            np.concatenate([start_y, ys], axis=1),
            rng,
            self.batch,
            split,
            self.device,
        )
        sizes = [size for d in (xs.shape[1], ys.shape[1]) for size in ((self.hidden, d), (_OUT, self.hidden))]
        initial = [w for out, fan_in in sizes for w in linear_weights(out, fan_in, rng)]
        if self._ratio is not None:
            initial[-2:] = [np.zeros_like(w) for w in initial[-2:]]
            if split.too_few:
                self._weights = initial
                return self
        parameters = [torch.tensor(w, device=self.device, requires_grad=True) for w in initial]

        def loss(xb: torch.Tensor, yb: torch.Tensor) -> torch.Tensor:
            xb, yb = xb[:_MOST_HELD_OUT], yb[:_MOST_HELD_OUT]
            scores = _scores(parameters, xb[:, k:], yb[:, k:])
            return -self.bound(xb[:, :k] @ yb[:, :k].T + scores if k else scores)

        def seen(weights: list[NDArray[np.float32]]) -> None:
            self._weights = weights
            assert watch is not None
            watch(self)

        self._weights = early_stopped(
            parameters,
            loss,
            data,
            self.steps,
            self.lr,
            self.patience,
            clip=self.clip,
            watch=seen if watch is not None else None,
        )
        return self

    def sums(
        self,
        x: ArrayLike,
        y: ArrayLike,
        blocks: ArrayLike | None = None,
        n_blocks: int = HASH_BLOCKS,
    ) -> PairSums:
        """Return the sums of pairs x (n, d_x), y (n, d_y): one block, or n_blocks where blocks (n,) are
        given.

        They keep the vectors of KEPT_ROWS rows at most. Forward pass in chunks, O(n d hidden).
        """
        f0, _, f2, _, g0, *_ = self._trained()
        ratio = self._ratio
        sizes = (
            (f0.shape[1], g0.shape[1])
            if ratio is None
            else (ratio.coordinates_x.dim, ratio.coordinates_y.dim)
        )
        xs, ys = pairs(x, y)
        for name, z, d in (("x", xs, sizes[0]), ("y", ys, sizes[1])):
            if z.shape[1] != d:
                raise ValueError(f"{name} has {z.shape[1]} columns, the critic takes {d}")
        k = 1 if blocks is None else n_blocks
        labels = np.zeros(len(xs), dtype=np.int64) if blocks is None else block_labels(blocks, len(xs), k)
        width = len(f2) + (0 if ratio is None else ratio.room)
        total, digest = self.sums_type.empty(k, width), self.digest
        for start in range(0, len(xs), _CHUNK_ROWS):
            part = slice(start, start + _CHUNK_ROWS)
            f, g = self._vectors(xs[part], ys[part])
            total = total.merge(
                self.sums_type.from_rows(xs[part], ys[part], f, g, labels[part], k, critic=digest)
            )
        return total

    def _vectors(self, x: Floats, y: Floats) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """f(x) and g(y) of n rows: two (n, k) arrays whose products are the critic."""
        f0, a0, f2, a2, g0, b0, g2, b2 = self._trained()
        start: list[Floats] = [x[:, :0], y[:, :0]]
        if self._ratio is not None:
            *start, x, y = self._ratio.see(x, y)
        f = np.maximum(x.astype(np.float32, copy=False) @ f0.T + a0, 0) @ f2.T + a2
        g = np.maximum(y.astype(np.float32, copy=False) @ g0.T + b0, 0) @ g2.T + b2
        # As wide for every critic of these dimensions: sums of several merge.
        room = 0 if self._ratio is None else self._ratio.room
        f, g = (
            np.concatenate([np.pad(a, ((0, 0), (0, room - a.shape[1]))).astype(np.float32), b], axis=1)
            for a, b in zip(start, (f, g), strict=True)
        )
        return f, g

    def estimate(self, x: ArrayLike, y: ArrayLike) -> float:
        """Return the bound on pairs x (n, d_x), y (n, d_y), in nats; beyond KEPT_ROWS rows its pairs i ≠ j
        are those of a sample. The order of the rows does not matter. O(n d hidden).

        Give it rows that `fit` has not seen: on those that it has, what it knows by heart counts. InfoNCE
        cannot exceed log KEPT_ROWS = 8.3, nor the log of the rows. ValueError below two rows, for rows of
        another dimension, or before `fit`.
        """
        sums = self.sums(x, y)
        if sums.n.sum() < 2:
            raise ValueError(f"two pairs at least are needed, not {int(sums.n.sum())}")
        return sums.value()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write safetensors, atomically: readers see all of it or none."""
        write_critic(path, self.kind, self._arrays, {"start": self.start})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Load a saved critic. ValueError where the file holds none of this kind, or shapes do not fit."""
        arrays, settings = read_critic(path, cls.kind, _NAMES, RATIO_ARRAYS)
        weights = [arrays[name].astype(np.float32) for name in _NAMES]
        shapes = [w.shape for w in weights]
        (h, *_), (k, *_) = shapes[1], shapes[3]
        want = [s for d in (shapes[0][-1], shapes[4][-1]) for s in ((h, d), (h,), (k, h), (k,))]
        if shapes != want:
            raise ValueError(f"{path}: the layers of this {cls.kind} critic do not fit: {shapes}")
        loaded = cls(hidden=h, start=SeparableOptions(**settings).start)
        loaded._weights = weights
        if loaded.start == "gaussian":
            loaded._ratio = GaussianRatio.from_arrays(arrays)
            if loaded._ratio.widths != (shapes[0][1], shapes[4][1]):
                raise ValueError(f"{path}: the start of this {cls.kind} critic does not fit its networks")
        return loaded

    @property
    def digest(self) -> str:
        """Return the SHA-256 of its arrays: equal for equal critics, however they were stored."""
        return digest_of(self.kind, self._arrays, {"start": self.start})

    @property
    def _arrays(self) -> dict[str, NDArray[Any]]:
        networks = dict(zip(_NAMES, self._trained(), strict=True))
        return networks if self._ratio is None else networks | self._ratio.to_arrays()

    def _trained(self) -> list[NDArray[np.float32]]:
        if self._weights is None:
            raise ValueError(f"this {type(self).__name__} critic is not trained: call fit, or load")
        return self._weights


def off_diagonal(scores: torch.Tensor) -> torch.Tensor:
    """Return the (b, b - 1) scores of the pairs that are not true ones."""
    b = len(scores)
    return scores.flatten()[1:].view(b - 1, b + 1)[:, :-1].reshape(b, b - 1)


def _scores(parameters: list[torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    from torch.nn.functional import linear, relu

    f0, a0, f2, a2, g0, b0, g2, b2 = parameters
    f = linear(relu(linear(x, f0, a0)), f2, a2)
    g = linear(relu(linear(y, g0, b0)), g2, b2)
    return f @ g.T
