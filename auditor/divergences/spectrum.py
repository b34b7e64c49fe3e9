"""The von Neumann entropy of second moments is the building block of RJSD. Logarithms are natural (nats).

It needs eigenvalues only. The matrix is brought to trace 1 first, as Eq. 12 of the paper wants.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditor.sketch import Float, Sketch

OVERFLOW = "rows are so large that their squares overflow: normalise them first"


def entropy_of_spectrum(eigenvalues: Float) -> float:
    """Return -Σ λ log λ (nats) of eigenvalues that sum to 1; rounding below zero counts as zero."""
    positive = eigenvalues[eigenvalues > 0]
    return float(-(positive * np.log(positive)).sum())


def von_neumann_entropy(c: NDArray[np.floating[Any]] | Sketch) -> float:
    """Return S(C) = -tr C log C (nats) of a (d, d) positive semidefinite matrix or a sketch, at trace 1.
    O(d³).

    ValueError where the matrix is not square or its trace is not positive.
    """
    matrix = np.asarray(c.S if isinstance(c, Sketch) else c, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"expected a square matrix, not shape {matrix.shape}")
    return entropy_of_spectrum(spectrum(matrix))


def entropy_of_rows(z: Float) -> float:
    """Return S of the trace-1 second moment of (n, d) rows, from the smaller of the Gram and the second
    moment.

    Both have the same non-zero eigenvalues. O(n d min(n, d)).
    """
    return von_neumann_entropy(z @ z.T if len(z) < z.shape[1] else z.T @ z)


def effective_rank(c: NDArray[np.floating[Any]] | Sketch) -> float:
    """Return the exp S(C): how many directions the rows fill, between 1 and d. An estimate from n rows is at
    most n."""
    return float(np.exp(von_neumann_entropy(c)))


def entropy_rank(eigenvalues: Float) -> float:
    """Return the exponential of the entropy of the shares -λ log λ / S: among how many directions the
    *entropy* is spread.

    The effective rank does not see a long tail beside one dominant direction (the mean of embeddings that all
    point one way: effective rank 2, entropy rank 100), yet the bias of an entropy comes from that tail.
    """
    positive = eigenvalues[(eigenvalues > 0) & (eigenvalues < 1)]
    parts = -positive * np.log(positive)
    total = float(parts.sum())
    return float(np.exp(entropy_of_spectrum(parts / total))) if total > 0 else 1.0


def spectrum(c: Float) -> Float:
    """Return the eigenvalues of a symmetric (d, d) matrix brought to trace 1. O(d³)."""
    # numpy's, not scipy's, which holds the interpreter's lock: other units of work go on meanwhile
    return np.asarray(np.linalg.eigvalsh(c / positive_trace(c)))


def positive_trace(matrix: Float) -> float:
    """Return the trace; ValueError where it is not positive (no rows, or rows of zeros), or not finite."""
    trace = float(np.trace(matrix))
    if not np.isfinite(trace):
        raise ValueError(OVERFLOW)
    if not trace > 0:
        raise ValueError("no rows, or only rows of zeros: a second moment of trace 0 cannot be normalised")
    return trace
