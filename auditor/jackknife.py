"""The delete-a-group jackknife of anything that is made of several statistics of the same rows.

Groups follow the hash blocks of base ids, so that what is left out of one statistic is left out of all: a
bound is recomputed with each group of records gone from every divergence that goes into it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.stats import t as student

Deletion = tuple[str, int]
"""Whose rows are left out (p, q, or both members of pairs), and of which group."""
Shares = Mapping[Deletion, float]
"""The share of its side's rows that a deletion takes."""


@dataclass(frozen=True)
class Left:
    """A statistic of all rows, and with each group left out."""

    value: float
    without: Mapping[Deletion, float]

    def at(self, deletion: Deletion) -> float:
        """Its value without those rows: the same, where they have no part in it."""
        return self.without.get(deletion, self.value)


class Jackknifed(NamedTuple):
    """A value with its bias taken off, and its t-interval."""

    corrected: float
    std: float
    low: float
    high: float


def jackknife(value: float, without: Mapping[Deletion, float], shares: Shares, level: float) -> Jackknifed:
    """Of a statistic of P and Q, deleting one group at a time: P's and Q's in turn, pairs together.

    Groups of unequal sizes as in Busing, Meijer & van der Leeden (1999); biases and variances of independent
    sides add. ValueError with fewer than two groups on a side.
    """
    bias = variance = 0.0
    fewest = np.inf
    for side in sorted({side for side, _ in without}):
        of_side = [deletion for deletion in without if deletion[0] == side]
        if len(of_side) < 2:
            raise ValueError(f"a jackknife needs two groups at least, {side} has {len(of_side)}")
        left = np.array([without[deletion] for deletion in of_side])
        h = 1 / np.array([shares[deletion] for deletion in of_side])
        estimate = len(left) * value - float(((1 - 1 / h) * left).sum())
        pseudo = h * value - (h - 1) * left
        bias += value - estimate
        variance += float((np.square(pseudo - estimate) / (h - 1)).mean())
        fewest = min(fewest, len(left))
    corrected, std = value - bias, float(np.sqrt(variance))
    half = float(student.ppf((1 + level) / 2, fewest - 1)) * std
    return Jackknifed(corrected, std, corrected - half, corrected + half)
