"""Permutation tests of rows that belong together: turns of a chat, questions about one image, one user's day.

Rows of one group resemble each other, so that only whole groups can be exchanged between P and Q, each with
its own number of rows. The statistics are those of `auditor.significance.permutation`, but for one thing:
products of two rows of one group are left out of the sums within a side, since they say how alike rows of a
group are, and nothing of P and Q. Without a shift the test is then exact whatever the groups' sizes and
however alike their rows are, as long as groups are independent of each other.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from auditor.significance.kernels import first_rows, length_features, matrix_kernels
from auditor.significance.permutation import (
    PermutationTest,
    centred_and_metric,
    factors,
    gram_of_units,
    log_choices,
    permuted_labels,
    quadratic_forms,
)
from auditor.sketch import Float
from auditor.sketch.blocks import Index, whole_groups

LEAST_GROUPS = 10
"""Groups of a side below which there is no p-value: so few can be dealt in too few ways for one to tell
anything."""
MOST_UNITS = 500
"""Groups, or bundles of them, that are permuted."""
LEAST_UNITS = 20
"""Of the smaller side, where it has the groups."""
MOST_ROWS = 6_000
"""Rows that take part: their Gram is quadratic in them."""


class Units(NamedTuple):
    """Rows in the order of the units that are permuted, P's units first."""

    rows: Index
    """(N,) positions among P's rows, then Q's."""
    starts: Index
    """(K,) first row of each unit."""
    n_p: int
    """How many of the units are P's."""

    @property
    def sizes(self) -> Float:
        """(K,) rows of each unit."""
        return np.diff(np.append(self.starts, len(self.rows))).astype(np.float64)


def grouped_test(
    p: Float, q: Float, groups_p: Index, groups_q: Index, permutations: int, rng: np.random.Generator
) -> PermutationTest:
    """Permute whole groups of rows between p (n, d) and q (m, d); groups_p (n,), groups_q (m,): their labels.

    The MMD² is the quadratic one, without products of rows of one group. O(N² d + N d² + d³) for the N rows
    that take part, at most MOST_ROWS.
    """
    units = units_of(groups_p, groups_q, rng)
    z = np.concatenate([p, q])[units.rows]
    labels = permuted_labels(units.n_p, len(units.starts) - units.n_p, permutations, rng)
    grams = grouped_grams(z, units.starts)
    statistics = np.stack([grouped_statistic(*each, labels) for each in grams])
    pairs = zip(statistics, grams, strict=True)
    on_grid = np.stack([_on_grid(values, *each) for values, each in pairs])
    choices = log_choices(units.n_p, len(units.starts) - units.n_p)
    return PermutationTest(float(statistics[1, 0]), on_grid, choices)


def units_of(groups_p: Index, groups_q: Index, rng: np.random.Generator) -> Units:
    """Whole groups, or equal numbers of them bundled at random where there are too many.

    groups_p (n,), groups_q (m,): labels of the rows' groups. Where one side has far more rows than can take
    part, groups of it are left out at random.
    """
    sides = [whole_groups(groups_p, rng), [len(groups_p) + part for part in whole_groups(groups_q, rng)]]
    small = min(map(len, sides))
    bundle = max(1, min(-(-sum(map(len, sides)) // MOST_UNITS), small // LEAST_UNITS))
    rows = [sum(map(len, groups)) for groups in sides]
    most = max(MOST_UNITS - small // bundle, small // bundle)
    chosen: list[list[Index]] = []
    for i, groups in enumerate(sides):
        firsts = range(0, len(groups) - bundle + 1, bundle)
        bundles = [np.concatenate(groups[first : first + bundle]) for first in firsts]
        room = max(MOST_ROWS - rows[1 - i], MOST_ROWS // 2)
        fitting = int(np.searchsorted(np.cumsum([len(each) for each in bundles]), room, side="right"))
        chosen.append(bundles[: max(1, min(most, fitting))])
    together = [*chosen[0], *chosen[1]]
    ends = np.cumsum([len(unit) for unit in together])
    return Units(np.concatenate(together), np.concatenate([[0], ends[:-1]]), len(chosen[0]))


def grouped_statistic(gram: Float, sizes: Float, labels: Float) -> Float:
    """(1 + permutations,) MMD² of the Gram (K, K) of unit sums under each labelling (., K) of 1 where a unit
    is P's; sizes (K,) rows of each unit. Products within a unit are left out.

    The rows that stand for P vary from labelling to labelling, and every sum is divided by its own number of
    products. Where a side is one unit alone there are none, and its part is 0.
    """
    n, squares = labels @ sizes, labels @ np.square(sizes)
    m, squares_q = sizes.sum() - n, np.square(sizes).sum() - squares
    pp = quadratic_forms(labels, gram)
    pq = labels @ gram.sum(axis=1) - pp
    qq = gram.sum() - pp - 2 * pq
    within_p = labels @ np.diag(gram)
    within_q = np.trace(gram) - within_p
    part_p = (pp - within_p) / np.maximum(n * n - squares, 1)
    part_q = (qq - within_q) / np.maximum(m * m - squares_q, 1)
    return np.asarray(part_p + part_q - 2 * pq / (n * m))


def _on_grid(values: Float, gram: Float, sizes: Float) -> Float:
    """Values rounded to the error of adding up, so that labellings of the same value tie."""
    smallest = float(np.sort(sizes)[: max(2, len(sizes) // 10)].sum())
    step = 1e-12 * float(np.abs(gram).sum()) / smallest**2
    return np.round(values / step) if step > 0 else np.zeros_like(values)


class UnitGram(NamedTuple):
    """Inner products of the sums over units of rows."""

    gram: Float
    """(K, K)"""
    sizes: Float
    """(K,) rows of each unit that are in its sum"""


def grouped_grams(z: Float, starts: Index) -> list[UnitGram]:
    """Grams of the units' sums, for each statistic, of rows z (N, d) in the order of the units. The pooled
    covariance does not know which rows are P's: permutations leave it alone."""
    centred, metric = centred_and_metric(z)
    norms = np.einsum("ij,ij->i", centred, metric)
    sums, own, other, lengths = (
        np.add.reduceat(rows, starts, axis=0) for rows in (z, centred, metric, length_features(norms))
    )
    sizes = np.diff(np.append(starts, len(z))).astype(np.float64)
    grams = [UnitGram(gram, sizes) for gram in (sums @ sums.T, _quadratic(z, starts), own @ other.T)]
    at, first = first_rows(starts, len(z))
    taken = np.diff(np.append(first, len(at))).astype(np.float64)
    for kernel in matrix_kernels(centred[at].astype(np.float32) @ metric[at].astype(np.float32).T, norms[at]):
        gram = gram_of_units(first, len(at), kernel.__getitem__)
        grams.append(UnitGram((gram + gram.T) / 2, taken))
    return [*grams, UnitGram(lengths @ lengths.T, sizes)]


def _quadratic(z: Float, starts: Index) -> Float:
    """Of features zzᵀ: squared inner products of `factors`, float64 sums. O(N² d)."""
    single = factors(z)
    gram = gram_of_units(starts, len(z), lambda part: np.square(single[part] @ single.T))
    return (gram + gram.T) / 2
