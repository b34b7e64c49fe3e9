"""Natural shifts as the paper makes them: a pool of records split by how far they lie from the ID rows.

By mean cosine distance to all ID rows: easy is the nearest half, hard the farthest half, normal all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import ArrayLike, NDArray

from auditor.sketch import Float, as_rows

_DECIMALS = 6
"""fp32 inner products agree to about this: rows of the same image tie, and their ids decide."""


@dataclass(frozen=True, eq=False)
class Partition:
    """A pool of n rows by distance from the ID rows. Index arrays are in order of distance, nearest first."""

    distances: Float
    """(n,) mean cosine distance to the ID rows"""
    easy: NDArray[np.int64]
    """The nearest n // 2 rows"""
    normal: NDArray[np.int64]
    """All n rows"""
    hard: NDArray[np.int64]
    """The farthest n // 2 rows; with odd n the middle row is in `normal` alone"""


def partition(pool: ArrayLike, reference: ArrayLike, ids: Sequence[str] | None = None) -> Partition:
    """Split pool (n, d) by mean cosine distance to reference (m, d), both of unit rows.

    For unit vectors the mean over all m distances is 1 - z·mean(reference), exactly: one inner-product query
    against the centroid (which is not normalised), O((n + m) d). Ties are broken by id (else by position).
    ValueError where dimensions differ, a side is empty, or ids do not match the pool.
    """
    z, id_rows = _unit_rows(pool, "pool"), _unit_rows(reference, "reference")
    n = len(z)
    if ids is not None and len(ids) != n:
        raise ValueError(f"{len(ids)} ids for {n} rows of the pool")
    if z.shape[1] != id_rows.shape[1]:
        raise ValueError(f"pool has dimension {z.shape[1]}, reference has {id_rows.shape[1]}")
    index = faiss.IndexFlatIP(z.shape[1])
    index.add(id_rows.mean(axis=0, dtype=np.float64).astype(np.float32)[None, :])
    similarity, _ = index.search(z, 1)
    distances = 1.0 - similarity[:, 0].astype(np.float64)
    names = np.arange(n) if ids is None else np.asarray(ids, dtype=np.str_)
    order = np.lexsort((names, np.round(distances, _DECIMALS))).astype(np.int64)
    return Partition(distances, order[: n // 2], order, order[n - n // 2 :])


def nearest_distance(
    rows: ArrayLike, reference: ArrayLike, k: int = 1, *, leave_one_out: bool = False
) -> Float:
    """(n,) Euclidean distance of each row (n, d) to its k-th nearest reference row (m, d). Exact, O(n m d).

    leave_one_out: rows are the reference itself, and a row is not its own neighbour (a second copy of it is).
    ValueError where fewer than k neighbours exist.
    """
    z, ref = (
        as_rows(a, name).astype(np.float32, copy=False)
        for a, name in ((rows, "rows"), (reference, "reference"))
    )
    skip = int(leave_one_out)
    if not 1 <= k <= len(ref) - skip:
        raise ValueError(f"no {k}-th neighbour among {len(ref) - skip} reference rows")
    index = faiss.IndexFlatL2(ref.shape[1])
    index.add(np.ascontiguousarray(ref))
    squared, _ = index.search(np.ascontiguousarray(z), k + skip)
    return np.sqrt(np.maximum(squared[:, -1].astype(np.float64), 0))


def _unit_rows(z: ArrayLike, name: str) -> NDArray[np.float32]:
    rows = np.ascontiguousarray(as_rows(z, name), dtype=np.float32)
    if len(rows) == 0:
        raise ValueError(f"{name} has no rows")
    if not np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-3):
        raise ValueError(f"{name}: rows must be of unit length")
    return rows
