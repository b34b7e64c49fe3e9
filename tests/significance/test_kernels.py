"""Kernels in the pooled metric: what they are, what they see, and that no order of rows matters."""

from __future__ import annotations

import numpy as np
import pytest

from auditor.significance import drift_test
from auditor.significance.grouped import grouped_test
from auditor.significance.kernels import (
    first_rows,
    length_features,
    local_kernel,
    matrix_kernels,
    width_of,
)
from auditor.significance.permutation import paired_test, unpaired_test
from auditor.significance.reference_test import reference_test
from auditor.significance.resampling import ReferenceRows
from auditor.sketch import Float

Rng = np.random.Generator
D = 32


def rows(n: int, rng: Rng) -> Float:
    return rng.normal(size=(n, D)) * np.arange(1, D + 1) ** -0.5


def heavy(n: int, rng: Rng) -> Float:
    """Of the same mean and covariance, with the tails of Student's law of five degrees of freedom."""
    return rows(n, rng) / np.sqrt(rng.chisquare(5, size=(n, 1)) / 3)


def clustered(n: int, rng: Rng) -> Float:
    """Ten clusters whose mean and covariance are about those of the rows."""
    return np.sqrt(0.8) * rows(10, rng)[rng.integers(10, size=n)] + np.sqrt(0.2) * rows(n, rng)


@pytest.mark.parametrize("shift", [heavy, clustered])
def test_shifts_of_neither_mean_nor_covariance_are_found(shift) -> None:
    """The linear and quadratic statistics alone found the tails in 3 of 10 samples."""
    found = np.zeros(4)
    for seed in range(10):
        rng = np.random.default_rng([1, seed])
        p, q = rows(400, rng), shift(120, rng)
        tests = (
            unpaired_test(p, q, 199, rng),
            reference_test(ReferenceRows.fit(p), q[:50], 199, rng),
            grouped_test(p, q, np.arange(400) // 2, np.arange(120) // 2, 199, rng),
            paired_test(p[:120], q, 199, rng),
        )
        found += [test.p_value <= 0.05 for test in tests]
    assert (found >= (8, 4, 7, 7)).all()


def test_the_order_of_rows_does_not_matter() -> None:
    """Width, ranks and kernels are those of the pooled rows, whichever come first."""
    rng = np.random.default_rng(2)
    z = rows(700, rng)
    order = rng.permutation(700)
    inner, norms = z @ z.T, np.square(z).sum(axis=1)
    moved = inner[np.ix_(order, order)], norms[order]
    assert width_of(*moved) == pytest.approx(width_of(inner, norms))
    np.testing.assert_allclose(length_features(norms[order]), length_features(norms)[order])
    for got, kernel in zip(matrix_kernels(*moved), matrix_kernels(inner, norms), strict=True):
        np.testing.assert_allclose(got, kernel[np.ix_(order, order)])


def test_the_local_kernel_is_gaussian_and_as_steep_as_it_says() -> None:
    rng = np.random.default_rng(3)
    z = rows(200, rng)
    inner, norms = z @ z.T, np.square(z).sum(axis=1)
    kernel = local_kernel(inner, norms)
    squared = norms[:, None] + norms - 2 * inner
    usual, less = width_of(inner, norms)
    np.testing.assert_allclose(kernel, np.exp(np.minimum(3 * (usual - squared) / less, 6)), rtol=1e-9)
    apart = kernel[np.triu_indices(200, 1)]
    assert np.quantile(np.log(apart), [0.5, 0.95]) == pytest.approx([0, 3], abs=1e-6)
    twice = np.concatenate([z, z])
    assert local_kernel(twice @ twice.T, np.tile(norms, 2)).max() == pytest.approx(np.exp(6))
    same = np.ones((50, D))
    assert not local_kernel(same @ same.T, np.full(50, float(D))).any()


def test_lengths_are_compared_by_rank() -> None:
    lengths = np.random.default_rng(4).exponential(size=60)
    np.testing.assert_allclose(length_features(lengths), length_features(lengths**3))
    tied = length_features(np.array([1.0, 1.0 + 1e-13, 2.0]))
    np.testing.assert_array_equal(tied[0], tied[1])
    assert not length_features(np.ones(5)).any() and not length_features(np.zeros(5)).any()


def test_every_unit_gives_its_first_rows() -> None:
    starts = np.array([0, 5, 6, 40])
    at, first = first_rows(starts, 100, most=50)
    np.testing.assert_array_equal(at, [0, 1, 5, *range(6, 23), *range(40, 70)])
    np.testing.assert_array_equal(at[first], starts)
    at, first = first_rows(starts, 100)
    np.testing.assert_array_equal(at, np.arange(100))
    np.testing.assert_array_equal(first, starts)


def test_equal_rows_outweigh_nothing() -> None:
    """A few rows that both sides repeat: no alarm, and a shift elsewhere is still found."""
    rng = np.random.default_rng(5)
    p, q = rows(300, rng), rows(100, rng)
    p[:30], q[:10] = p[0], p[0]
    assert unpaired_test(p, q, 499, rng).p_value > 0.05
    q[10:] = heavy(90, rng)
    assert unpaired_test(p, q, 499, rng).p_value <= 0.01


def test_copies_that_differ_by_rounding_are_no_shift() -> None:
    """Perturbed far below single precision on both sides alike, 40 times: no more alarms than chance."""
    alarms = 0
    for seed in range(40):
        rng = np.random.default_rng([6, seed])
        base = rows(60, rng)
        p, q = (base + 1e-6 * rng.normal(size=base.shape) for _ in range(2))
        alarms += paired_test(p, q, 99, rng).p_value <= 0.05
    assert alarms <= 8
    same = rows(80, np.random.default_rng(7))
    assert drift_test(same, same.copy(), paired=True, permutations=99).p_value == 1
