"""The jackknife of several statistics together, and intervals of functions of them."""

import numpy as np
import pytest
from scipy.stats import t as student

from auditor.significance.jackknife import Left, Moments, jackknife, moments, profile_interval


def means_without(z: np.ndarray, labels: np.ndarray, side: str) -> dict[tuple[str, int], float]:
    return {(side, int(g)): float(z[labels != g].mean()) for g in np.unique(labels)}


def shares(labels: np.ndarray, side: str) -> dict[tuple[str, int], float]:
    return {(side, int(g)): float((labels == g).mean()) for g in np.unique(labels)}


def test_of_means_deleting_single_rows_it_is_the_covariance_of_the_means() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(40, 2)) @ [[1.0, 0.5], [0.0, 1.0]]
    each = np.arange(40)
    found = moments([Left(float(c.mean()), means_without(c, each, "p")) for c in z.T], shares(each, "p"))
    assert found.corrected == pytest.approx(z.mean(axis=0))
    assert found.covariance == pytest.approx(np.cov(z.T) / 40)
    assert found.freedom == 39


def test_covariances_of_independent_sides_add_and_what_a_side_does_not_move_stays() -> None:
    rng = np.random.default_rng(1)
    z, labels = rng.normal(size=(2, 60)), np.arange(60) % 12
    left = [
        Left(float(row.mean()), means_without(row, labels, side)) for row, side in zip(z, "pq", strict=True)
    ]
    every = shares(labels, "p") | shares(labels, "q")
    found = moments(left, every)
    alone = [jackknife(one, every, 0.9) for one in left]
    assert np.sqrt(np.diag(found.covariance)) == pytest.approx([one.std for one in alone])
    assert found.covariance[0, 1] == pytest.approx(0, abs=1e-12)
    total = Left(left[0].value + left[1].value, {d: left[0].at(d) + left[1].at(d) for d in every})
    assert moments([total], every).covariance[0, 0] == pytest.approx(found.covariance.sum())


def test_bias_of_a_square_is_taken_off() -> None:
    z = np.random.default_rng(2).normal(size=50)
    each = np.arange(50)
    without = {d: mean**2 for d, mean in means_without(z, each, "p").items()}
    found = jackknife(Left(float(z.mean() ** 2), without), shares(each, "p"), 0.9)
    assert found.corrected == pytest.approx(z.mean() ** 2 - z.var(ddof=1) / 50)


@pytest.mark.parametrize("mean", (0.0, 0.5))
def test_the_quadratic_part_is_counted_once(mean: float) -> None:
    """The squared length of a mean of n rows in d dimensions varies by 4 d μ²/n + 2 d/n²; a jackknife alone
    says 4 d μ²/n + 4 d/n²."""
    rng, n, d = np.random.default_rng(4), 60, 300
    each, told = np.arange(n), []
    for _ in range(60):
        z = rng.normal(mean, size=(n, d))
        without = {("p", g): float(np.square(np.delete(z, g, 0).mean(axis=0)).sum()) for g in range(n)}
        whole = Left(float(np.square(z.mean(axis=0)).sum()), without, quadratic=2 * d / n**2)
        told.append(jackknife(whole, shares(each, "p"), 0.9).std ** 2)
    assert np.mean(told) == pytest.approx(4 * d * mean**2 / n + 2 * d / n**2, rel=0.12)


def test_one_group_on_a_side_is_refused() -> None:
    with pytest.raises(ValueError, match="two groups"):
        moments([Left(1.0, {("p", 0): 1.0})], {("p", 0): 1.0})


def test_of_one_statistic_it_is_the_function_at_the_ends_of_its_interval() -> None:
    found = Moments(np.array([0.04]), np.array([[1e-4]]), 19)
    half = student.ppf(0.95, 19) * 1e-2
    low, high = profile_interval(lambda z: float(z[0] ** 0.5), found, 0.9)
    assert (low, high) == pytest.approx(((0.04 - half) ** 0.5, (0.04 + half) ** 0.5), abs=2e-3)
    assert profile_interval(lambda z: float(z[0] ** 0.5), found, 0.9) == (low, high)


def test_of_a_sum_it_is_the_interval_of_the_sum() -> None:
    covariance = np.array([[1e-4, 5e-5], [5e-5, 2e-4]])
    low, high = profile_interval(lambda z: float(z.sum()), Moments(np.array([0.3, 0.4]), covariance, 19), 0.9)
    half = student.ppf(0.95, 19) * np.sqrt(covariance.sum())
    assert (low, high) == pytest.approx((0.7 - half, 0.7 + half), abs=0.02 * half)


@pytest.mark.parametrize("zeros", (1, 2))
def test_roots_of_divergences_that_are_zero_are_covered(zeros: int) -> None:
    """Where the jackknife of the root itself fails."""
    rng, held = np.random.default_rng(3), []
    for _ in range(300):
        found = Moments(rng.normal(scale=0.01, size=zeros), 1e-4 * np.eye(zeros), 19)
        low, _ = profile_interval(lambda z: float(np.sqrt(z).sum()), found, 0.9)
        held.append(low <= 0)
    assert 0.84 <= np.mean(held) <= 0.99
