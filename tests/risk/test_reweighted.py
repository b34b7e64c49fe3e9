"""The reweighted estimate: its algebra exactly, its error and interval on a world with a known truth."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import pytest
from safetensors.numpy import save_file

from auditor.estimators import CLUB
from auditor.estimators.crossfit import CrossFitted, block_folds, fit_folds
from auditor.risk import ReweightedEmid, reweighted_emid
from auditor.risk.reweighted import _critic, _pairs, _robust_weights
from auditor.sketch import Floats

D = 6
KINDS = 5


class Rows(NamedTuple):
    x: Floats
    y: Floats
    yhat: Floats


_RNG = np.random.default_rng(0)
CENTRES = 2.0 * _RNG.normal(size=(KINDS, D))
MAPS = _RNG.normal(size=(KINDS, D, D)) / np.sqrt(D)
UNIFORM = np.full(KINDS, 1 / KINDS)
MIX = np.array([0.6, 0.25, 0.05, 0.05, 0.05])


def draw(n: int, mix: Floats, seed: int) -> Rows:
    rng = np.random.default_rng(seed)
    kind = rng.choice(KINDS, size=n, p=mix)
    within = rng.normal(size=(n, D))
    mean = np.einsum("nij,nj->ni", MAPS[kind], CENTRES[kind] + within)
    y = mean + 0.7 * rng.normal(size=(n, D))
    skill = np.array([1.0, 0.2, 0.8, 0.5, 0.1])[kind][:, None]
    return Rows(CENTRES[kind] + 0.5 * within, y, skill * mean + 0.7 * rng.normal(size=(n, D)))


@cache
def critic() -> CLUB:
    """Made, not trained: random hidden units and least squares on other rows of P."""
    p = draw(3000, UNIFORM, 1)
    rng = np.random.default_rng(2)
    first, shift = rng.normal(size=(64, D)) / np.sqrt(D), rng.normal(size=64)
    hidden = np.tanh(p.x @ first.T + shift)
    second = np.linalg.lstsq(hidden, (p.y + p.yhat) / 2, rcond=None)[0].T
    weights = {
        "p_mu.0.weight": first,
        "p_mu.0.bias": shift,
        "p_mu.2.weight": second,
        "p_mu.2.bias": np.zeros(D),
        "p_logvar.0.weight": first,
        "p_logvar.0.bias": shift,
        "p_logvar.2.weight": 0.02 * rng.normal(size=(D, 64)),
        "p_logvar.2.bias": np.full(D, 0.5),
    }
    with TemporaryDirectory() as folder:
        path = Path(folder) / "club.safetensors"
        save_file({k: np.ascontiguousarray(w, dtype=np.float32) for k, w in weights.items()}, path)
        return CLUB.load(path)


def estimate(p: Rows, q: Rows, **more: object) -> ReweightedEmid:
    return reweighted_emid(critic(), p.x, p.y, p.yhat, q.x, q.yhat, **more)  # type: ignore[arg-type]


@cache
def truth() -> float:
    club, p, q = critic(), draw(40_000, UNIFORM, 2), draw(40_000, MIX, 3)
    return sum(
        sign * club.estimate(r.x, y)
        for sign, r, y in ((1, p, p.yhat), (-1, p, p.y), (-1, q, q.yhat), (1, q, q.y))
    )


def test_robust_weights_are_fit_plus_weighted_residuals() -> None:
    rng = np.random.default_rng(4)
    n, m, k = 40, 25, 3
    near_p, near_q = rng.integers(n, size=(n, k)), rng.integers(n, size=(m, k))
    w, t = rng.dirichlet(np.ones(n)), rng.normal(size=n)
    omega = _robust_weights(w, near_p, near_q)
    assert omega.sum() == pytest.approx(1)
    direct = t[near_q].mean() + sum(w[i] * (t[i] - t[near_p[i]].mean()) for i in range(n))
    assert omega @ t == pytest.approx(direct)


def test_pairs_are_club_without_equal_indices_and_their_influence_is_that_of_leaving_a_row_out() -> None:
    p = draw(50, UNIFORM, 5)
    mu, logvar = critic().moments(p.x)
    got = _pairs(_critic(mu, logvar), p.y)
    assert got.value == pytest.approx(critic().estimate(p.x, p.y) * 50 / 49)
    assert got.influence.mean() == pytest.approx(0, abs=1e-9)
    without = np.array(
        [
            _pairs(_critic(np.delete(mu, i, 0), np.delete(logvar, i, 0)), np.delete(p.y, i, 0)).value
            for i in range(50)
        ]
    )
    assert got.influence == pytest.approx(49 * (without.mean() - without))


def test_new_mixes_are_estimated_and_covered() -> None:
    errors, hits = [], 0
    for seed in range(20):
        got = estimate(draw(800, UNIFORM, 100 + seed), draw(300, MIX, 200 + seed))
        errors.append(got.value - truth())
        hits += got.low <= truth() <= got.high
        assert got.reported and 0 < got.overlap < 1
        assert got.value == pytest.approx(got.emi_p - got.emi_q)
    spread = float(np.std(errors))
    assert abs(truth()) > 0.2, "the case would show nothing"
    assert abs(np.mean(errors)) < max(0.1 * abs(truth()), 3 * spread / np.sqrt(20))
    assert hits >= 14
    assert got.std == pytest.approx(spread, rel=0.6)


def test_without_a_shift_it_is_about_nothing() -> None:
    got = estimate(draw(1000, UNIFORM, 6), draw(500, UNIFORM, 7))
    assert got.low < 0 < got.high and got.overlap > 0.8 and got.reason is None


def test_off_the_support_it_says_that_it_cannot_speak() -> None:
    p, q = draw(800, UNIFORM, 8), draw(300, UNIFORM, 9)
    far = estimate(p, q._replace(x=q.x + 6))
    assert not far.reported and far.overlap < 0.05 and "is not reported" in str(far.reason)
    near = estimate(p, q._replace(x=q.x + 0.4))
    assert not near.reported and near.reason is not None


def test_one_seed_one_result() -> None:
    p, q = draw(300, UNIFORM, 10), draw(100, MIX, 11)
    assert estimate(p, q, seed=3) == estimate(p, q, seed=3)
    assert estimate(p, q, seed=3) != estimate(p, q, seed=4)


def test_errors_name_the_argument() -> None:
    p, q = draw(100, UNIFORM, 12), draw(50, UNIFORM, 13)
    with pytest.raises(ValueError, match="yhat_p has 99 rows for 100 inputs"):
        estimate(p._replace(yhat=p.yhat[1:]), q)
    with pytest.raises(ValueError, match="x has 2 columns"):
        estimate(p._replace(x=p.x[:, :2]), q._replace(x=q.x[:, :2]))
    with pytest.raises(ValueError, match="not trained"):
        reweighted_emid(CLUB(), p.x, p.y, p.yhat, q.x, q.yhat)
    with pytest.raises(ValueError, match="level"):
        estimate(p, q, level=0)


def test_a_critic_cross_fitted_on_the_labelled_rows_comes_nearer_than_one_that_knows_them() -> None:
    """Truth of each: the same critics on a large labelled draw."""
    p, q, large_p, large_q = (
        draw(n, mix, seed)
        for n, mix, seed in (
            (600, UNIFORM, 11),
            (600, MIX, 12),
            (20_000, UNIFORM, 13),
            (20_000, MIX, 14),
        )
    )
    rng = np.random.default_rng(15)
    at_p, at_q, at_large = (rng.integers(60, size=n) for n in (600, 600, 20_000))
    x, y = np.concatenate([p.x, p.x]), np.concatenate([p.y, p.yhat])
    groups, fold = np.tile(np.arange(600), 2), block_folds(np.tile(at_p, 2), 5)

    def make(seed: int) -> CLUB:
        return CLUB(hidden=64, steps=300, batch=256, lr=5e-3, holdout=0, seed=seed)

    errors = []
    for critic in (CrossFitted((make(0).fit(x, y),)), CrossFitted(fit_folds(make, x, y, groups, fold))):
        found = reweighted_emid(critic, p.x, p.y, p.yhat, q.x, q.yhat, blocks=(at_p, at_q))
        of_p, of_q = (
            critic.sums(big.x, big.yhat, at_large).value() - critic.sums(big.x, big.y, at_large).value()
            for big in (large_p, large_q)
        )
        errors.append(abs(found.value - (of_p - of_q)))
    assert errors[1] < errors[0]


def test_a_cross_fitted_critic_needs_the_rows_blocks() -> None:
    p, q = draw(60, UNIFORM, 1), draw(50, MIX, 2)
    with pytest.raises(ValueError, match="hash block of each row"):
        reweighted_emid(CrossFitted((critic(), critic())), p.x, p.y, p.yhat, q.x, q.yhat)
