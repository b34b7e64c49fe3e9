"""The delete-a-group jackknife is for anything that is made of several statistics of the same rows.

Groups follow the hash blocks of base ids, so that the same records are left out of all statistics at once.
All divergences of a bound, without each group of records, tell how they vary together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.stats import t as student
from scipy.stats.qmc import MultivariateNormalQMC

from auditor.sketch import Float

DIRECTIONS = 512
"""Directions tried for an interval of some four statistics: its ends fall short by a few percent at most."""

Deletion = tuple[str, int]
"""Whose rows are left out (p, q, or both members of pairs), and of which group."""
Shares = Mapping[Deletion, float]
"""The share of its side's rows that a deletion takes."""


@dataclass(frozen=True)
class Left:
    """`Left` holds a statistic of all rows, and its value with each group left out."""

    value: float
    without: Mapping[Deletion, float]
    quadratic: float = 0.0
    """Variance of the statistic's part that is quadratic in the rows, where it is known. For a divergence
    without a shift this is all of the variance."""

    def at(self, deletion: Deletion) -> float:
        """Return the statistic's value without those rows. It is unchanged where they have no part in it."""
        return self.without.get(deletion, self.value)


class Moments(NamedTuple):
    """`Moments` are several statistics of the same rows: their values with the biases taken off, and how
    these vary."""

    corrected: Float
    """(k,)"""
    covariance: Float
    """(k, k)"""
    freedom: int
    """Degrees of freedom of the covariance: the fewest groups of a side, less one."""


class Jackknifed(NamedTuple):
    """`Jackknifed` is a value with its bias taken off, and its t-interval."""

    corrected: float
    std: float
    low: float
    high: float


def moments(statistics: Sequence[Left], shares: Shares) -> Moments:
    """Return the moments of statistics of P and Q by deleting one group at a time: P's and Q's in turn, pairs
    together.

    Groups of unequal sizes as in Busing, Meijer & van der Leeden (1999); biases and covariances of
    independent sides add. A jackknife counts the variance of a quadratic part twice (Efron & Stein 1981):
    it is taken off once, but never more than half of all. ValueError with fewer than two groups on a side.
    """
    k = len(statistics)
    values = np.array([s.value for s in statistics])
    bias, covariance, fewest = np.zeros(k), np.zeros((k, k)), np.inf
    for side in sorted({side for side, _ in shares}):
        of_side = [deletion for deletion in shares if deletion[0] == side]
        if len(of_side) < 2:
            raise ValueError(f"a jackknife needs two groups at least, {side} has {len(of_side)}")
        left = np.array([[s.at(deletion) for s in statistics] for deletion in of_side])
        h = 1 / np.array([shares[deletion] for deletion in of_side])[:, None]
        estimate = len(left) * values - ((1 - 1 / h) * left).sum(axis=0)
        apart = h * values - (h - 1) * left - estimate
        bias += values - estimate
        covariance += apart.T @ (apart / (h - 1)) / len(left)
        fewest = min(fewest, len(left))
    quadratic = np.array([s.quadratic for s in statistics])
    variances = np.diag(covariance)
    once = np.maximum(variances - quadratic, variances / 2)
    kept = np.sqrt(np.divide(once, variances, out=np.ones(k), where=variances > 0))
    return Moments(values - bias, covariance * np.outer(kept, kept), int(fewest) - 1)


def jackknife(statistic: Left, shares: Shares, level: float) -> Jackknifed:
    """Return the t-interval of one statistic (see `moments`)."""
    result = moments([statistic], shares)
    corrected, std = float(result.corrected[0]), float(np.sqrt(result.covariance[0, 0]))
    half = float(student.ppf((1 + level) / 2, result.freedom)) * std
    return Jackknifed(corrected, std, corrected - half, corrected + half)


def profile_interval(
    function: Callable[[Float], float], statistics: Moments, level: float, seed: int = 0
) -> tuple[float, float]:
    """Return the interval of a function of several statistics, none of them negative: its least and greatest
    value where they are as likely as the ends of a t-interval of one (a profile likelihood interval), cut off
    at zero.

    For one statistic, and a function that grows with it, the ends are the function at the ends of the
    t-interval; for a sum they are those of the sum's t-interval. It holds where statistics are at zero, as
    divergences without a shift are, and the function a root of them: a jackknife of the function itself, or
    the delta method, does not.
    """
    variances, axes = np.linalg.eigh(statistics.covariance)
    root = axes * np.sqrt(np.maximum(variances, 0))
    normal = MultivariateNormalQMC(np.zeros(len(root)), rng=seed).random(DIRECTIONS)
    directions = normal / np.linalg.norm(normal, axis=1, keepdims=True)
    radius = float(student.ppf((1 + level) / 2, statistics.freedom))
    values = [function(z) for z in np.maximum(0.0, statistics.corrected + radius * directions @ root.T)]
    return min(values), max(values)
