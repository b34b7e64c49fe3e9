"""Information in tables, and the identified range: exact cases, then random discrete ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.risk.tables import (
    entropy,
    greatest_entropy,
    identified_limits,
    jackknifed_entropy,
    mutual_information,
)

seeds = st.integers(0, 2**32 - 1)


def binary(u: float) -> float:
    return float(entropy(np.array([u, 1 - u])))


def test_information_of_known_tables() -> None:
    assert mutual_information(np.eye(4)) == pytest.approx(np.log(4))
    assert mutual_information(np.outer([1, 2, 3], [4, 5])) == pytest.approx(0, abs=1e-12)
    # A binary symmetric channel with error 0.1.
    assert mutual_information(np.array([[9, 1], [1, 9]])) == pytest.approx(np.log(2) - binary(0.1))
    assert np.allclose(mutual_information(np.zeros((3, 2, 2))), 0)


def test_greatest_entropy_pours_on_the_lowest_cells() -> None:
    known = np.array([0.5, 0.2, 0.1])
    got = greatest_entropy(known, np.array(0.2))
    assert got == pytest.approx(entropy(np.array([0.5, 0.25, 0.25])))
    assert greatest_entropy(np.zeros(3), np.array(1.0)) == pytest.approx(np.log(3))
    assert greatest_entropy(known / 0.8, np.array(0.0)) == pytest.approx(entropy(known))


@settings(max_examples=100, deadline=None)
@given(seeds, st.integers(2, 9), st.floats(0, 1))
def test_no_law_has_more_entropy(seed: int, k: int, free: float) -> None:
    rng = np.random.default_rng(seed)
    known = (1 - free) * rng.dirichlet(np.full(k, 0.5))
    most = greatest_entropy(known, np.array(free))
    assert (entropy(known + free * rng.dirichlet(np.full(k, 0.3), size=50)) <= most + 1e-12).all()


def law(rng: np.random.Generator, k_x: int, k_y: int) -> np.ndarray:
    x = rng.dirichlet(np.full(k_x, rng.choice([0.2, 1.0])))
    return x[:, None] * rng.dirichlet(np.full(k_y, rng.choice([0.05, 0.5, 3.0])), size=k_x)


@settings(max_examples=300, deadline=None)
@given(seeds, st.integers(1, 8), st.integers(2, 8), st.floats(0, 1))
def test_the_truth_lies_within_the_identified_range(seed: int, k_x: int, k_y: int, u: float) -> None:
    rng = np.random.default_rng(seed)
    inside, outside = law(rng, k_x, k_y), law(rng, k_x, k_y)
    pair = np.concatenate([(1 - u) * inside, u * outside])
    truth = mutual_information(pair)
    i_in, i_out = mutual_information(inside), mutual_information(outside)
    by_u = mutual_information(np.stack([(1 - u) * inside.sum(axis=0), u * outside.sum(axis=0)]))
    assert truth == pytest.approx(by_u + (1 - u) * i_in + u * i_out, abs=1e-10)
    limits = identified_limits(inside, np.array(u))
    assert limits.low - 1e-10 <= truth <= limits.high + 1e-10
    assert limits.high <= (1 - u) * i_in + binary(u) + u * np.log(k_y) + 1e-10
    assert limits.low - 1e-10 <= i_in <= limits.high + 1e-10


def test_both_limits_are_attained() -> None:
    rng = np.random.default_rng(0)
    inside, u = law(rng, 3, 4), np.array(0.3)
    limits = identified_limits(inside, u)
    q = inside.sum(axis=0)
    blind = np.outer(np.full(4, 0.25), q)
    assert mutual_information(np.concatenate([0.7 * inside, 0.3 * blind])) == pytest.approx(limits.low)
    filled = np.maximum(0.7 * q, _level(0.7 * q, 0.3))
    exact = np.diag(filled - 0.7 * q)
    assert mutual_information(np.concatenate([0.7 * inside, exact])) == pytest.approx(limits.high)


def _level(q: np.ndarray, free: float) -> float:
    """Water level by bisection: another way than the code's."""
    low, high = 0.0, 1.0
    for _ in range(100):
        mid = (low + high) / 2
        low, high = (mid, high) if np.maximum(mid - q, 0).sum() < free else (low, mid)
    return low


def test_jackknifed_entropy_takes_the_bias_off() -> None:
    rng = np.random.default_rng(1)
    counts = rng.multinomial(60, np.full(8, 1 / 8), size=300).astype(float)
    assert abs(np.log(8) - entropy(counts).mean()) > 0.05
    # Cut at log K, so it cannot be exactly right on average at the maximum.
    assert abs(np.log(8) - np.mean([jackknifed_entropy(c) for c in counts])) < 0.025
    assert jackknifed_entropy(np.array([5.0, 0.0])) == 0
    with pytest.raises(ValueError, match="at least 2 rows"):
        jackknifed_entropy(np.array([1.0, 0.0]))
