"""InfoNCE, NWJ and MINE against the mutual information of a correlated Gaussian."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from auditor.estimators import CLUB, MINE, NWJ, InfoNCE, load_critic
from auditor.estimators.separable import SeparableEstimator, off_diagonal
from auditor.sketch import Floats
from auditor.testing import known_pairs

KINDS = (InfoNCE, NWJ, MINE)


def gaussian(n: int, d: int, rho: float, seed: int) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    return x, rho * x + np.sqrt(1 - rho**2) * rng.normal(size=(n, d))


@pytest.mark.parametrize("kind", KINDS)
def test_a_trained_critic_comes_near_mi_from_below(kind: type[SeparableEstimator]) -> None:
    rho, d = 0.8, 2
    mi = -d / 2 * np.log(1 - rho**2)
    critic = kind(hidden=64, steps=600, batch=256, lr=3e-3, start="random").fit(*gaussian(6000, d, rho, 0))
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
    critic = NWJ(hidden=256, steps=600, batch=512, start="random").fit(*pairs[0])
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


@pytest.mark.parametrize(
    ("family", "least"),
    [
        (known_pairs.gaussian(2, 6.0, 3), 0.98),
        (known_pairs.gaussian(16, 0.5, 3), 0.93),
        (known_pairs.student(2, 1), 0.85),
        (known_pairs.half_cube(16, 2.0, None), 0.95),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_from_the_gaussian_start_a_bound_is_near_the_best_one(
    family: known_pairs.Family, least: float
) -> None:
    """The best one: the same bound, of the true log-ratio, on the same rows."""
    rows, fresh = family.draw(6000, 7), family.draw(2000, 8)
    scores = torch.from_numpy(family.scores(fresh))
    for kind in (InfoNCE, MINE):
        critic = kind(hidden=64, steps=150, batch=256).fit(rows.x, rows.y)
        value, best = critic.estimate(fresh.x, fresh.y), float(kind.bound(scores))
        assert least * best < value < family.information + 0.15


@pytest.mark.parametrize("kind", KINDS)
def test_copies_of_pairs_are_no_evidence(kind: type[SeparableEstimator]) -> None:
    """20 pairs of nothing, copied 20 times: judged on copies, learning them by heart looks like success."""
    x, y = (np.repeat(z, 20, axis=0) for z in gaussian(20, 5, 0.0, 4))
    critic = kind(hidden=32, steps=100).fit(x, y)
    assert abs(critic.estimate(x, y)) < 0.4
    assert abs(critic.estimate(*gaussian(500, 5, 0.0, 5))) < 0.2


@pytest.mark.parametrize("kind", [*KINDS, CLUB])
def test_too_few_pairs_and_other_dimensions_are_refused(kind: type[SeparableEstimator] | type[CLUB]) -> None:
    x, y = gaussian(60, 3, 0.5, 6)
    for n in (2, 7):
        with pytest.raises(ValueError, match=f"at least 8 different pairs, not {n}"):
            kind().fit(x[:n], y[:n])
        with pytest.raises(ValueError, match=f"at least 8 groups of pairs, not {n}"):
            kind().fit(x, y, groups=np.arange(60) % n)
    critic = kind(hidden=8, steps=5).fit(x, y)
    with pytest.raises(ValueError, match="x has 2 columns"):
        critic.estimate(x[:, :2], y)
    with pytest.raises(ValueError, match="y has 4 columns"):
        critic.estimate(x, np.concatenate([y, x[:, :1]], axis=1))
    with pytest.raises(ValueError, match="unknown start"):
        kind(start="warm")  # type: ignore[arg-type]


@pytest.mark.parametrize("start", ["gaussian", "random"])
def test_saved_and_loaded_with_its_start(start: str, tmp_path: Path) -> None:
    x, y = gaussian(200, 3, 0.8, 9)
    critic = InfoNCE(hidden=8, steps=5, start=start).fit(x, y)  # type: ignore[arg-type]
    critic.save(tmp_path / "critic.safetensors")
    back = load_critic(tmp_path / "critic.safetensors")
    assert isinstance(back, InfoNCE) and back.start == start and back.digest == critic.digest
    assert back.estimate(x, y) == critic.estimate(x, y)
