"""CLUB's networks start at the ridge regression of y on features of x, so that its residual is left to train.

Half of the hidden units of the mean's network, at most, are the linear combinations of x that predict most of
y (principal components of a ridge regression's fit); the others are random features. Its last layer is the
ridge regression of y on all of them. The log-variance starts as that of the regression's errors on held-out
rows, the same for every x.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from auditor.estimators.gaussian import root_mean_square
from auditor.estimators.ridge import ridge
from auditor.estimators.training import linear_weights
from auditor.sketch import Float, Floats

_NARROW = 0.5
"""Standard deviation at which a linear unit enters tanh: nearly straight up to two of them."""
_WIDE = 3.0
"""Standard deviations that a linear unit is raised by before it enters relu: it is seldom cut off."""
_LEAST_SHARE = 1e-6
"""Share of the fit's variance from which a component is a unit."""
_MOST_LOGVAR = 0.99999
"""The network's log-variance ends in tanh, whose inverse is finite up to here."""


class ClubStart(NamedTuple):
    """A `ClubStart` holds the initial weights and biases of both networks, in the order of their keys."""

    mean: list[NDArray[np.float32]]
    logvar: list[NDArray[np.float32]]


def ridge_start(
    x: Floats, y: Floats, groups: NDArray[np.int64], hidden: int, activation: str, seed: int
) -> ClubStart:
    """Return the start for pairs x (n, d_x), y (n, d_y); groups (n,) label rows that are held out together.
    O(n d² + d³)."""
    rng = np.random.default_rng(seed)
    xs, ys = x.astype(np.float64), y.astype(np.float64)
    d = xs.shape[1]
    mean = xs.mean(axis=0)
    scale = root_mean_square(xs - mean)
    z = (xs - mean) / scale
    least = float(np.exp(-1))  # the least variance that the network can tell
    linear = _predictive(z, ys, groups, hidden // 2, seed, least)
    count = hidden - linear.shape[1]
    weights = np.concatenate([linear, rng.normal(size=(d, count)) / np.sqrt(d)], axis=1)
    bias = np.concatenate([np.zeros(linear.shape[1]), rng.uniform(-1, 1, count)])
    if activation == "tanh":
        weights[:, : linear.shape[1]] *= _NARROW
    else:
        bias[: linear.shape[1]] = _WIDE
    first = (weights / scale).T.astype(np.float32)
    first_bias = (bias - mean @ weights / scale).astype(np.float32)
    inner = xs @ first.T.astype(np.float64) + first_bias
    fit = ridge(np.tanh(inner) if activation == "tanh" else np.maximum(inner, 0), ys, groups, seed, least)
    logvar = np.clip(np.log(np.maximum(fit.variance, np.finfo(float).tiny)), -_MOST_LOGVAR, _MOST_LOGVAR)
    return ClubStart(
        [first, first_bias, fit.coefficients.T.astype(np.float32), fit.intercept.astype(np.float32)],
        [
            *linear_weights(hidden, d, rng),
            np.zeros((y.shape[1], hidden), np.float32),
            np.arctanh(logvar).astype(np.float32),
        ],
    )


def _predictive(z: Float, y: Float, groups: NDArray[np.int64], most: int, seed: int, least: float) -> Float:
    """(d, k) combinations of x that predict most of y, each of variance 1."""
    coefficients = ridge(z, y, groups, seed, least).coefficients
    values, vectors = np.linalg.eigh(coefficients.T @ (z.T @ z) @ coefficients / len(z))
    keep = [i for i in np.argsort(values)[::-1][:most] if values[i] > _LEAST_SHARE * values.sum() > 0]
    return np.asarray(coefficients @ vectors[:, keep] / np.sqrt(values[keep]))
