"""A natural shift, as the paper makes it, is a pool of records split by how far they lie from the ID rows.

By mean cosine distance to all ID rows (or to the nearest ones): easy is the nearest half, hard the farthest
half, normal all of them. Rows may come a batch at a time: what is kept of the ID rows is their sum, of the
pool a distance a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auditor.sketch import Float, Floats, as_rows

_DECIMALS = 6
"""fp32 embeddings of one content agree to about this: rows of the same image tie, and their ids decide."""


@dataclass(frozen=True, eq=False)
class Partition:
    """A `Partition` is a pool of n rows by distance from the ID rows. Index arrays are in order of distance,
    nearest first."""

    distances: Float
    """(n,) cosine distance to the ID rows, mean or nearest"""
    easy: NDArray[np.int64]
    """The nearest n // 2 rows"""
    normal: NDArray[np.int64]
    """All n rows"""
    hard: NDArray[np.int64]
    """The farthest n // 2 rows; with odd n the middle row is in `normal` alone"""


class Centroid:
    """A `Centroid` is the mean of unit rows that come in batches. It is not normalised."""

    def __init__(self) -> None:
        self.n = 0
        self._sum: Float | None = None

    def add(self, rows: ArrayLike) -> None:
        """Add rows (n, d) to the mean. ValueError where one is not of unit length, or dimensions differ."""
        z = _unit_rows(rows, "reference")
        if self._sum is None:
            self._sum = np.zeros(z.shape[1])
        _same_dimension(z, self._sum, "reference")
        self.n += len(z)
        self._sum += z.sum(axis=0, dtype=np.float64)

    def distances(self, rows: ArrayLike) -> Float:
        """Return (n,) mean cosine distance of unit rows (n, d) to all rows that were added: exactly 1 -
        z·mean, in float64. O(n d). ValueError where none was added, a row is not of unit length, or
        dimensions differ.
        """
        if self._sum is None or self.n == 0:
            raise ValueError("reference has no rows")
        z = _unit_rows(rows, "pool")
        _same_dimension(z, self._sum, "pool")
        return 1.0 - z.astype(np.float64) @ (self._sum / self.n)


def split(distances: Float, ids: ArrayLike) -> Partition:
    """Split n rows into halves by distance (n,), ties by id (n,)."""
    n = len(distances)
    order = np.lexsort((np.asarray(ids), np.round(distances, _DECIMALS))).astype(np.int64)
    return Partition(distances, order[: n // 2], order, order[n - n // 2 :])


def partition(pool: ArrayLike, reference: ArrayLike, ids: Sequence[str] | None = None) -> Partition:
    """Split pool (n, d) by mean cosine distance to reference (m, d), both of unit rows, O((n + m) d).

    Ties are broken by id (else by position). ValueError where dimensions differ, a side is empty, or ids do
    not match the pool.
    """
    z = _unit_rows(pool, "pool")
    if len(z) == 0:
        raise ValueError("pool has no rows")
    if ids is not None and len(ids) != len(z):
        raise ValueError(f"{len(ids)} ids for {len(z)} rows of the pool")
    centroid = Centroid()
    centroid.add(reference)
    names = np.arange(len(z)) if ids is None else np.asarray(ids, dtype=np.str_)
    return split(centroid.distances(z), names)


def _same_dimension(rows: Floats, total: Float, name: str) -> None:
    if rows.shape[1] != len(total):
        raise ValueError(f"{name} has dimension {rows.shape[1]}, reference has {len(total)}")


def _unit_rows(z: ArrayLike, name: str) -> Floats:
    rows = as_rows(z, name)
    if not np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-3):
        raise ValueError(f"{name}: rows must be of unit length")
    return rows
