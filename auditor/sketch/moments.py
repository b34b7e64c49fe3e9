"""A sketch holds sums over rows, which merge by addition.

Everything the auditor reports is a function of these sums, or of the sample where sums cannot give it
(permutation, jackknife, neighbours, shares of rows). `merge` is addition: distribution, windows over time,
slices and resume are all just merge. Addition of floats is not associative, so results are equal to the bit
when shards are merged in one order; in another order they agree to rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float = NDArray[np.float64]
Floats = NDArray[np.floating[Any]]
CHUNK_ROWS = 4096


def as_rows(z: ArrayLike, name: str = "rows", *, check_finite: bool = True) -> Floats:
    """Return `z` as an (n, d) float32 or float64 array (other types become float64; float16 float32).

    ValueError where `z` is no matrix or a row holds NaN or infinity; the message names the row.
    """
    a = np.asarray(z)
    if a.dtype not in (np.float32, np.float64):
        a = a.astype(np.float32 if a.dtype == np.float16 else np.float64)
    if a.ndim != 2 or a.shape[1] == 0:
        raise ValueError(f"{name} must be an (n, d) matrix with d >= 1, not of shape {a.shape}")
    if not check_finite:
        return a
    finite = np.isfinite(a).all(axis=1)
    if not finite.all():
        bad = np.flatnonzero(~finite)
        raise ValueError(f"{name}: row {bad[0]} is not finite ({len(bad)} of {len(a)} rows are not)")
    return a


@dataclass(frozen=True, eq=False)
class Sketch:
    """A `Sketch` holds sums over rows z of dimension d: n, s = Σz, S = Σzzᵀ, Σ‖z‖⁴. O(d²) memory whatever n
    is."""

    n: int
    s: Float
    """(d,) Σz"""
    S: Float
    """(d, d) Σzzᵀ"""
    norm4: float
    """Σ‖z‖⁴; Σ‖z‖² is the trace of S."""

    @classmethod
    def empty(cls, d: int) -> Sketch:
        """Return the neutral element: no rows of dimension d."""
        return cls(0, np.zeros(d), np.zeros((d, d)), 0.0)

    @classmethod
    def from_rows(cls, z: ArrayLike, chunk: int = CHUNK_ROWS) -> Sketch:
        """Return the sketch of (n, d) rows, O(n d²).

        Products are formed in the rows' own precision (fp32 for embeddings) a chunk at a time, and added in
        float64. ValueError names the first row that is not finite.
        """
        rows = as_rows(z, check_finite=False)
        n, d = rows.shape
        s, S, norm4 = np.zeros(d), np.zeros((d, d)), 0.0
        for start in range(0, n, chunk):
            part = rows[start : start + chunk]
            with np.errstate(over="ignore", invalid="ignore"):
                norm2 = np.einsum("ij,ij->i", part, part)
                s += part.sum(axis=0, dtype=np.float64)
                S += part.T @ part
                norm4 += float(np.square(norm2, dtype=np.float64).sum())
            if not np.isfinite(norm2).all():  # one look at n numbers instead of n d
                as_rows(rows)
                raise ValueError("rows: squares overflow their precision; normalise the rows first")
        return cls(n, s, S, norm4)

    def merge(self, other: Sketch) -> Sketch:
        """Return the sketch of both sets of rows. ValueError where the dimensions differ."""
        if self.dim != other.dim:
            raise ValueError(f"cannot merge sketches of dimensions {self.dim} and {other.dim}")
        return Sketch(self.n + other.n, self.s + other.s, self.S + other.S, self.norm4 + other.norm4)

    @property
    def dim(self) -> int:
        """Return d, the dimension of the rows."""
        return len(self.s)

    @property
    def trace(self) -> float:
        """Return Σ‖z‖²"""
        return float(np.trace(self.S))

    @property
    def mean(self) -> Float:
        """Return (d,) mean row. ValueError where there are no rows."""
        return self.s / self._count()

    @property
    def second_moment(self) -> Float:
        """Return (d, d) uncentred second moment S/n. ValueError where there are no rows."""
        return self.S / self._count()

    def _count(self) -> int:
        if self.n == 0:
            raise ValueError("an empty sketch has no moments")
        return self.n

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return plain numeric arrays, for npz or Arrow (never pickle); of S the upper half."""
        symmetric = np.array_equal(self.S, self.S.T)  # as products of a matrix with itself are, to the bit
        second = {"upper": self.S[np.triu_indices(self.dim)]} if symmetric else {"S": self.S}
        return {
            "n": np.array(self.n, dtype=np.int64),
            "s": self.s,
            **second,
            "norm4": np.array(self.norm4),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, ArrayLike]) -> Sketch:
        """Restore a sketch from the arrays of `to_arrays`. ValueError where shapes do not fit or numbers are
        not finite."""
        s = np.asarray(arrays["s"], dtype=np.float64)
        if s.ndim != 1:
            raise ValueError(f"not a sketch: s {s.shape}")
        S = np.asarray(arrays["S"], np.float64) if "S" in arrays else _mirrored(arrays["upper"], len(s))
        n, norm4 = int(np.asarray(arrays["n"])), float(np.asarray(arrays["norm4"]))
        if S.shape != (len(s), len(s)) or n < 0:
            raise ValueError(f"not a sketch: n={n}, s {s.shape}, S {S.shape}")
        if not (np.isfinite(s).all() and np.isfinite(S).all() and np.isfinite(norm4)):
            raise ValueError("not a sketch: its sums are not finite")
        return cls(n, s, S, norm4)


def _mirrored(upper: ArrayLike, d: int) -> Float:
    """(d, d) symmetric matrix of its upper half. ValueError where that has another size."""
    values = np.asarray(upper, dtype=np.float64)
    if values.shape != (d * (d + 1) // 2,):
        raise ValueError(f"not a sketch: the half of S has shape {values.shape}, for {d} dimensions")
    S = np.zeros((d, d))
    S[np.triu_indices(d)] = values
    return S + np.triu(S, 1).T
