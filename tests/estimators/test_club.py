"""CLUB against its closed form, the published checkpoint, and Eq. 11 written out."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.estimators import CLUB, ClubSums
from auditor.estimators.sweep import log_likelihood
from auditor.sketch import Floats

REFERENCE = Path(os.environ.get("AUDITOR_REFERENCE", Path(__file__).parents[3] / "shared" / "reference"))
PUBLISHED = REFERENCE / "llavabench" / "CLUB_global.pt"
published = pytest.mark.skipif(not PUBLISHED.exists(), reason=f"no published checkpoint at {PUBLISHED}")


def gaussian(n: int, d: int, rho: float, seed: int) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    return x, rho * x + np.sqrt(1 - rho**2) * rng.normal(size=(n, d))


def textbook(mu: Floats, logvar: Floats, y: Floats) -> float:
    """Eq. 11 with the N x N x d array, as the authors compute it."""
    mu, logvar, y = (a.astype(np.float64) for a in (mu, logvar, y))
    positive = -np.square(mu - y) / 2 / np.exp(logvar)
    negative = -(np.square(y[None, :, :] - mu[:, None, :]).mean(axis=1)) / 2 / np.exp(logvar)
    return float((positive.sum(axis=1) - negative.sum(axis=1)).mean())


@pytest.fixture(scope="module")
def small() -> CLUB:
    x, y = gaussian(3000, 3, 0.6, 0)
    return CLUB(hidden=32, steps=400, batch=256, lr=5e-3).fit(x, y)


@pytest.mark.parametrize("rho", [0.3, 0.6, 0.9])
def test_exact_conditional_gives_the_closed_form(rho: float) -> None:
    """d ρ²/(1-ρ²), not the mutual information."""
    d, n = 2, 200_000
    x, y = gaussian(n, d, rho, 1)
    value = ClubSums.from_critic(rho * x, np.full((n, d), np.log(1 - rho**2)), y).value()
    expected = d * rho**2 / (1 - rho**2)
    assert value == pytest.approx(expected, rel=0.03)
    assert value > -d / 2 * np.log(1 - rho**2)


def test_trained_critic_comes_near_the_closed_form(small: CLUB) -> None:
    x, y = gaussian(20_000, 3, 0.6, 2)
    assert small.estimate(x, y) == pytest.approx(3 * 0.36 / 0.64, rel=0.15)
    assert small.estimate(x, np.roll(y, 1, axis=0)) == pytest.approx(0, abs=0.05)


@published
@pytest.mark.parametrize("n", [1, 90])
def test_one_pass_equals_the_textbook_form_on_the_published_checkpoint(n: int) -> None:
    club = CLUB.load(PUBLISHED)
    assert (club.hidden, club.activation) == (250, "tanh")
    rng = np.random.default_rng(0)
    x, y = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in rng.normal(size=(2, n, 768)))
    mu, logvar = club.moments(x)
    assert np.abs(logvar).max() <= 1
    assert club.estimate(x, y) == pytest.approx(textbook(mu, logvar, y), abs=1e-6)


@published
def test_forward_pass_is_that_of_the_published_network() -> None:
    import torch
    from torch import nn

    state = torch.load(PUBLISHED, map_location="cpu", weights_only=True)
    p_mu = nn.Sequential(nn.Linear(768, 250), nn.Tanh(), nn.Linear(250, 768))
    p_logvar = nn.Sequential(nn.Linear(768, 250), nn.Tanh(), nn.Linear(250, 768), nn.Tanh())
    p_mu.load_state_dict({k[5:]: v for k, v in state.items() if k.startswith("p_mu.")})
    p_logvar.load_state_dict({k[9:]: v for k, v in state.items() if k.startswith("p_logvar.")})
    x = torch.randn(20, 768, generator=torch.Generator().manual_seed(0))
    mu, logvar = CLUB.load(PUBLISHED).moments(x.numpy())
    with torch.no_grad():
        np.testing.assert_allclose(mu, p_mu(x).numpy(), atol=1e-5)
        np.testing.assert_allclose(logvar, p_logvar(x).numpy(), atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 4), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_sums_by_block_are_a_monoid_and_equal_the_textbook(n: int, d: int, blocks: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    mu, logvar, y = rng.normal(size=(3, n, d))
    labels = rng.integers(blocks, size=n)
    whole = ClubSums.from_critic(mu, logvar, y, labels, blocks)
    cut = n // 2
    parts = [
        ClubSums.from_critic(mu[s], logvar[s], y[s], labels[s], blocks) for s in (slice(cut), slice(cut, n))
    ]
    expected = textbook(mu, logvar, y)
    for sums in (whole, parts[0].merge(parts[1]), parts[1].merge(parts[0])):
        assert sums.value() == pytest.approx(expected, abs=1e-9)
    for k in range(blocks):
        if (labels == k).any():
            block = textbook(mu[labels == k], logvar[labels == k], y[labels == k])
            assert whole.values()[k] == pytest.approx(block, abs=1e-9)
        else:
            assert np.isnan(whole.values()[k])
    back = ClubSums.from_arrays(whole.to_arrays())
    assert back.value() == whole.value()


def test_integer_weights_are_repetitions(small: CLUB) -> None:
    x, y = gaussian(50, 3, 0.6, 3)
    w = np.random.default_rng(0).integers(0, 4, size=50)
    repeated = small.estimate(np.repeat(x, w, axis=0), np.repeat(y, w, axis=0))
    assert small.sums(x, y, weights=w).value() == pytest.approx(repeated, abs=1e-6)


def test_blocks_add_up_to_the_whole(small: CLUB) -> None:
    x, y = gaussian(200, 3, 0.6, 4)
    sums = small.sums(x, y, blocks=np.arange(200) % 7, n_blocks=60)
    assert sums.y.shape == (60, 3) and sums.n.sum() == 200
    assert sums.value() == pytest.approx(small.estimate(x, y), abs=1e-9)


def test_the_same_call_gives_the_same_bits() -> None:
    x, y = gaussian(300, 2, 0.5, 5)
    a, b = (CLUB(hidden=8, steps=60, batch=64, seed=3).fit(x, y) for _ in range(2))
    assert a.digest == b.digest and a.estimate(x, y) == b.estimate(x, y)
    assert a.digest != CLUB(hidden=8, steps=60, batch=64, seed=4).fit(x, y).digest


def test_saved_and_loaded(small: CLUB, tmp_path: Path) -> None:
    small.save(tmp_path / "critic.safetensors")
    back = CLUB.load(tmp_path / "critic.safetensors")
    assert back.digest == small.digest and back.activation == "tanh"
    assert [f.name for f in tmp_path.iterdir()] == ["critic.safetensors"]
    x, y = gaussian(40, 3, 0.6, 6)
    assert back.estimate(x, y) == small.estimate(x, y)
    relu = CLUB(hidden=4, steps=5, activation="relu").fit(x, y)
    relu.save(tmp_path / "relu.safetensors")
    assert CLUB.load(tmp_path / "relu.safetensors").activation == "relu"
    written = set()
    for _ in range(20):
        small.save(tmp_path / "again.safetensors")
        written.add((tmp_path / "again.safetensors").read_bytes())
    assert len(written) == 1  # names of baselines' critic files are digests of them


def test_early_stopping_holds_groups_out_together() -> None:
    """40 distinct pairs, 25 copies each: judged on copies, fitting noise looks like success."""
    x, y = (np.repeat(z, 25, axis=0) for z in gaussian(40, 5, 0.0, 7))
    groups = np.repeat(np.arange(40), 25)
    fresh = gaussian(4000, 5, 0.0, 8)
    make = partial(CLUB, hidden=64, steps=600, batch=256, lr=5e-3, start="random")
    honest, fooled = make().fit(x, y, groups=groups), make().fit(x, y, groups=np.arange(1000))
    assert make().fit(x, y).digest == honest.digest  # copies of a pair are a group by default
    assert honest.estimate(x, y) < 0.5 * fooled.estimate(x, y)
    assert abs(honest.estimate(*fresh)) < 0.2


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_the_ridge_start_is_near_the_best_likelihood_before_any_step(activation: str, tmp_path: Path) -> None:
    """y = A x + noise of variance 0.5 with 20 dimensions: the exact conditional's log-likelihood is known."""
    rng = np.random.default_rng(10)
    through = rng.normal(size=(20, 20)) / np.sqrt(20)
    x = rng.normal(size=(6000, 20))
    y = x @ through + np.sqrt(0.5) * rng.normal(size=x.shape)
    critic = CLUB(hidden=64, steps=1, batch=32, activation=activation).fit(x[:4000], y[:4000])  # type: ignore[arg-type]
    best = -0.5 * 20 * (np.log(2 * np.pi * 0.5) + 1)
    assert best - 0.5 < log_likelihood(critic, x[4000:], y[4000:]) < best + 0.3
    trained = CLUB(hidden=64, steps=20, batch=64, activation=activation).fit(x[:4000], y[:4000])  # type: ignore[arg-type]
    trained.save(tmp_path / "critic.safetensors")
    back = CLUB.load(tmp_path / "critic.safetensors")
    assert back.digest == trained.digest and back.estimate(x, y) == trained.estimate(x, y)


def test_copies_of_pairs_are_no_evidence() -> None:
    x, y = (np.repeat(z, 20, axis=0) for z in gaussian(20, 5, 0.0, 11))
    assert abs(CLUB(hidden=32, steps=100).fit(x, y).estimate(x, y)) < 0.5


def test_wrong_arguments(small: CLUB, tmp_path: Path) -> None:
    x, y = gaussian(30, 3, 0.5, 9)
    with pytest.raises(ValueError, match="not trained"):
        CLUB().estimate(x, y)
    with pytest.raises(ValueError, match="30 rows of x and 29 of y"):
        small.estimate(x, y[:29])
    with pytest.raises(ValueError, match="x has 2 columns"):
        small.estimate(x[:, :2], y)
    with pytest.raises(ValueError, match="y has 2 columns"):
        small.estimate(x, y[:, :2])
    with pytest.raises(ValueError, match=r"labels in 0\.\.4"):
        small.sums(x, y, blocks=np.arange(30), n_blocks=5)
    with pytest.raises(ValueError, match="weights"):
        small.sums(x, y, weights=-np.ones(30))
    with pytest.raises(ValueError, match="no rows"):
        small.estimate(x[:0], y[:0])
    with pytest.raises(ValueError, match="at least 8 different pairs, not 1"):
        CLUB().fit(x[:1], y[:1])
    from safetensors.numpy import save_file

    save_file({"p_mu.0.weight": np.zeros((2, 2), dtype=np.float32)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="not a CLUB critic"):
        CLUB.load(tmp_path / "other.safetensors")
