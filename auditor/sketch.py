"""The monoid: a sketch of rows (sums), and the row sample that travels with it.

Everything the auditor reports is a function of these sums, or of the sample where sums cannot give it
(permutation, jackknife, neighbours, shares of rows). `merge` is addition: distribution, windows over time,
slices and resume are all just merge. Addition of floats is not associative, so results are equal to the bit
when shards are merged in one order; in another order they agree to rounding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auditor.blocks import hash64

Float = NDArray[np.float64]
Floats = NDArray[np.floating[Any]]
CHUNK_ROWS = 4096


def as_rows(z: ArrayLike, name: str = "rows", *, check_finite: bool = True) -> Floats:
    """`z` as an (n, d) float32 or float64 array (other types become float64; float16 float32).

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
    """Sums over rows z of dimension d: n, s = Σz, S = Σzzᵀ, Σ‖z‖⁴. O(d²) memory whatever n is."""

    n: int
    s: Float
    """(d,) Σz"""
    S: Float
    """(d, d) Σzzᵀ"""
    norm4: float
    """Σ‖z‖⁴; Σ‖z‖² is the trace of S."""

    @classmethod
    def empty(cls, d: int) -> Sketch:
        """The neutral element: no rows of dimension d."""
        return cls(0, np.zeros(d), np.zeros((d, d)), 0.0)

    @classmethod
    def from_rows(cls, z: ArrayLike, chunk: int = CHUNK_ROWS) -> Sketch:
        """Sketch of (n, d) rows, O(n d²).

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
        """Sketch of both sets of rows. ValueError where the dimensions differ."""
        if self.dim != other.dim:
            raise ValueError(f"cannot merge sketches of dimensions {self.dim} and {other.dim}")
        return Sketch(self.n + other.n, self.s + other.s, self.S + other.S, self.norm4 + other.norm4)

    @property
    def dim(self) -> int:
        """d"""
        return len(self.s)

    @property
    def trace(self) -> float:
        """Σ‖z‖²"""
        return float(np.trace(self.S))

    @property
    def mean(self) -> Float:
        """(d,) mean row. ValueError where there are no rows."""
        return self.s / self._count()

    @property
    def second_moment(self) -> Float:
        """(d, d) uncentred second moment S/n. ValueError where there are no rows."""
        return self.S / self._count()

    def _count(self) -> int:
        if self.n == 0:
            raise ValueError("an empty sketch has no moments")
        return self.n

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Plain numeric arrays, for npz or Arrow (never pickle)."""
        return {
            "n": np.array(self.n, dtype=np.int64),
            "s": self.s,
            "S": self.S,
            "norm4": np.array(self.norm4),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, ArrayLike]) -> Sketch:
        """Inverse of `to_arrays`. ValueError where shapes do not fit or numbers are not finite."""
        s = np.asarray(arrays["s"], dtype=np.float64)
        S = np.asarray(arrays["S"], dtype=np.float64)
        n, norm4 = int(np.asarray(arrays["n"])), float(np.asarray(arrays["norm4"]))
        if s.ndim != 1 or S.shape != (len(s), len(s)) or n < 0:
            raise ValueError(f"not a sketch: n={n}, s {s.shape}, S {S.shape}")
        if not (np.isfinite(s).all() and np.isfinite(S).all() and np.isfinite(norm4)):
            raise ValueError("not a sketch: its sums are not finite")
        return cls(n, s, S, norm4)


@dataclass(frozen=True, eq=False)
class RowSample:
    """The k rows with the smallest 64-bit hashes of their record ids: deterministic and mergeable.

    Rows are ordered by (hash, id). Record ids are taken to be unique (the reader quarantines duplicates);
    a repeated id is sampled as often as it occurs, as the sketch counts it.
    """

    k: int
    seen: int
    """How many rows the sample was drawn from."""
    hashes: NDArray[np.uint64]
    """(m,) ascending, m = min(k, seen)"""
    ids: NDArray[np.str_]
    base_ids: NDArray[np.str_]
    rows: dict[str, NDArray[np.float32]]
    """modality -> (m, d)"""

    @classmethod
    def from_rows(
        cls, ids: Sequence[str], base_ids: Sequence[str], rows: Mapping[str, ArrayLike], k: int
    ) -> RowSample:
        """Sample of n rows: ids (n,), base_ids (n,), rows modality -> (n, d). O(n)."""
        if k < 1:
            raise ValueError(f"a row sample holds at least one row, not {k}")
        checked = {name: as_rows(z, name) for name, z in rows.items()}
        lengths = {"base_ids": len(base_ids), **{name: len(z) for name, z in checked.items()}}
        for name, length in lengths.items():
            if length != len(ids):
                raise ValueError(f"{length} {name} for {len(ids)} ids")
        hashes = np.array([hash64(i, b"sample") for i in ids], dtype=np.uint64)
        return cls._smallest(
            k,
            len(ids),
            hashes,
            np.asarray(ids, dtype=np.str_),
            np.asarray(base_ids, dtype=np.str_),
            checked,
        )

    @classmethod
    def _smallest(
        cls,
        k: int,
        seen: int,
        hashes: NDArray[np.uint64],
        ids: NDArray[np.str_],
        base_ids: NDArray[np.str_],
        rows: Mapping[str, Floats],
    ) -> RowSample:
        keep = np.lexsort((ids, hashes))[:k]
        kept = {name: z[keep].astype(np.float32) for name, z in rows.items()}
        return cls(k, seen, hashes[keep], ids[keep], base_ids[keep], kept)

    def merge(self, other: RowSample) -> RowSample:
        """Sample of both sets of rows. ValueError where k, modalities or dimensions differ."""
        shape = {name: z.shape[1] for name, z in self.rows.items()}
        if self.k != other.k or shape != {name: z.shape[1] for name, z in other.rows.items()}:
            raise ValueError("cannot merge row samples of different k, modalities or dimensions")
        return self._smallest(
            self.k,
            self.seen + other.seen,
            np.concatenate([self.hashes, other.hashes]),
            np.concatenate([self.ids, other.ids]),
            np.concatenate([self.base_ids, other.base_ids]),
            {name: np.concatenate([z, other.rows[name]]) for name, z in self.rows.items()},
        )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def complete(self) -> bool:
        """Whether the sample is simply all of the rows."""
        return len(self) == self.seen

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Plain arrays, for npz or Arrow (never pickle); modalities as `rows.<name>`."""
        return {
            "k": np.array(self.k, dtype=np.int64),
            "seen": np.array(self.seen, dtype=np.int64),
            "hashes": self.hashes,
            "ids": self.ids,
            "base_ids": self.base_ids,
            **{f"rows.{name}": z for name, z in self.rows.items()},
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, ArrayLike]) -> RowSample:
        """Inverse of `to_arrays`. ValueError where lengths differ or a row is not finite."""
        ids = np.asarray(arrays["ids"], dtype=np.str_)
        base_ids = np.asarray(arrays["base_ids"], dtype=np.str_)
        hashes = np.asarray(arrays["hashes"], dtype=np.uint64)
        rows = {
            key.removeprefix("rows."): as_rows(z, key).astype(np.float32, copy=False)
            for key, z in arrays.items()
            if key.startswith("rows.")
        }
        if {len(base_ids), len(hashes), *(len(z) for z in rows.values())} != {len(ids)}:
            raise ValueError("not a row sample: its arrays differ in length")
        return cls(int(np.asarray(arrays["k"])), int(np.asarray(arrays["seen"])), hashes, ids, base_ids, rows)
