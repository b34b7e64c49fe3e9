"""How far windows lie from one another: the yardstick for a service whose days differ without any drift.

A window is its mean embeddings, one for each kernel: the mean over its rows of a feature vector. Its distance
is the squared distance of its mean from that of all other windows (leave one out), over what is expected of a
window of its size: the variation from window to window, which all windows show together, plus what few rows
alone give. So windows of different sizes compare: a distance has the same mean at every size, whether rows or
days vary more. (Its spread is only about the same: exactly so where sizes are equal.)

A new window is ranked among all others. Where windows are exchangeable (their order carries no information:
no trend, no season longer than the windows, no memory from one to the next), each rank is as likely as any
other, whatever the ranks of earlier windows were, since these join those that later ones are ranked among
(full conformal prediction: Vovk, Gammerman and Shafer 2005, chapter 8). This holds whichever windows the
baseline happens to have, on average over them, with no assumption on how days or rows vary.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from auditor.sketch import Float
from auditor.sketch.blocks import Index, group_sums

LEAST_WINDOWS = 3
"""Windows that have an embedding, below which nothing can be said of how they vary."""
_MAD = 1.4826
"""Standard deviations a median absolute deviation, for a normal law."""


class MeanEmbeddings(NamedTuple):
    """Mean embeddings of N windows under one kernel."""

    means: Float
    """(N, r), zeros where a window has none"""
    noise: Float
    """(N,) expected squared distance of each mean from what it would be with endless rows; nan where a window
    has none"""


def mean_embedding(features: Float, groups: Index) -> tuple[Float, float]:
    """Return the mean (r,) of features (n, r), and its noise: the expected squared error for few rows, with
    groups (n,) of rows that belong together as what is independent. The noise is nan below two groups."""
    n = len(features)
    k = len(np.unique(groups))
    mean = features.mean(axis=0) if n else np.zeros(features.shape[1])
    if k < 2:
        return mean, float("nan")
    return mean, float(np.square(group_sums(features - mean, groups)).sum()) / n**2 * k / (k - 1)


class Distances:
    """`Distances` of windows from one another under one kernel, for some of them at a time."""

    def __init__(self, embeddings: MeanEmbeddings) -> None:
        self._means, self._noise = embeddings
        self._squares = np.einsum("ij,ij->i", self._means, self._means)

    def logs(self, members: Index) -> Float:
        """Return (N,) log of the distance of each of these windows from the others, in units of what is
        expected of its size; nan where a window has no embedding, or too few of them have one.

        Windows after the last of `members` change no bit. O(t r) for a last position t.
        """
        found = np.full(len(members), np.nan)
        has = np.isfinite(self._noise[members])
        own, n = members[has], int(has.sum())
        if n < LEAST_WINDOWS:
            return found
        until = int(own.max()) + 1
        weights = np.zeros(until)
        weights[own] = 1.0 / n
        centre = weights @ self._means[:until]
        squares = self._squares[own] - 2.0 * (self._means[:until] @ centre)[own] + centre @ centre
        squares = np.maximum(squares, 0.0) * (n / (n - 1)) ** 2  # the centre without the window itself
        noise = self._noise[own]
        by_rows = noise + (noise.sum() - noise) / (n - 1) ** 2
        between = max(float(np.median(squares - by_rows)), 0.0)
        tiny = np.finfo(np.float64).tiny
        found[has] = np.log(np.maximum(squares, tiny)) - np.log(np.maximum(between + by_rows, tiny))
        return found


def standardised(values: Float) -> Float:
    """Return values (N, k) less the median of their column, in robust standard deviations of it; nan stays
    nan. A column that does not vary is 0 at its median, and far where it differs."""
    out = np.full(values.shape, np.nan)
    for j, column in enumerate(values.T):
        has = np.isfinite(column)
        if has.any():
            rest = column[has] - np.median(column[has])
            spread = _MAD * np.median(np.abs(rest))
            out[has, j] = rest / max(spread, 1e-9)
    return out


def farthest(values: Float) -> Float:
    """Return (N,) the greatest of each row (N, k); nan where a row has none."""
    filled = np.where(np.isfinite(values), values, -np.inf).max(axis=1, initial=-np.inf)
    return np.where(np.isfinite(filled), filled, np.nan)


class Rank(NamedTuple):
    """The rank of a window among others, itself among them. 1: the farthest."""

    rank: int
    of: int
    p_value: float
    """rank / of, at most: the chance of such a rank without a change"""


def rank_of_last(values: Float) -> Rank | None:
    """Return the rank of the last of values (N,) among those that are known; of equals it takes the worst.
    None where it is not known itself."""
    if not np.isfinite(values[-1]):
        return None
    known = values[np.isfinite(values)]
    rank = int((known >= values[-1]).sum())
    return Rank(rank, len(known), rank / len(known))


def smoothed_p_value(values: Float, uniform: float) -> float:
    """Return the conformal p-value of the last of values (N,), with ties, its own among them, broken by
    `uniform` in [0, 1): exactly uniform where the windows are exchangeable."""
    known = values[np.isfinite(values)]
    above, equal = (known > values[-1]).sum(), (known == values[-1]).sum()
    return float((above + uniform * equal) / len(known))
