"""The parts of the auditor meet at these protocols. This module imports only data contracts."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from schemas.config import CriticConfig
from schemas.record import Record
from schemas.response import Answer, Prompt

Array = NDArray[np.floating[Any]]
Float = NDArray[np.float64]
Modality = Literal["image", "text"]


@runtime_checkable
class Encoder(Protocol):
    """An encoder turns contents of one modality into vectors."""

    modality: Modality
    dim: int

    @property
    def identity(self) -> str:
        """Return everything that changes the output, as canonical JSON: name, weights digest, pooling, layer,
        preprocessing, numeric type, batch and padding. Part of every cache key."""
        ...

    def encode(self, contents: Sequence[bytes] | Sequence[str]) -> Array:
        """Return the vectors (n, dim), float32, *not* normalised. `contents` are encoded image bytes or
        texts. They are encoded in fixed padded batches, so a row does not depend on how many others come with
        it."""
        ...


@runtime_checkable
class Generator(Protocol):
    """A generator answers prompts."""

    @property
    def identity(self) -> str:
        """Return everything that changes the output, as canonical JSON: weights digest, prompt template,
        sampling settings, engine and its version."""
        ...

    def generate(self, prompts: Sequence[Prompt], seed: int) -> list[Answer]:
        """Return one `Answer` a prompt, in order; a prompt that fails has `Answer.error`, and never stops the
        rest. `seed` seeds sampling."""
        ...


@runtime_checkable
class Grader(Protocol):
    """A grader says how right an answer is."""

    @property
    def meaning(self) -> str:
        """Return what a score says, in a few words for reports: "exact match with the reference"."""
        ...

    @property
    def identity(self) -> str:
        """Return everything that changes a score, as canonical JSON with the grader's name under `grader`.
        Part of the key of what is kept of graded answers."""
        ...

    def grade(self, record: Record, answer: str, model: str) -> float | None:
        """Return how right `model`'s answer to `record` is, from 0 to 1; None where this grader cannot
        tell."""
        ...


class Shift(Protocol):
    """A shift perturbs contents of one modality: an image (h, w, 3) of floats in [0, 1], or a text."""

    def __call__(self, content: Any, severity: int, rng: np.random.Generator, /) -> Any:
        """Return `content` at `severity` 1 to 5; everything drawn comes from `rng`."""
        ...


class MIEstimator(Protocol):
    """An estimator of mutual information (nats) is trained on pairs."""

    def fit(self, x: Array, y: Array) -> Self:
        """Train on pairs: x (n, dim_x), y (n, dim_y)."""
        ...

    def estimate(self, x: Array, y: Array) -> float:
        """Return the mutual information of the pairs (nats). It takes O(n), never n x n x d."""
        ...


class Resampled(Protocol):
    """These are sums under several weightings of their blocks."""

    def values(self) -> Float:
        """Return the mutual information (r,) (nats) under each weighting; NaN where it leaves no rows."""
        ...


class Sums(Protocol):
    """A critic leaves these sums of rows of pairs, by hash block: all that its estimate is made of, and
    small.

    Sums of the parts of a set of rows merge into the sums of the set, in any order, up to rounding; in one
    order to the bit. An estimator whose value is no function of sums keeps what it needs of a bounded sample
    of rows, chosen by hash, and says so.
    """

    kind: ClassVar[str]
    """The name of a critic that is registered with this class: it reads these sums back."""

    @property
    def n(self) -> Float:
        """Return the rows (blocks,) of each block, or their total weight."""
        ...

    def merge(self, other: Self) -> Self:
        """Return the sums of both sets of rows. ValueError where the two do not fit."""
        ...

    def reweighted(self, weights: Float) -> Resampled:
        """Return the estimate under each row of `weights` (r, blocks), the weights of the blocks, not
        negative: a bootstrap of blocks draws whole numbers."""
        ...

    def values(self) -> Float:
        """Return the mutual information (blocks,) (nats) of each block's rows by themselves; NaN where it has
        none."""
        ...

    def value(self) -> float:
        """Return the mutual information (nats) of all rows together. ValueError where there are none."""
        ...

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return plain arrays, for npz or Arrow (never pickle); `kind` is one of them."""
        ...

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, ArrayLike]) -> Self:
        """Read the sums from the arrays of `to_arrays`. ValueError or KeyError where arrays are missing or do
        not fit."""
        ...


class Critic(Protocol):
    """A critic is an MI estimator that an audit can use: it is trained on pairs once, then summed over rows
    anywhere.

    A class in a file of `auditor.estimators`, or of another package, under `@critic("name")`;
    `auditor.estimators.gaussian` is the example. Whether it keeps the contract `check_critic` tells.
    """

    kind: ClassVar[str]
    """Its name in configs (`critic.estimator`); the decorator sets it."""

    @classmethod
    def from_config(cls, config: CriticConfig, options: Any, *, seed: int, device: str) -> Self:
        """Make an untrained critic. `options` are the settings of its own that it is registered with, read
        from the config's `critic.options`."""
        ...

    def fit(self, x: ArrayLike, y: ArrayLike, groups: ArrayLike | None = None) -> Self:
        """Train on pairs x (n, d_x), y (n, d_y). `groups` (n,) labels rows that belong together (a base id):
        where rows are held out, they are held out together.

        The same bits for the same seed on a fixed number of threads, whatever else the process does: nothing
        is drawn from a global generator. ValueError below two rows.
        """
        ...

    def sums(self, x: ArrayLike, y: ArrayLike, blocks: ArrayLike | None = None, n_blocks: int = ...) -> Sums:
        """Return the sums of pairs x (n, d_x), y (n, d_y): one block, or `n_blocks` where blocks (n,) are
        given. n may be 0. ValueError where shapes do not fit, or before `fit`."""
        ...

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one safetensors file, whole; the same critic gives the same bytes."""
        ...

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a saved critic. ValueError where the file is none of this kind."""
        ...

    @property
    def digest(self) -> str:
        """Return the hexadecimal SHA-256 of all that changes its sums: equal for equal critics, however
        stored."""
        ...


@runtime_checkable
class ConditionalGaussian(Protocol):
    """Such a critic is a conditional density q(y|x), Gaussian with a diagonal covariance."""

    def moments(self, x: ArrayLike) -> tuple[Array, Array]:
        """Return the mean and log-variance of q(y|x) for rows x (n, d_x): two (n, d_y) arrays."""
        ...
