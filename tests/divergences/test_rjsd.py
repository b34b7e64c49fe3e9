"""RJSD against closed forms, and by its two routes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.attribution import rjsd_shares
from auditor.divergences import effective_rank, rjsd, von_neumann_entropy
from auditor.divergences.spectrum import entropy_rank
from auditor.sketch import Sketch

LOG2 = np.log(2)


def unit(z: np.ndarray) -> np.ndarray:
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def rows(n: int, d: int, seed: int) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=(n, d)) + 0.3)


def test_orthogonal_supports_give_log_2() -> None:
    e = np.eye(6)
    assert rjsd(e[:3], e[3:]) == pytest.approx(LOG2, abs=1e-12)


def test_identical_rows_give_0() -> None:
    z = rows(20, 8, 0)
    assert rjsd(z, z) == pytest.approx(0, abs=1e-12)
    assert rjsd(z, z[::-1]) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("angle", [0.1, 0.7, 1.3])
@pytest.mark.parametrize("copies", [1, 40])
def test_two_pure_states(angle: float, copies: int) -> None:
    """S(M) of two pure states at an angle has eigenvalues (1 ± cos)/2; S(P) = S(Q) = 0."""
    p = np.array([[1.0, 0, 0, 0, 0]] * copies)
    q = np.array([[np.cos(angle), np.sin(angle), 0, 0, 0]] * copies)
    lam = (1 + np.array([1, -1]) * np.cos(angle)) / 2
    assert rjsd(p, q) == pytest.approx(-(lam * np.log(lam)).sum(), abs=1e-10)


def test_commuting_moments_give_the_classical_jsd() -> None:
    """Rows along the axes: RJSD is the Jensen-Shannon divergence of the axes' frequencies."""
    e = np.eye(3)
    p, q = e[[0, 0, 0, 1]], e[[0, 1, 1, 2, 2]]
    f, g = np.array([0.75, 0.25, 0]), np.array([0.2, 0.4, 0.4])
    m = (f + g) / 2

    def kl(a: np.ndarray) -> float:
        return float((a[a > 0] * np.log(a[a > 0] / m[a > 0])).sum())

    assert rjsd(p, q) == pytest.approx((kl(f) + kl(g)) / 2, abs=1e-12)


def test_unequal_sizes_do_not_weigh() -> None:
    """Eq. 12 uses expectations: rows repeated change nothing."""
    p, q = rows(7, 4, 1), rows(9, 4, 2)
    assert rjsd(np.repeat(p, 5, axis=0), q) == pytest.approx(rjsd(p, q), abs=1e-10)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_gram_and_second_moments_agree_and_shares_sum(n: int, m: int, d: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    p, q = rng.normal(size=(n, d)), rng.normal(size=(m, d))  # not of unit length: trace 1 is our affair
    value = rjsd(p, q)
    assert value == pytest.approx(rjsd(Sketch.from_rows(p), Sketch.from_rows(q)), abs=1e-9)
    assert value == pytest.approx(rjsd(p, Sketch.from_rows(q)), abs=1e-9)
    assert -1e-12 <= value <= LOG2 + 1e-12
    shares = rjsd_shares(p, q)
    assert shares[0].shape == (n,) and shares[1].shape == (m,)
    assert shares[0].sum() + shares[1].sum() == pytest.approx(value, abs=1e-9)


def test_known_entropy_of_p() -> None:
    p, q = rows(50, 8, 1), rows(60, 8, 2)
    assert rjsd(p, q, entropy_p=von_neumann_entropy(p.T @ p)) == pytest.approx(rjsd(p, q), abs=1e-14)


def test_entropy_and_ranks() -> None:
    assert von_neumann_entropy(np.eye(5) * 3) == pytest.approx(np.log(5))
    assert effective_rank(np.diag([1.0, 1.0, 0.0])) == pytest.approx(2)
    assert effective_rank(Sketch.from_rows(np.eye(4))) == pytest.approx(4)
    assert entropy_rank(np.full(7, 1 / 7)) == pytest.approx(7)
    assert entropy_rank(np.array([1.0])) == 1
    tail = np.concatenate([[0.95], np.full(100, 0.0005)])
    assert np.exp(von_neumann_entropy(np.diag(tail))) < 2 and entropy_rank(tail) > 80


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="dimension 3, q has 4"):
        rjsd(np.ones((2, 3)), np.ones((2, 4)))
    with pytest.raises(ValueError, match="trace 0"):
        rjsd(np.zeros((2, 3)), np.ones((5, 3)))
    with pytest.raises(ValueError, match="square"):
        von_neumann_entropy(np.ones((2, 3)))


@pytest.mark.parametrize("d", [3, 40])
def test_squares_that_overflow_are_refused(d: int) -> None:
    z = np.ones((5, d))
    with np.errstate(over="ignore", invalid="ignore"), pytest.raises(ValueError, match="overflow"):
        rjsd(z, 1e200 * z)
