"""This critic has a closed form: q(y|x) is Gaussian around a ridge regression of y on x. Nothing is trained
in steps.

With `features`, the regression is on random features tanh(W x + b) of x: an untrained network of one layer,
whose last layer is exact. The variance of each dimension of y is that of the residuals, taken over what the
ridge leaves of their degrees of freedom. As q(y|x) is Gaussian, its sums are CLUB's (Eq. 11 of the paper).

It is a check on trained critics, a start where there are few rows, and the example of a critic that is added
by one file: this one, with `@critic`.
"""

from __future__ import annotations

import os
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from auditor.estimators.club_sums import ClubSums
from auditor.estimators.critic_files import digest_of, read_critic, write_critic
from auditor.estimators.registry import critic
from auditor.estimators.training import block_labels, pairs
from auditor.registry import Settings
from auditor.sketch import Float, as_rows
from auditor.sketch.blocks import HASH_BLOCKS
from schemas.config import CriticConfig

FEATURES, RIDGE = 400, 30.0
"""Random features and the ridge with which this critic does as well as trained networks."""
_CHUNK_ROWS = 4096
_NAMES = ("mean_x", "inner", "inner_bias", "mean_z", "coefficients", "mean_y", "logvar")
_LEAST_VARIANCE = 1e-6
"""Least variance of a dimension's residuals, as a share of the mean variance of y: none is known exactly."""


def random_layer(d: int, features: int, scale: float, rng: np.random.Generator) -> tuple[Float, Float]:
    """Return W (d, features) and b (features,) of random features tanh(x W + b), of x centred and of root
    mean square `scale`."""
    inner = rng.normal(size=(d, features)) / (np.sqrt(d) * scale)
    return inner, rng.uniform(-1, 1, features)


def root_mean_square(z: Float) -> float:
    """Return the root mean square of numbers, 1 where all are zero."""
    return float(np.sqrt(np.square(z).mean())) or 1.0


class GaussianOptions(Settings):
    """These are the `critic.options` of `critic.estimator: gaussian`."""

    features: int = Field(0, ge=0, description="Random tanh features of x; 0: x itself, a linear mean.")
    ridge: float = Field(RIDGE, gt=0, description="Added to the squares of the features, in rows' worth.")


@critic("gaussian", sums=ClubSums, options=GaussianOptions)
class Gaussian:
    """The critic is q(y|x) = N(y; a + Bᵀ z(x), diag σ²), z(x) = x / scale or tanh(W x + b), its mean by ridge
    regression.

    x is centred and scaled to mean square 1 a dimension first, so that `ridge` and the features mean the same
    for embeddings of any length. `seed` draws W and b, and nothing else.
    """

    kind: ClassVar[str]

    def __init__(self, *, features: int = 0, ridge: float = RIDGE, seed: int = 0) -> None:
        self.features = features
        self.ridge = ridge
        self.seed = seed
        self._arrays: dict[str, NDArray[np.float32]] | None = None

    @classmethod
    def from_config(cls, config: CriticConfig, options: Any, *, seed: int, device: str = "cpu") -> Self:
        """Return an untrained critic with these `GaussianOptions`."""
        return cls(features=options.features, ridge=options.ridge, seed=seed)

    def fit(self, x: ArrayLike, y: ArrayLike, groups: ArrayLike | None = None) -> Self:
        """Solve for the mean and the variances on pairs x (n, d_x), y (n, d_y). No row is held out, so
        `groups` is not looked at. O(n k² + k³) for k features. ValueError below two rows."""
        xs, ys = (z.astype(np.float64) for z in pairs(x, y))
        n, d = xs.shape
        if n < 2:
            raise ValueError(f"a regression needs at least two pairs, not {n}")
        mean_x = xs.mean(axis=0)
        scale = root_mean_square(xs - mean_x)
        if self.features:
            inner, bias = random_layer(d, self.features, scale, np.random.default_rng(self.seed))
        else:
            inner, bias = np.eye(d) / scale, np.zeros(d)
        self._arrays = {
            "mean_x": mean_x.astype(np.float32),
            "inner": inner.astype(np.float32),
            "inner_bias": bias.astype(np.float32),
        }
        z = self._features(xs.astype(np.float32)).astype(np.float64)
        mean_z, mean_y = z.mean(axis=0), ys.mean(axis=0)
        z, centred = z - mean_z, ys - mean_y
        values, vectors = np.linalg.eigh(z.T @ z)
        values = np.maximum(values, 0.0)
        coefficients = vectors @ ((vectors.T @ (z.T @ centred)) / (values + self.ridge)[:, None])
        freedom = max(n - 1 - float((values / (values + self.ridge)).sum()), 1.0)
        variance = np.square(centred - z @ coefficients).sum(axis=0) / freedom
        least = _LEAST_VARIANCE * float(np.square(centred).mean()) or _LEAST_VARIANCE
        self._arrays |= {
            "mean_z": mean_z.astype(np.float32),
            "coefficients": coefficients.astype(np.float32),
            "mean_y": mean_y.astype(np.float32),
            "logvar": np.log(np.maximum(variance, least)).astype(np.float32),
        }
        return self

    def _features(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        a = self._trained()
        z = (x - a["mean_x"]) @ a["inner"] + a["inner_bias"]
        return np.asarray(np.tanh(z) if self.features else z, dtype=np.float32)

    def moments(self, x: ArrayLike) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the mean and log-variance of q(y|x) for (n, d_x) rows: two (n, d_y) float32 arrays."""
        a = self._trained()
        rows = as_rows(x, "x").astype(np.float32, copy=False)
        if rows.shape[1] != len(a["mean_x"]):
            raise ValueError(f"x has {rows.shape[1]} columns, the critic takes {len(a['mean_x'])}")
        z = self._features(rows) - a["mean_z"]
        mu = np.asarray(z @ a["coefficients"] + a["mean_y"], dtype=np.float32)
        return mu, np.broadcast_to(a["logvar"], mu.shape)

    def sums(
        self, x: ArrayLike, y: ArrayLike, blocks: ArrayLike | None = None, n_blocks: int = HASH_BLOCKS
    ) -> ClubSums:
        """Return the CLUB sums of pairs x (n, d_x), y (n, d_y): one block, or n_blocks where blocks (n,) are
        given."""
        xs, ys = pairs(x, y)
        if ys.shape[1] != len(self._trained()["mean_y"]):
            raise ValueError(f"y has {ys.shape[1]} columns, the critic {len(self._trained()['mean_y'])}")
        k = 1 if blocks is None else n_blocks
        labels = np.zeros(len(xs), dtype=np.int64) if blocks is None else block_labels(blocks, len(xs), k)
        total = ClubSums.empty(k, ys.shape[1])
        for start in range(0, len(xs), _CHUNK_ROWS):
            part = slice(start, start + _CHUNK_ROWS)
            mu, logvar = self.moments(xs[part])
            total = total.merge(ClubSums.from_critic(mu, logvar, ys[part], labels[part], k))
        return total

    def estimate(self, x: ArrayLike, y: ArrayLike) -> float:
        """Return Eq. 11 on pairs x (n, d_x), y (n, d_y), in nats. O(n)."""
        return self.sums(x, y).value()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write safetensors, atomically: readers see all of it or none."""
        write_critic(path, self.kind, self._trained(), self._settings)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Load a saved critic. ValueError where the file holds none of this kind, or shapes do not fit."""
        arrays, settings = read_critic(path, cls.kind, _NAMES)
        loaded = cls(**GaussianOptions(**settings).model_dump())
        loaded._arrays = {name: arrays[name].astype(np.float32) for name in _NAMES}
        d, k, d_y = (
            len(loaded._arrays["mean_x"]),
            loaded.features or len(loaded._arrays["mean_x"]),
            len(arrays["mean_y"]),
        )
        want = dict(zip(_NAMES, [(d,), (d, k), (k,), (k,), (k, d_y), (d_y,), (d_y,)], strict=True))
        if shapes := {name: a.shape for name, a in loaded._arrays.items() if a.shape != want[name]}:
            raise ValueError(f"{path}: the arrays of this gaussian critic do not fit: {shapes}")
        return loaded

    @property
    def digest(self) -> str:
        """Return the SHA-256 of its arrays and options: equal for equal critics, however they were stored."""
        return digest_of(self.kind, self._trained(), self._settings)

    @property
    def _settings(self) -> dict[str, Any]:
        return {"features": self.features, "ridge": self.ridge}

    def _trained(self) -> dict[str, NDArray[np.float32]]:
        if self._arrays is None:
            raise ValueError("this gaussian critic is not trained: call fit, or load")
        return self._arrays
