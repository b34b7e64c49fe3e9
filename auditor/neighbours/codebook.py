"""A codebook has k centroids, and each row's cell is its nearest centroid by squared Euclidean distance."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auditor.errors import needed_for
from auditor.sketch import as_rows

Cells = NDArray[np.int64]
_ITERATIONS = 25
_STARTS = 2


def learn_codebook(rows: ArrayLike, k: int, seed: int = 0) -> NDArray[np.float32]:
    """Learn (min(k, distinct rows), d) k-means centroids of rows (n, d), by FAISS: O(n k d) an iteration.

    The same seed gives the same bits on a fixed number of threads. ValueError where k < 1 or n is 0;
    `MissingPackage` without FAISS.
    """
    z = np.ascontiguousarray(as_rows(rows), dtype=np.float32)
    if k < 1 or len(z) == 0:
        raise ValueError(f"no codebook of {k} cells from {len(z)} rows")
    distinct = np.unique(z, axis=0)
    if len(distinct) <= k:
        return np.ascontiguousarray(distinct)
    with needed_for("a codebook"):
        import faiss
    means = faiss.Kmeans(
        z.shape[1],
        k,
        niter=_ITERATIONS,
        nredo=_STARTS,
        seed=seed % 2**31,  # a C int
        min_points_per_centroid=1,
        max_points_per_centroid=len(z),
    )
    means.train(z)
    return np.asarray(means.centroids, dtype=np.float32).reshape(k, -1)


def nearest_cell(rows: ArrayLike, codebook: ArrayLike, name: str = "rows") -> Cells:
    """Return (n,) index of the nearest centroid of rows (n, d); codebook is (K, d). O(n K d).

    Of equally near centroids the first is taken. ValueError where the dimensions differ or the codebook is
    empty.
    """
    z, c = as_rows(rows, name).astype(np.float64), as_rows(codebook, "codebook").astype(np.float64)
    if len(c) == 0:
        raise ValueError("a codebook needs at least one centroid")
    if z.shape[1] != c.shape[1]:
        raise ValueError(f"{name} has dimension {z.shape[1]}, its codebook {c.shape[1]}")
    return np.argmin(np.square(c).sum(axis=1) - 2 * (z @ c.T), axis=1).astype(np.int64)
