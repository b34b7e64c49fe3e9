"""The protocols that the parts of the auditor meet at. Imports only data contracts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from schemas.response import Answer, Prompt

Array = NDArray[np.floating[Any]]
Modality = Literal["image", "text"]


@runtime_checkable
class Encoder(Protocol):
    """Turns contents of one modality into vectors."""

    modality: Modality
    dim: int

    @property
    def identity(self) -> str:
        """Everything that changes the output, as canonical JSON: name, weights digest, pooling, layer,
        preprocessing, numeric type, batch and padding. Part of every cache key."""
        ...

    def encode(self, contents: Sequence[bytes] | Sequence[str]) -> Array:
        """(n, dim) float32, *not* normalised. Encoded image bytes or texts; in fixed padded batches, so a
        row does not depend on how many others come with it."""
        ...


@runtime_checkable
class Generator(Protocol):
    """Answers prompts."""

    @property
    def identity(self) -> str:
        """Everything that changes the output, as canonical JSON: weights digest, prompt template,
        sampling settings, engine and its version."""
        ...

    def generate(self, prompts: Sequence[Prompt], seed: int) -> list[Answer]:
        """One `Answer` a prompt, in order; a prompt that fails has `Answer.error`, and never stops the
        rest. `seed` seeds sampling."""
        ...


class Shift(Protocol):
    """A perturbation of contents of one modality: an image (h, w, 3) of floats in [0, 1], or a text."""

    def __call__(self, content: Any, severity: int, rng: np.random.Generator, /) -> Any:
        """`content` at `severity` 1 to 5; everything drawn comes from `rng`."""
        ...


class MIEstimator(Protocol):
    """A trained estimator of mutual information (nats)."""

    def fit(self, x: Array, y: Array) -> Self:
        """Train on pairs: x (n, dim_x), y (n, dim_y)."""
        ...

    def estimate(self, x: Array, y: Array) -> float:
        """Mutual information of the pairs (nats). O(n), never n x n x d."""
        ...
