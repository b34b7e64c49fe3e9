"""How many independent rows tell as much."""

from __future__ import annotations

import numpy as np
import pytest

from auditor.significance.design_effect import effective_rows, effective_scores


def grouped(groups: int, size: int, alike: float, seed: int, d: int = 32) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(groups), size)
    shared, own = rng.normal(size=(groups, d)), rng.normal(size=(len(labels), d))
    return np.sqrt(alike) * shared[labels] + np.sqrt(1 - alike) * own + 3, labels


@pytest.mark.parametrize(("size", "alike"), [(1, 0.5), (3, 0.0), (3, 0.2), (3, 0.5), (10, 0.2), (10, 0.5)])
def test_it_is_kish_s_design_effect(size: int, alike: float) -> None:
    """n / (1 + (m - 1) ρ) for groups of m rows with correlation ρ."""
    found = [effective_rows(*grouped(100, size, alike, seed)) for seed in range(20)]
    assert np.mean(found) == pytest.approx(100 * size / (1 + (size - 1) * alike), rel=0.04)


def test_it_is_the_variance_of_the_mean() -> None:
    """Unequal groups: what independent rows of the same law would need to know their mean as well."""
    rng = np.random.default_rng(3)
    labels = np.repeat(np.arange(40), rng.integers(1, 12, 40))
    means, effective = [], []
    for _ in range(400):
        z = 0.7 * rng.normal(size=(40, 4))[labels] + rng.normal(size=(len(labels), 4))
        means.append(z.mean(axis=0))
        effective.append(effective_rows(z, labels))
    truth = (0.49 + 1) / np.var(means, axis=0).mean()
    assert np.mean(effective) == pytest.approx(truth, rel=0.12)


def test_the_ends() -> None:
    z, _ = grouped(50, 1, 0.0, 1)
    assert effective_rows(z, np.arange(50)) == 50.0
    assert effective_rows(z, np.zeros(50, np.int64)) == 1.0
    assert effective_rows(np.zeros((0, 3)), np.zeros(0, np.int64)) == 0.0
    copies = np.repeat(z, 4, axis=0)
    assert effective_rows(copies, np.repeat(np.arange(50), 4)) == pytest.approx(50, rel=0.03)
    assert effective_rows(np.ones((12, 3)), np.arange(12) // 3) == 4.0  # equal rows: as alike as can be
    opposite = np.tile([[1.0], [-1.0]], (20, 1))
    assert effective_rows(opposite, np.arange(40) // 2) == 20.0  # its groups' sums are all 0
    assert effective_scores(np.tile([0.0, 1.0], 20), np.arange(40) // 4) == 10.0


def test_order_and_names_do_not_matter() -> None:
    z, labels = grouped(30, 4, 0.4, 5)
    order = np.random.default_rng(6).permutation(len(z))
    assert effective_rows(z[order], 7 * labels[order] + 100) == pytest.approx(effective_rows(z, labels))
