"""EMI, EMID and their bootstrap."""

from __future__ import annotations

import numpy as np
import pytest

from auditor.emi import emi, emid, paired_bootstrap
from auditor.estimators import ClubSums
from auditor.sketch import Floats

D = 3


def critic(x: Floats) -> tuple[Floats, Floats]:
    return 0.6 * np.tanh(x), 0.3 * np.cos(x)


def sums(x: Floats, y: Floats, blocks: Floats, n_blocks: int = 60) -> ClubSums:
    return ClubSums.from_critic(*critic(x), y, blocks, n_blocks)


def world(n: int, rng: np.random.Generator, shift: float) -> list[ClubSums]:
    """One record set under P and its perturbed copy Q: model and reference sums of each."""
    x = rng.normal(size=(n, D))
    y = 0.7 * x + rng.normal(size=(n, D))
    noise = rng.normal(size=(n, D))
    blocks = rng.integers(60, size=n)
    p_hat, q_hat = 0.6 * x + noise, (0.6 - shift) * x + noise
    return [sums(x, p_hat, blocks), sums(x, y, blocks), sums(x, q_hat, blocks), sums(x, y, blocks)]


def test_emi_and_emid_are_differences() -> None:
    p_model, p_ref, q_model, q_ref = world(200, np.random.default_rng(0), 0.3)
    assert emi(p_model, p_ref) == p_model.value() - p_ref.value()
    expected = emi(p_model, p_ref) - emi(q_model, q_ref)
    assert emid(p_model, p_ref, q_model, q_ref) == expected
    got = paired_bootstrap(p_model, p_ref, q_model, q_ref)
    assert got is not None and got.emid.value == expected


def test_reweighted_draws_are_the_values_of_repeated_rows() -> None:
    """CLUB is not linear in its sums: a draw's value must be that of the resampled rows."""
    rng = np.random.default_rng(1)
    x, y, blocks = rng.normal(size=(100, D)), rng.normal(size=(100, D)), rng.integers(20, size=100)
    weights = rng.integers(0, 3, size=(4, 20))
    got = sums(x, y, blocks, 20).reweighted(weights.astype(float)).values()
    for w, value in zip(weights, got, strict=True):
        repeat = w[blocks]
        again = sums(*(np.repeat(a, repeat, axis=0) for a in (x, y, blocks)), 20)
        assert value == pytest.approx(again.value(), abs=1e-10)


def test_the_same_seed_gives_the_same_bits() -> None:
    four = world(90, np.random.default_rng(2), 0.2)
    assert paired_bootstrap(*four, seed=5) == paired_bootstrap(*four, seed=5)
    assert paired_bootstrap(*four, seed=5) != paired_bootstrap(*four, seed=6)


def test_pairing_pays() -> None:
    four = world(300, np.random.default_rng(3), 0.1)
    paired, apart = paired_bootstrap(*four), paired_bootstrap(*four, paired=False)
    assert paired is not None and apart is not None
    assert paired.emid.std < 0.6 * apart.emid.std
    assert paired.emid.low < paired.emid.value - paired.emid.bias < paired.emid.high


def test_identical_sides_have_no_emid() -> None:
    p_model, p_ref, *_ = world(90, np.random.default_rng(4), 0)
    got = paired_bootstrap(p_model, p_ref, p_model, p_ref)
    assert got is not None and (got.emid.low, got.emid.value, got.emid.high) == (0, 0, 0)


@pytest.mark.parametrize("n", [60, 400])
def test_intervals_cover_and_are_unbiased(n: int) -> None:
    rng = np.random.default_rng(5)
    truth = [emi(*world(200_000, rng, 0.0)[:2]), emid(*world(200_000, rng, 0.25))]
    covered, centres = np.zeros(2), []
    runs = 150
    for seed in range(runs):
        got = paired_bootstrap(*world(n, rng, 0.25), draws=300, seed=seed)
        assert got is not None
        covered += [t >= e.low and t <= e.high for t, e in zip(truth, (got.emi_p, got.emid), strict=True)]
        centres.append([got.emi_p.value - got.emi_p.bias, got.emid.value - got.emid.bias])
    assert (covered / runs > 0.8).all() and (covered / runs <= 0.97).all()  # nominal 90%
    error = np.mean(centres, axis=0) - truth
    assert (np.abs(error) < 4 * np.std(centres, axis=0) / np.sqrt(runs)).all()


def test_blocks_that_are_empty_on_a_side() -> None:
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(80, D)), rng.normal(size=(80, D))
    p, q = sums(x, y, np.arange(80) % 60), sums(x[:24], y[:24], np.arange(24) % 12 + 40)
    got = paired_bootstrap(p, p, q, q)
    assert got is not None and got.draws == 1000
    assert np.isfinite([got.emi_q.low, got.emi_q.high, got.emid.std]).all()
    few = sums(x[:9], y[:9], np.arange(9))
    assert paired_bootstrap(p, p, few, few) is None


def test_wrong_arguments() -> None:
    four = world(90, np.random.default_rng(7), 0)
    with pytest.raises(ValueError, match="same hash blocks"):
        paired_bootstrap(*four[:3], four[3].total())
    with pytest.raises(ValueError, match="level"):
        paired_bootstrap(*four, level=1.5)
    with pytest.raises(ValueError, match="no rows"):
        emi(ClubSums.empty(60, D), four[0])
