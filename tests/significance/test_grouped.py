"""Permutation of whole groups: exact whatever their sizes and however alike their rows are."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from auditor.significance import drift_test
from auditor.significance.grouped import (
    LEAST_GROUPS,
    grouped_grams,
    grouped_statistic,
    grouped_test,
    units_of,
)
from auditor.significance.permutation import permuted_labels
from auditor.sketch import Float
from auditor.sketch.blocks import Index


def world(
    rng: np.random.Generator, groups: int, mean: float, alike: float, d: int = 16, moved: float = 0.0
) -> tuple[Float, Index]:
    """Rows in groups of 1 to 30 rows, `mean` on average, with intra-group correlation `alike`."""
    sizes = np.minimum(rng.geometric(1 / mean, size=groups), 30)
    labels = np.repeat(np.arange(groups), sizes)
    own, shared = rng.normal(size=(len(labels), d)), rng.normal(size=(groups, d))
    z = (np.sqrt(alike) * shared[labels] + np.sqrt(1 - alike) * own) * np.arange(1, d + 1.0) ** -0.5
    z[:, 1] += moved
    return z, labels


@pytest.mark.parametrize(("mean", "alike"), [(1.0, 0.0), (3.0, 0.5), (3.0, 1.0), (10.0, 0.5)])
def test_no_more_false_alarms_than_it_says(mean: float, alike: float) -> None:
    p_values = []
    for seed in range(200):
        rng = np.random.default_rng([11, int(mean), int(10 * alike), seed])
        (p, groups_p), (q, groups_q) = world(rng, 60, mean, alike), world(rng, 25, mean, alike)
        p_values.append(grouped_test(p, q, groups_p, groups_q, 99, rng).p_value)
    for level in (0.05, 0.1):
        low, high = binom.interval(0.999, len(p_values), level)
        assert low <= np.sum(np.array(p_values) <= level) <= high


def test_a_shift_of_groups_is_found() -> None:
    rng = np.random.default_rng(3)
    (p, groups_p), (q, groups_q) = world(rng, 120, 3, 0.2), world(rng, 60, 3, 0.2, moved=1.0)
    assert grouped_test(p, q, groups_p, groups_q, 499, rng).p_value <= 0.004


def test_statistics_are_sums_over_pairs_of_rows_of_other_units() -> None:
    rng = np.random.default_rng(4)
    (p, groups_p), (q, groups_q) = world(rng, 6, 2, 0.3, d=5), world(rng, 4, 2, 0.3, d=5)
    units = units_of(groups_p, groups_q, rng)
    z, sizes = np.concatenate([p, q])[units.rows], units.sizes
    unit = np.repeat(np.arange(len(sizes)), sizes.astype(int))
    labels = permuted_labels(units.n_p, len(sizes) - units.n_p, 3, rng)
    kernels = z @ z.T, (z @ z.T) ** 2
    for (gram, taken), kernel in zip(grouped_grams(z, units.starts), kernels, strict=False):
        for labelling, found in zip(labels, grouped_statistic(gram, taken, labels), strict=True):
            of_p = labelling[unit] > 0
            other = unit[:, None] != unit
            brute = (
                kernel[other & of_p[:, None] & of_p].mean()
                + kernel[other & ~of_p[:, None] & ~of_p].mean()
                - 2 * kernel[of_p][:, ~of_p].mean()
            )
            assert found == pytest.approx(brute, rel=1e-5, abs=1e-6)


def test_units_are_whole_groups_or_equal_numbers_of_them() -> None:
    rng = np.random.default_rng(5)
    groups_p, groups_q = world(rng, 2_000, 3, 0.0)[1], world(rng, 300, 3, 0.0)[1]
    units = units_of(groups_p, groups_q, rng)
    assert len(units.starts) - units.n_p >= 20 and len(units.starts) <= 500
    every = np.concatenate([groups_p, 10_000 + groups_q])
    counts = []
    for rows in np.split(units.rows, units.starts[1:]):
        names = np.unique(every[rows])
        assert np.isin(every, names).sum() == len(rows)  # whole groups
        counts.append(len(names))
    assert set(counts) == {5}
    assert len(np.unique(units.rows)) == len(units.rows) <= 6_000
    alone = units_of(np.arange(30), np.arange(20), rng)
    assert (alone.sizes == 1).all() and alone.n_p == 30


def test_copies_of_one_row_are_one_group() -> None:
    """Equal rows within each group, another set of groups: no shift."""
    rng = np.random.default_rng(6)
    points = rng.normal(size=(80, 8))
    p, q = np.repeat(points[:50], 5, axis=0), np.repeat(points[50:], 5, axis=0)
    groups = np.repeat(np.arange(80), 5)
    assert grouped_test(p, q, groups[:250], groups[250:], 199, rng).p_value > 0.05
    same = np.ones((12, 3))
    assert grouped_test(same, same, np.arange(12) // 2, np.arange(12) // 3, 99, rng).p_value == 1.0


# In a drift test.


def test_a_drift_test_of_groups_is_calibrated_and_its_excess_is_zero() -> None:
    """Eight times as many rows of P have the null of P alone, fewer that of pooled rows."""
    for of_p, groups in ((90, 30), (130, 12)):
        p_values, excess = [], []
        for seed in range(60):
            rng = np.random.default_rng([12, groups, seed])
            (p, groups_p), (q, groups_q) = world(rng, of_p, 4, 0.8), world(rng, groups, 4, 0.8)
            got = drift_test(p, q, seed, permutations=99, groups_p=groups_p, groups_q=groups_q)
            rows = drift_test(p, q, seed, permutations=1)
            assert got.excess is not None and rows.excess is not None and got.p_value is not None
            p_values.append(got.p_value)
            excess.append((got.excess, rows.excess))
        low, high = binom.interval(0.999, len(p_values), 0.1)
        assert low <= np.sum(np.array(p_values) <= 0.1) <= high
        mean, error = np.mean(excess, axis=0), np.std(excess, axis=0) / np.sqrt(len(excess))
        assert abs(mean[0]) < 4 * error[0] < mean[1]  # of rows that are taken for single ones it is no zero


def test_the_jackknife_wants_enough_groups() -> None:
    rng = np.random.default_rng(13)
    (p, groups_p), (q, groups_q) = world(rng, 30, 20, 0.5, d=3), world(rng, 30, 20, 0.5, d=3)
    assert drift_test(p, q, permutations=1).reason is None
    grouped = drift_test(p, q, permutations=1, groups_p=groups_p, groups_q=groups_q)
    assert grouped.reason == "too few groups of rows (30)" and grouped.corrected is None
    with pytest.raises(ValueError, match="3 and 2 group labels for"):
        drift_test(p, q, groups_p=np.arange(3), groups_q=np.arange(2))
    alone = drift_test(p[:50], q[:50], groups_p=np.arange(50), groups_q=np.arange(50), permutations=9)
    assert alone == drift_test(p[:50], q[:50], permutations=9)


@pytest.mark.parametrize("paired", [False, True])
def test_a_few_groups_have_no_p_value(paired: bool) -> None:
    """They can be dealt in so few ways that a p-value would say nothing."""
    z, groups = world(np.random.default_rng(14), LEAST_GROUPS, 30, 0.5)
    labels = {"groups_p": groups, "groups_q": groups}
    enough = drift_test(z, z + 0.1, permutations=99, paired=paired, **labels)
    labels = {name: np.maximum(of, 1) for name, of in labels.items()}  # the first two groups are one
    few = drift_test(z, z + 0.1, permutations=99, paired=paired, **labels)
    assert enough.p_value is not None and few.p_value is None
    assert few.reason == f"too few groups of rows ({LEAST_GROUPS - 1})" and few.excess is not None
