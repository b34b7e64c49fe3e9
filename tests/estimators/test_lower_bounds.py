"""InfoNCE, NWJ and MINE against the mutual information of a correlated Gaussian."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from auditor.estimators import MINE, NWJ, InfoNCE
from auditor.estimators.separable import SeparableEstimator, off_diagonal
from auditor.sketch import Floats

KINDS = (InfoNCE, NWJ, MINE)


def gaussian(n: int, d: int, rho: float, seed: int) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    return x, rho * x + np.sqrt(1 - rho**2) * rng.normal(size=(n, d))


@pytest.mark.parametrize("kind", KINDS)
def test_a_trained_critic_comes_near_mi_from_below(kind: type[SeparableEstimator]) -> None:
    rho, d = 0.8, 2
    mi = -d / 2 * np.log(1 - rho**2)
    critic = kind(hidden=64, steps=600, batch=256, lr=3e-3).fit(*gaussian(6000, d, rho, 0))
    x, y = gaussian(8192, d, rho, 1)
    assert 0.75 * mi < critic.estimate(x, y) < 1.03 * mi
    assert critic.estimate(x, np.roll(y, 1, axis=0)) < 0.05


def test_nwj_does_not_run_away_where_one_pair_scores_too_high() -> None:
    """Unclipped, the held-out bound of this case fell to -85 nats, and the estimate stayed at 1.54 of 2."""
    rng, rho = np.random.default_rng([0, 2, 20]), np.sqrt(1 - np.exp(-2.0))
    pairs = []
    for _ in range(2):
        x = rng.normal(size=(16_384, 2))
        pairs.append((x, rho * x + np.sqrt(1 - rho**2) * rng.normal(size=x.shape)))
    critic = NWJ(hidden=256, steps=600, batch=512).fit(*pairs[0])
    assert 1.75 < critic.estimate(*pairs[1]) < 2.05


@pytest.mark.parametrize("kind", KINDS)
def test_with_the_optimal_critic_the_bound_is_tight(kind: type[SeparableEstimator]) -> None:
    """T = log p(y|x)/p(y), written out, on one large batch."""
    rho, n = 0.6, 3000
    x, y = (z[:, 0] for z in gaussian(n, 1, rho, 2))
    r2 = rho**2
    scores = -(r2 * (x[:, None] ** 2 + y[None] ** 2) - 2 * rho * x[:, None] * y[None]) / (2 * (1 - r2))
    scores -= np.log(1 - r2) / 2
    assert float(kind.bound(torch.from_numpy(scores))) == pytest.approx(-np.log(1 - r2) / 2, abs=0.04)


def test_infonce_cannot_exceed_the_log_of_the_batch() -> None:
    assert float(InfoNCE.bound(torch.eye(8) * 1e4)) == pytest.approx(np.log(8))


def test_off_diagonal() -> None:
    scores = torch.arange(16.0).reshape(4, 4)
    rest = [[float(scores[i, j]) for j in range(4) if j != i] for i in range(4)]
    assert sorted(off_diagonal(scores).flatten().tolist()) == sorted(value for row in rest for value in row)


@pytest.mark.parametrize("kind", KINDS)
def test_bits_and_errors(kind: type[SeparableEstimator]) -> None:
    x, y = gaussian(100, 2, 0.5, 3)
    a, b = (kind(hidden=8, steps=20).fit(x, y) for _ in range(2))
    assert a.estimate(x, y) == b.estimate(x, y)
    with pytest.raises(ValueError, match="not trained"):
        kind().estimate(x, y)
    with pytest.raises(ValueError, match="pairs are needed"):
        a.estimate(x, y[:-1])
