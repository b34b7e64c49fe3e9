"""The credibility check asks whether the inputs' vectors say anything of the correct answers.

Where x says nothing of the correct answer y, no critic can tell a good answer from a bad one by it, and a
model's EMI is about style alone. The check is a permutation test of I(X; Y), cross-fitted: y is predicted by
a critic that saw no row of the same group. That critic has a closed form (a ridge regression on random tanh
features of x, as in `Gaussian`), so that it is fitted anew for every permutation and the test is exact.
Whole groups of rows are exchanged, each with one of its own size, since rows of a group resemble each other.

With the variances that y has without x, CLUB (Eq. 11 of the paper) is E⟨μ(x) - E μ, y⟩ for standardised y, up
to a constant. It is given here as a share of the largest value that it can have, E‖y - E y‖²: in nats a
critic with one variance for each dimension counts what dimensions share many times.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auditor.estimators.crossfit import FOLDS, fold_labels
from auditor.estimators.gaussian import FEATURES, RIDGE, random_layer, root_mean_square
from auditor.estimators.training import pairs
from auditor.sketch import Float
from auditor.sketch.blocks import Index, rows_of_groups

PERMUTATIONS = 299
DIRECTIONS = 32
"""Principal directions of y that are predicted: they do not know how rows are paired."""
DRAWS = 3
"""Of features and folds, whose predictions are averaged: one draw alone is a matter of luck."""
MOST_ROWS = 1_000
LEAST_GROUPS = 20
"""Groups below which nothing is said: a critic would have too few to learn from."""
LEAST_OF_A_SIZE = 5
"""Groups of one size below which they are cut to a smaller size, so that there is something to exchange."""


@dataclass(frozen=True)
class Credibility:
    """A `Credibility` is what inputs say of the correct answers, beside what chance alone gives."""

    value: float
    """Share of the variance of the correct answers that a critic predicts which saw other groups: 1 is all of
    it, 0 or less none."""
    null_mean: float
    """Its mean over permutations."""
    null_std: float
    p_value: float
    """The share of permutations that reach the value; the value is one of them."""
    n: int
    """Rows that took part."""
    groups: int


def credibility(
    x: ArrayLike, y: ArrayLike, groups: ArrayLike, *, permutations: int = PERMUTATIONS, seed: int = 0
) -> Credibility | None:
    """Test whether inputs x (n, d_x) say anything of the correct answers y (n, d_y).

    groups (n,): labels of rows that belong together. At most MOST_ROWS rows take part, whole groups of them.
    O(permutations · n² · DIRECTIONS). None for fewer than LEAST_GROUPS groups, or where y does not
    vary. ValueError where lengths differ.
    """
    xs, ys = pairs(x, y)
    labels = np.asarray(groups)
    if labels.shape != (len(xs),):
        raise ValueError(f"{labels.size} group labels for {len(xs)} rows")
    rng = np.random.default_rng(seed)
    units = exchangeable(labels, rng)
    if len(units) < LEAST_GROUPS:
        return None
    rows = np.concatenate(units)
    outcome = _standardised(ys[rows])
    if outcome is None:
        return None
    sizes = np.array([len(unit) for unit in units])
    draws = [
        smoother(
            random_features(xs[rows], rng), np.repeat(fold_labels(np.arange(len(units)), FOLDS, k), sizes)
        )
        for k in range(seed, seed + DRAWS)
    ]
    predict = np.mean(draws, axis=0)
    starts, whole = np.cumsum(sizes) - sizes, float(np.square(outcome).sum())

    def information(y: Float) -> float:
        return float(np.einsum("ij,ij->", predict @ y, y)) / whole

    value = information(outcome)
    null = np.array([information(outcome[_exchange(sizes, starts, rng)]) for _ in range(permutations)])
    reached = int((null >= value - 1e-12 * max(1.0, abs(value))).sum())
    return Credibility(
        value,
        float(null.mean()),
        float(null.std(ddof=1)),
        (1 + reached) / (1 + permutations),
        len(rows),
        len(units),
    )


def exchangeable(labels: NDArray[np.generic], rng: np.random.Generator) -> list[Index]:
    """Return the rows of each group, such that sizes repeat: a size that fewer than LEAST_OF_A_SIZE groups
    have is cut to the next smaller one. At most MOST_ROWS rows in all. What is left out depends on sizes
    alone."""
    units = rows_of_groups(labels)
    shuffled = rng.permutation(len(units))
    kept = int(np.searchsorted(np.cumsum([len(units[i]) for i in shuffled]), MOST_ROWS, side="right"))
    units = [units[i] for i in np.sort(shuffled[:kept])]
    count = Counter(len(unit) for unit in units)
    for size in sorted(count, reverse=True):
        smaller = [s for s in count if s < size and count[s]]
        if count[size] < LEAST_OF_A_SIZE and smaller:
            units = [unit[: max(smaller)] if len(unit) == size else unit for unit in units]
            count[max(smaller)] += count.pop(size)
    return units


def random_features(x: NDArray[np.float32], rng: np.random.Generator) -> Float:
    """Return (n, FEATURES) features tanh(W x + b) of rows x (n, d), as the critic `gaussian` draws them."""
    wide = x.astype(np.float64)
    wide -= wide.mean(axis=0)
    inner, bias = random_layer(x.shape[1], FEATURES, root_mean_square(wide), rng)
    return np.asarray(np.tanh(wide @ inner + bias))


def _exchange(sizes: Index, starts: Index, rng: np.random.Generator) -> Index:
    """Return (n,) where each row's y comes from: whole groups change places with others of their size."""
    source = np.empty(int(sizes.sum()), dtype=np.int64)
    for size in np.unique(sizes):
        at = starts[sizes == size][:, None] + np.arange(size)
        source[at] = at[rng.permutation(len(at))]
    return source


def _standardised(y: NDArray[np.float32]) -> Float | None:
    """Return (n, k) coordinates of y, each dimension at unit variance, in its first principal directions;
    None where y does not vary."""
    wide = y.astype(np.float64)
    wide -= wide.mean(axis=0)
    variance = np.square(wide).mean(axis=0)
    if not variance.max(initial=0.0) > 0:
        return None
    wide /= np.sqrt(np.maximum(variance, 1e-2 * variance.mean()))
    values, vectors = np.linalg.eigh(wide.T @ wide)
    return np.asarray(wide @ vectors[:, values > 1e-9 * values[-1]][:, -DIRECTIONS:])


def smoother(z: Float, fold: Index) -> Float:
    """Return H (n, n), which does not depend on y: H y predicts each fold's y from the rows of all others, by
    ridge regression on features z (n, k), less its mean over the fold. O(n² k)."""
    out = np.zeros((len(z), len(z)))
    for k in range(int(fold.max()) + 1):
        test, train = fold == k, fold != k
        known = z[train] - z[train].mean(axis=0)
        centred = z[test] - z[test].mean(axis=0)
        few = len(known) < z.shape[1]  # then the dual form is the cheaper one
        gram = known @ known.T if few else known.T @ known
        gram[np.diag_indices_from(gram)] += RIDGE
        right = known @ centred.T if few else centred.T
        solved = np.linalg.solve(gram, right).T
        out[np.ix_(test, train)] = solved if few else solved @ known.T
    return out
