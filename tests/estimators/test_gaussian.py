"""The closed-form Gaussian critic against what it must find exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from auditor.estimators import CLUB, Gaussian
from auditor.estimators.sweep import log_likelihood
from auditor.sketch import Floats


def gaussian(n: int, d: int, rho: float, seed: int) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    return x, rho * x + np.sqrt(1 - rho**2) * rng.normal(size=(n, d))


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.6, 0.9])
def test_a_correlated_gaussian_gives_the_closed_form_of_club(rho: float) -> None:
    """d ρ²/(1-ρ²), with the conditional as good as known."""
    critic = Gaussian().fit(*gaussian(20_000, 3, rho, 0))
    x, y = gaussian(50_000, 3, rho, 1)
    assert critic.estimate(x, y) == pytest.approx(3 * rho**2 / (1 - rho**2), rel=0.03, abs=0.01)
    mu, logvar = critic.moments(x)
    assert np.abs(mu - rho * x).max() < 0.1
    assert np.exp(logvar[0]) == pytest.approx(np.full(3, 1 - rho**2), rel=0.03)


def test_the_scale_of_x_and_y_does_not_matter() -> None:
    """Embeddings of unit length have tiny variances in each dimension."""
    x, y = gaussian(2000, 4, 0.7, 2)
    value = Gaussian().fit(x, y).estimate(x, y)
    assert Gaussian().fit(0.01 * x + 3, 0.02 * y - 1).estimate(0.01 * x + 3, 0.02 * y - 1) == pytest.approx(
        value, rel=1e-3
    )


def test_random_features_see_what_a_line_does_not() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(8000, 2))
    y = np.sin(2 * x) + 0.3 * rng.normal(size=x.shape)
    fresh = rng.normal(size=(4000, 2))
    target = np.sin(2 * fresh) + 0.3 * rng.normal(size=fresh.shape)
    line, curve = Gaussian().fit(x, y), Gaussian(features=400, ridge=0.1).fit(x, y)
    assert log_likelihood(curve, fresh, target) > log_likelihood(line, fresh, target) + 0.5
    net = CLUB(hidden=64, steps=600, batch=512, lr=5e-3).fit(x, y)
    assert log_likelihood(curve, fresh, target) > log_likelihood(net, fresh, target) - 0.1
    assert Gaussian(features=9, seed=1).fit(x, y).digest != Gaussian(features=9, seed=2).fit(x, y).digest


def test_few_rows_do_not_look_certain() -> None:
    """The residuals of 40 rows on 30 features are small; what is left of their freedom is, too."""
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(2, 40, 30))
    _, logvar = Gaussian(ridge=1e-3).fit(x, y).moments(x)
    assert np.exp(logvar[0]).mean() == pytest.approx(1.0, rel=0.3)


def test_saved_and_loaded(tmp_path: Path) -> None:
    x, y = gaussian(100, 3, 0.5, 5)
    for critic in (Gaussian(), Gaussian(features=7, ridge=2.0, seed=3)):
        critic.fit(x, y).save(tmp_path / "critic.safetensors")
        back = Gaussian.load(tmp_path / "critic.safetensors")
        assert back.digest == critic.digest and back.features == critic.features
        assert back.estimate(x, y) == critic.estimate(x, y)


def test_wrong_arguments() -> None:
    x, y = gaussian(30, 3, 0.5, 6)
    critic = Gaussian().fit(x, y)
    with pytest.raises(ValueError, match="not trained"):
        Gaussian().estimate(x, y)
    with pytest.raises(ValueError, match="x has 2 columns"):
        critic.estimate(x[:, :2], y)
    with pytest.raises(ValueError, match="y has 2 columns"):
        critic.estimate(x, y[:, :2])
    with pytest.raises(ValueError, match="two pairs"):
        Gaussian().fit(x[:1], y[:1])
    constant = Gaussian().fit(np.ones((5, 2)), np.ones((5, 2)))
    assert constant.estimate(np.ones((5, 2)), np.ones((5, 2))) == pytest.approx(0.0, abs=1e-9)
