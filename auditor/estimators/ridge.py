"""Ridge regression whose penalty is chosen on rows held out, whole groups at a time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from auditor.sketch import Float

FOLDS = 5
_PENALTIES = np.logspace(-4, 2, 7)
"""Penalties to choose from, a training row each: of features of mean square 1."""


class Ridge(NamedTuple):
    """A `Ridge` is the regression y ≈ intercept + z @ coefficients."""

    coefficients: Float
    """(k, d_y)"""
    intercept: Float
    """(d_y,)"""
    variance: Float
    """(d_y,) mean square of y less its prediction, on rows that were held out"""


def ridge(z: Float, y: Float, groups: NDArray[np.int64], seed: int, least_variance: float = 0.0) -> Ridge:
    """Return the regression of y (n, d_y) on features z (n, k) with the penalty of least squared error on
    held-out groups (n,): FOLDS folds of them, or one a group where they are fewer.

    Squares of a dimension of y weigh as 1 over its variance, or over `least_variance` where that is more.
    O(n k (k + d_y)) and a few products of (k, k) with (k, d_y). ValueError below two groups.
    """
    fold = folds_of(groups, seed)
    mean_z, mean_y = z.mean(axis=0), y.mean(axis=0)
    scale = np.sqrt(np.square(z - mean_z).mean(axis=0))
    scale[scale == 0] = 1.0
    features, target = (z - mean_z) / scale, y - mean_y
    weights = 1 / np.maximum(np.maximum(np.square(target).mean(axis=0), least_variance), np.finfo(float).tiny)
    rows = [(features[fold == k], target[fold == k]) for k in range(int(fold.max()) + 1)]
    parts = [(len(a), a.T @ a, a.T @ b, np.square(b).sum(axis=0)) for a, b in rows]
    gram, product = sum(part[1] for part in parts), sum(part[2] for part in parts)
    errors = np.zeros((len(_PENALTIES), y.shape[1]))
    for count, own_gram, own_product, squares in parts:
        values, vectors = np.linalg.eigh(gram - own_gram)
        rotated, own = vectors.T @ (product - own_product), vectors.T @ own_product
        own_squares = vectors.T @ own_gram @ vectors
        for i, penalty in enumerate(_PENALTIES):
            slopes = rotated / (np.maximum(values, 0) + penalty * (len(z) - count))[:, None]
            errors[i] += squares + ((own_squares @ slopes - 2 * own) * slopes).sum(axis=0)
    errors = np.maximum(errors, 0)
    best = int((errors @ weights).argmin())
    solved = np.linalg.solve(gram + _PENALTIES[best] * len(z) * np.eye(len(gram)), product)
    coefficients = solved / scale[:, None]
    return Ridge(coefficients, mean_y - mean_z @ coefficients, errors[best] / len(z))


def folds_of(groups: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Return (n,) fold of each row in 0..FOLDS-1: whole groups, shuffled, about as many rows each."""
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(sizes) < 2:
        raise ValueError(f"{len(sizes)} group of rows cannot be held out from itself: two at least")
    order = np.random.default_rng(seed).permutation(len(sizes))
    fold = np.empty(len(sizes), dtype=np.int64)
    fold[order] = np.arange(len(sizes)) % min(FOLDS, len(sizes))
    return np.asarray(fold[group])
