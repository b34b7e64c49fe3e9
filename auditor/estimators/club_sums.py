"""CLUB is computed in one pass: Eq. 11 of the paper is a function of sums, which merge as sketches do.

With a Gaussian critic q(y|x) of mean μ(x) and precision w(x) = exp(-logvar(x)) the N x N terms of Eq. 11
collapse, exactly, to

    A/n - m1·(Σ w μ)/n + ½ m2·(Σ w)/n,   A = Σ_i Σ_d w(μ y - ½ y²),  m1 = Σ y/n,  m2 = Σ y²/n.

The pairs i = j stay in, as in Eq. 11: the version without them is n/(n-1) times this value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auditor.sketch import Float


@dataclass(frozen=True, eq=False)
class ClubSums:
    """`ClubSums` are the CLUB sums of each of `blocks` blocks of rows: (blocks,) and (blocks, d) float64
    arrays."""

    kind: ClassVar[str] = "club"
    n: Float
    """(blocks,) rows, or their total weight"""
    A: Float
    """(blocks,) Σ_i Σ_d w(μ y - ½ y²)"""
    y: Float
    """(blocks, d) Σ y"""
    y2: Float
    """(blocks, d) Σ y²"""
    wmu: Float
    """(blocks, d) Σ w μ"""
    w: Float
    """(blocks, d) Σ w"""

    @classmethod
    def empty(cls, n_blocks: int, d: int) -> ClubSums:
        """Return the neutral element."""
        return cls(*(np.zeros(n_blocks) for _ in range(2)), *(np.zeros((n_blocks, d)) for _ in range(4)))

    @classmethod
    def from_critic(
        cls,
        mu: NDArray[np.floating[Any]],
        logvar: NDArray[np.floating[Any]],
        y: NDArray[np.floating[Any]],
        blocks: NDArray[np.int64] | None = None,
        n_blocks: int = 1,
        weights: NDArray[np.floating[Any]] | None = None,
    ) -> ClubSums:
        """Return the sums of n rows, O(n d): mu, logvar and y are (n, d); blocks (n,) in 0..n_blocks-1, all 0
        if absent.

        Row weights (n,) enter every sum, also that of the marginal of y.
        """
        n = len(y)
        share = np.zeros((n_blocks, n))
        share[0 if blocks is None else blocks, np.arange(n)] = 1.0 if weights is None else weights
        y = y.astype(np.float64)
        y2 = np.square(y)
        w = np.exp(-logvar.astype(np.float64))
        wmu = w * mu
        row = np.einsum("ij,ij->i", wmu, y) - 0.5 * np.einsum("ij,ij->i", w, y2)
        return cls(share.sum(axis=1), share @ row, share @ y, share @ y2, share @ wmu, share @ w)

    def merge(self, other: ClubSums) -> ClubSums:
        """Return the sums of both sets of rows, block by block. ValueError where blocks or dimensions
        differ."""
        if self.y.shape != other.y.shape:
            raise ValueError(f"cannot merge CLUB sums of shapes {self.y.shape} and {other.y.shape}")
        return ClubSums(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def total(self) -> ClubSums:
        """Return the sums over all blocks, as one block."""
        return self.reweighted(np.ones((1, len(self.n))))

    def reweighted(self, weights: Float) -> ClubSums:
        """Return the sums of r resamples, each as one block, from (r, blocks) weights of the blocks. One
        matrix product."""
        return ClubSums(*(weights @ getattr(self, f.name) for f in fields(self)))

    def values(self) -> Float:
        """Return (blocks,) CLUB of each block on its own, in nats; NaN where a block has no rows."""
        with np.errstate(invalid="ignore", divide="ignore"):
            marginal = np.einsum("ij,ij->i", self.y, self.wmu) - 0.5 * np.einsum("ij,ij->i", self.y2, self.w)
            return np.where(self.n > 0, self.A / self.n - marginal / np.square(self.n), np.nan)

    def value(self) -> float:
        """Return the CLUB of all blocks together, in nats (Eq. 11). ValueError where there are no rows."""
        value = float(self.total().values()[0])
        if np.isnan(value):
            raise ValueError("CLUB of no rows is not defined")
        return value

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return plain arrays, for npz or Arrow (never pickle)."""
        return {"kind": np.array(self.kind), **{f.name: getattr(self, f.name) for f in fields(self)}}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, ArrayLike]) -> ClubSums:
        """Restore sums from the arrays of `to_arrays`. ValueError where shapes do not fit or numbers are not
        finite."""
        got = {f.name: np.asarray(arrays[f.name], dtype=np.float64) for f in fields(cls)}
        vectors = {got[name].shape for name in ("n", "A")}
        matrices = {got[name].shape for name in ("y", "y2", "wmu", "w")}
        if len(matrices) != 1 or vectors != {next(iter(matrices))[:1]}:
            raise ValueError(f"not CLUB sums: shapes {vectors} and {matrices}")
        if not all(np.isfinite(a).all() for a in got.values()):
            raise ValueError("not CLUB sums: some are not finite")
        return cls(**got)
