"""CLUB (Cheng et al. 2020) has a Gaussian critic of two MLPs, trained as in the paper (Appendix B, Eq. 11).

The published checkpoint is 768-250-768 twice, tanh; the log-variance ends in tanh: it stays in [-1, 1].
CLUB is an upper bound of mutual information only with the exact conditional, and a wild one: for a correlated
Gaussian it is d ρ²/(1-ρ²), not -d/2 log(1-ρ²).

Its unit is the nat only where the log-variance can be that of the data. Embeddings of unit length have a
variance of about 1/d in each dimension, far below the least that the network can tell, e^-1: there the value
is e/2 times how much nearer (in squared distance) an answer lies to its own prediction than to another's.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from auditor.estimators.club_start import ridge_start
from auditor.estimators.club_sums import ClubSums
from auditor.estimators.registry import TRAINED, critic
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
from auditor.sketch import as_rows
from auditor.sketch.blocks import HASH_BLOCKS
from auditor.storage.atomic import write_whole
from schemas.config import CriticConfig

Activation = Literal["tanh", "relu"]
Start = Literal["ridge", "random"]
Weights = dict[str, NDArray[np.float32]]
_CHUNK_ROWS = 4096
_KEYS = tuple(
    f"{net}.{layer}.{kind}" for net in ("p_mu", "p_logvar") for layer in (0, 2) for kind in ("weight", "bias")
)
"""As in the published state dict: (out, in) weights, (out,) biases."""


class ClubOptions(Settings):
    """These are the `critic.options` of `critic.estimator: club`."""

    start: Start = Field(
        "random",
        description="random: weights at random, as in the paper. ridge: at the ridge regression of y on "
        "features of x, and train what it leaves; faster, and as likely or more.",
    )


@critic("club", sums=ClubSums, reads=(*TRAINED, "activation"), options=ClubOptions)
class CLUB:
    """`CLUB` is the contrastive log-ratio upper bound of I(X; Y) in nats. Defaults are the paper's, with
    early stopping.

    Training is stopped when the held-out log-likelihood has not risen for `patience` steps; the best weights
    are kept. `batch` is the last batch size: where rows are held out, training begins with a sixteenth of it
    (see `training`); with `holdout=0` every batch is full, as in the paper. `steps` bounds the rows seen, as
    full batches. The same call gives the same bits on a fixed number of threads.
    """

    kind: ClassVar[str]

    def __init__(
        self,
        *,
        hidden: int = 250,
        steps: int = 5000,
        lr: float = 1e-3,
        batch: int = 1024,
        seed: int = 0,
        activation: Activation = "tanh",
        device: str = "cpu",
        holdout: float = 0.1,
        patience: int = 200,
        start: Start = "ridge",
    ) -> None:
        if start not in get_args(Start):
            raise ValueError(f"unknown start {start!r}: ridge or random")
        if activation not in ("tanh", "relu"):
            raise ValueError(f"unknown activation {activation!r}: tanh or relu")
        self.hidden = hidden
        self.steps = steps
        self.lr = lr
        self.batch = batch
        self.seed = seed
        self.activation: Activation = activation
        self.device = device
        self.holdout = holdout
        self.patience = patience
        self.start: Start = start
        self._weights: Weights | None = None

    @classmethod
    def from_config(cls, config: CriticConfig, options: Any, *, seed: int, device: str = "cpu") -> Self:
        """Return an untrained critic of a config's `critic`, with these `ClubOptions`."""
        return cls(
            hidden=config.hidden,
            steps=config.steps,
            lr=config.lr,
            batch=config.batch,
            activation=config.activation,
            seed=seed,
            holdout=held_out(config),
            device=device,
            start=options.start,
        )

    def fit(
        self,
        x: ArrayLike,
        y: ArrayLike,
        groups: ArrayLike | None = None,
        watch: Callable[[CLUB], None] | None = None,
    ) -> Self:
        """Train q(y|x) by maximum likelihood on pairs x (n, d_x), y (n, d_y), with AdamW.

        `groups` (n,) labels rows that belong together (a base id): they are held out together, so that early
        stopping is not judged on near-copies of training rows. `watch` sees the critic after each of the last
        LAST_STEPS where no rows are held out. ValueError below two rows.
        """
        import torch
        from torch.nn import functional

        xs, ys = pairs(x, y)
        labels = group_labels(xs, ys, groups)
        rng = np.random.default_rng(self.seed)
        split = Split.of(labels, self.holdout, rng)
        data = Batches(xs, ys, rng, self.batch, split, self.device)
        if self.start == "ridge":
            train = split.train
            start = ridge_start(xs[train], ys[train], labels[train], self.hidden, self.activation, self.seed)
            initial = [*start.mean, *start.logvar]
            if split.too_few:
                self._weights = dict(zip(_KEYS, initial, strict=True))
                return self
        else:
            sizes = [(self.hidden, xs.shape[1]), (ys.shape[1], self.hidden)] * 2
            initial = [w for out, fan_in in sizes for w in linear_weights(out, fan_in, rng)]
        parameters = [torch.tensor(w, device=self.device, requires_grad=True) for w in initial]
        act = torch.tanh if self.activation == "tanh" else torch.relu

        def loss(xb: torch.Tensor, yb: torch.Tensor) -> torch.Tensor:
            w0, b0, w2, b2, v0, c0, v2, c2 = parameters
            mu = functional.linear(act(functional.linear(xb, w0, b0)), w2, b2)
            logvar = torch.tanh(functional.linear(act(functional.linear(xb, v0, c0)), v2, c2))
            return (torch.square(yb - mu) * torch.exp(-logvar) + logvar).sum(dim=1).mean()

        def seen(weights: list[NDArray[np.float32]]) -> None:
            self._weights = dict(zip(_KEYS, weights, strict=True))
            assert watch is not None
            watch(self)

        best = early_stopped(
            parameters,
            loss,
            data,
            self.steps,
            self.lr,
            self.patience,
            growing=True,
            watch=seen if watch is not None else None,
        )
        self._weights = dict(zip(_KEYS, best, strict=True))
        return self

    def moments(self, x: ArrayLike) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the mean and log-variance of q(y|x) for (n, d_x) rows: two (n, d_y) float32 arrays."""
        w = self._trained()
        rows = as_rows(x, "x").astype(np.float32, copy=False)
        if rows.shape[1] != w["p_mu.0.weight"].shape[1]:
            raise ValueError(f"x has {rows.shape[1]} columns, the critic takes {w['p_mu.0.weight'].shape[1]}")
        mu, raw = (self._mlp(rows, net) for net in ("p_mu", "p_logvar"))
        return mu, np.tanh(raw)

    def _mlp(self, x: NDArray[np.float32], net: str) -> NDArray[np.float32]:
        w = self._trained()
        hidden = x @ w[f"{net}.0.weight"].T + w[f"{net}.0.bias"]
        hidden = np.tanh(hidden) if self.activation == "tanh" else np.maximum(hidden, 0)
        return hidden @ w[f"{net}.2.weight"].T + w[f"{net}.2.bias"]

    def sums(
        self,
        x: ArrayLike,
        y: ArrayLike,
        blocks: ArrayLike | None = None,
        n_blocks: int = HASH_BLOCKS,
        weights: ArrayLike | None = None,
    ) -> ClubSums:
        """Return the CLUB sums of pairs x (n, d_x), y (n, d_y): one block, or n_blocks where blocks (n,) are
        given.

        Row weights (n,) enter every sum. fp32 forward pass in chunks, float64 sums: O(n d hidden).
        """
        xs, ys = pairs(x, y)
        labels = None if blocks is None else block_labels(blocks, len(xs), n_blocks)
        row_weights = None if weights is None else _row_weights(weights, len(xs))
        if ys.shape[1] != len(self._trained()["p_mu.2.bias"]):
            raise ValueError(f"y has {ys.shape[1]} columns, the critic {len(self._trained()['p_mu.2.bias'])}")
        k = 1 if labels is None else n_blocks
        total = ClubSums.empty(k, ys.shape[1])
        for start in range(0, len(xs), _CHUNK_ROWS):
            part = slice(start, start + _CHUNK_ROWS)
            mu, logvar = self.moments(xs[part])
            part_labels = None if labels is None else labels[part]
            part_weights = None if row_weights is None else row_weights[part]
            total = total.merge(ClubSums.from_critic(mu, logvar, ys[part], part_labels, k, part_weights))
        return total

    def estimate(self, x: ArrayLike, y: ArrayLike) -> float:
        """Return Eq. 11 on pairs x (n, d_x), y (n, d_y), in nats. O(n): the N x N x d array is never
        built."""
        return self.sums(x, y).value()

    @classmethod
    def load(cls, path: str | os.PathLike[str], activation: Activation | None = None) -> CLUB:
        """Load a saved critic: safetensors, or a published .pt state dict (`p_mu.*`, `p_logvar.*`; weights
        only).

        A state dict does not tell its hidden activation: `activation`, else tanh as published. ValueError
        where the file holds no critic, or keys or shapes are not those of a CLUB critic.
        """
        if Path(path).suffix in (".pt", ".pth"):
            import torch

            try:
                state = torch.load(path, map_location="cpu", weights_only=True)
            except (UnpicklingError, RuntimeError) as error:
                raise ValueError(f"{path}: no state dict of plain weights") from error
            weights = {key: np.asarray(value, dtype=np.float32) for key, value in state.items()}
            stored: str | None = "tanh"
        else:
            from safetensors import SafetensorError, safe_open

            try:
                with safe_open(path, framework="numpy") as file:
                    weights = {key: file.get_tensor(key).astype(np.float32) for key in file.keys()}  # noqa: SIM118
                    stored = (file.metadata() or {}).get("activation")
            except SafetensorError as error:
                raise ValueError(f"{path}: no safetensors file") from error
        _check(weights, str(path))
        club = cls(hidden=len(weights["p_mu.0.bias"]), activation=activation or stored or "tanh")  # type: ignore[arg-type]
        club._weights = weights
        return club

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write safetensors (with the activation as metadata), atomically: readers see all of it or none."""
        from safetensors.numpy import save_file

        # One key: several are written in any order.
        metadata: dict[str, str] = {"activation": self.activation}
        weights = {key: np.ascontiguousarray(w) for key, w in sorted(self._trained().items())}
        write_whole(Path(path), lambda temporary: save_file(weights, temporary, metadata=metadata))

    @property
    def digest(self) -> str:
        """Return the SHA-256 of weights and activation: equal for equal critics, however they were stored."""
        h = sha256(self.activation.encode())
        for key, value in sorted(self._trained().items()):
            h.update(f"{key}{value.shape}".encode())
            h.update(np.ascontiguousarray(value).tobytes())
        return h.hexdigest()

    def _trained(self) -> Weights:
        if self._weights is None:
            raise ValueError("this CLUB critic is not trained: call fit, or CLUB.load")
        return self._weights


def _check(weights: Weights, source: str) -> None:
    if set(weights) != set(_KEYS):
        raise ValueError(
            f"{source}: not a CLUB critic (expected {', '.join(_KEYS)}; got {', '.join(weights)})"
        )
    d_x, d_y = weights["p_mu.0.weight"].shape[-1], weights["p_mu.2.weight"].shape[0]
    for net in ("p_mu", "p_logvar"):
        h = len(weights[f"{net}.0.bias"])
        want = {"0.weight": (h, d_x), "0.bias": (h,), "2.weight": (d_y, h), "2.bias": (d_y,)}
        for name, shape in want.items():
            if weights[f"{net}.{name}"].shape != shape:
                raise ValueError(f"{source}: {net}.{name} is {weights[f'{net}.{name}'].shape}, not {shape}")
    if not all(np.isfinite(w).all() for w in weights.values()):
        raise ValueError(f"{source}: some weights are not finite")


def _row_weights(weights: ArrayLike, n: int) -> NDArray[np.float64]:
    w = np.asarray(weights, dtype=np.float64)
    if w.shape != (n,) or not np.isfinite(w).all() or (w < 0).any():
        raise ValueError(f"weights must be {n} finite numbers >= 0")
    return w
