"""Kernels of rows in the metric of the pooled covariance: what means and second moments do not show.

All are made of one matrix of inner products of the whitened rows, so that they cost little beside it. The
*squared* one sees directions that are wider, narrower or tied together, whatever their share of the
variance; the *local* one, which looks at near rows only, sees clusters and shapes; the *lengths* of the
rows, as ranks, see tails. Nothing here knows which of the pooled rows are P's: the width of the local kernel
and the ranks are those of all rows together, so that a permutation test stays exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from auditor.sketch import Float, Floats
from auditor.sketch.blocks import Index

KERNEL_ROWS = 3_000
"""Rows that have a kernel matrix: of more rows each block or group gives its first ones. The lengths are of
all rows."""
_WIDTH_ROWS = 256
_NEAR = 0.05
"""Share of the pairs of rows that counts as near."""
_STEEPNESS = 3.0
"""Logarithm of the local kernel at near pairs less that at the median pair. Widths in multiples of the median
distance were too wide where rows have many directions: their distances hardly differ."""
_NEAREST = 6.0
"""Most that logarithm may be: a handful of equal rows would outweigh all others else."""
_WAVES = 4
_GRID = 1e-9


class Width(NamedTuple):
    """A `Width` says which squared distances are usual, and by how much near ones are less."""

    usual: float
    less: float


def first_rows(starts: Index, rows: int, most: int = KERNEL_ROWS) -> tuple[Index, Index]:
    """Return the positions of the first rows of each unit of consecutive rows, and where each unit starts
    among them (K,): an equal share of every unit, at least one row of it, and about `most` in all.

    starts (K,): first row of each unit, of `rows` rows.
    """
    sizes = np.diff(np.append(starts, rows))
    taken = np.maximum(1, sizes * most // rows) if rows > most else sizes
    ends = np.cumsum(taken)
    first = ends - taken
    return np.arange(ends[-1]) + np.repeat(starts - first, taken), first


def matrix_kernels(inner: NDArray[np.floating[Any]], norms: Floats) -> Iterator[NDArray[np.floating[Any]]]:
    """Yield the squared and the local kernel (n, n) of rows with inner products (n, n) and squared lengths
    (n,), zero between a row and itself: a new matrix each."""
    squared = np.square(inner)
    np.fill_diagonal(squared, 0)
    yield squared
    del squared
    local = local_kernel(inner, norms)
    np.fill_diagonal(local, 0)
    yield local


def local_kernel(inner: NDArray[np.floating[Any]], norms: Floats) -> NDArray[np.floating[Any]]:
    """Return a Gaussian kernel (n, n) of the distances, as wide as the usual distance exceeds near ones, and
    cut off where rows all but coincide. Zeros where the usual distance is no larger than near ones."""
    width = width_of(inner, norms)
    if width.less <= 0:
        return np.zeros_like(inner)
    slope = _STEEPNESS / width.less
    half = (norms * slope).astype(inner.dtype)
    exponent = inner * np.asarray(2 * slope, inner.dtype)
    exponent -= half
    exponent -= (half - np.asarray(slope * width.usual, inner.dtype))[:, None]
    np.minimum(exponent, _NEAREST, out=exponent)
    return np.exp(exponent, out=exponent)


def width_of(inner: NDArray[np.floating[Any]], norms: Floats) -> Width:
    """Return the median squared distance, and that less the one of which a twentieth of the pairs is nearer.

    They are of every so many-th row in the order of the lengths, which is the same whoever holds the rows.
    """
    n = len(norms)
    at = np.argsort(norms, kind="stable")[:: -(-n // _WIDTH_ROWS)]
    if len(at) < 2:
        return Width(0.0, 0.0)
    squared = norms[at][:, None] + norms[at] - 2 * inner[np.ix_(at, at)].astype(np.float64)
    near, usual = np.quantile(squared[np.triu_indices(len(at), 1)], [_NEAR, 0.5])
    less = float(usual - near)
    return Width(float(usual), less if less > _GRID * abs(usual) else 0.0)


def length_features(norms: Floats) -> Float:
    """Return (n, 4) features of squared lengths (n,), whose inner products compare the lengths' distribution:
    cosines of the rank, the k-th weighed by 1/k, as in the Cramér-von Mises statistic. Lengths that differ by
    rounding alone tie. Zeros where all are equal."""
    n = len(norms)
    scale = float(np.abs(norms).mean()) * _GRID if n else 0.0
    if scale <= 0:
        return np.zeros((n, _WAVES))
    steps = np.round(norms / scale)
    ordered = np.sort(steps)
    ranks = (np.searchsorted(ordered, steps, "left") + np.searchsorted(ordered, steps, "right")) / (2 * n)
    if ordered[0] == ordered[-1]:
        return np.zeros((n, _WAVES))
    waves = np.arange(1, _WAVES + 1)
    return np.asarray(np.cos(np.pi * ranks[:, None] * waves) / waves)
