"""Cross-fitting: what in-sample estimates get wrong, and that no row meets a critic that saw it."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pytest
from numpy.typing import ArrayLike

from auditor.emi import paired_bootstrap
from auditor.estimators import CLUB, MINE, NWJ, InfoNCE
from auditor.estimators.crossfit import CrossFitted, block_folds, cross_fit, fold_labels, held_out_sums
from auditor.sketch import Floats
from auditor.sketch.blocks import hash_blocks

IDS = [f"q{i}" for i in range(120)]


def small(seed: int) -> CLUB:
    return CLUB(hidden=32, steps=150, batch=128, lr=5e-3, holdout=0, seed=seed)


def independent(n: int, d: int, seed: int) -> tuple[Floats, Floats]:
    x, y = np.random.default_rng(seed).normal(size=(2, n, d))
    return x, y


class Watcher:
    """A critic that remembers what it was trained on, and refuses to be asked about it."""

    kind = "watcher"

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.seen: set[float] = set()
        self.asked: list[float] = []

    def fit(self, x: ArrayLike, y: ArrayLike, groups: ArrayLike | None = None) -> Self:
        self.seen = set(np.asarray(x)[:, 0])
        self.groups = set(np.asarray(groups))
        return self

    def sums(self, x: ArrayLike, y: ArrayLike, blocks: ArrayLike | None = None, n_blocks: int = 60) -> Any:
        rows: list[Any] = list(np.asarray(x)[:, 0])
        assert not self.seen.intersection(rows)
        self.asked += rows
        return Counted(len(rows))


class Counted:
    """Sums whose value is how many rows they are of."""

    def __init__(self, n: int) -> None:
        self.n = n

    def merge(self, other: Counted) -> Counted:
        return Counted(self.n + other.n)

    def value(self) -> float:
        return float(self.n)


def test_every_row_exactly_once_and_by_a_critic_that_saw_no_row_of_its_group() -> None:
    groups = np.random.default_rng(0).integers(40, size=200)
    x = np.arange(200.0)[:, None]
    got = cross_fit(Watcher, x, x, groups, folds=5, seed=1)
    asked = [row for critic in got.critics for row in critic.asked]
    assert sorted(asked) == sorted([*range(200)] * 2)  # by its fold alone, and for the sums of all
    for k, critic in enumerate(got.critics):
        assert critic.seen == set(x[got.fold != k, 0])
        labels = np.unique(groups, return_inverse=True)[1]
        assert critic.groups.isdisjoint(labels[got.fold == k])
        assert critic.seed == 1 + k
    sizes = np.array(got.by_fold)
    assert sizes.sum() == 200 and got.value == pytest.approx(np.square(sizes).sum() / 200)
    assert got.sums.value() == 200


def test_in_sample_is_far_above_zero_where_nothing_is_shared_and_cross_fitted_is_not() -> None:
    x, y = independent(200, 6, 0)
    blocks = np.arange(200) % 60
    in_sample = small(0).fit(x, y).estimate(x, y)
    got = cross_fit(small, x, y, np.arange(200), folds=4, blocks=blocks)
    assert in_sample > 0.5
    assert got.value < 0.2 * in_sample and got.sums.value() < 0.2 * in_sample
    assert got.sums.n.shape == (60,) and got.sums.n.sum() == 200


def test_copies_of_one_record_leak_unless_they_are_one_group() -> None:
    x, y = independent(100, 6, 1)
    x, y = np.tile(x, (4, 1)), np.tile(y, (4, 1))
    leaked = cross_fit(small, x, y, np.arange(400), folds=4)
    held = cross_fit(small, x, y, np.tile(np.arange(100), 4), folds=4)
    assert leaked.value > 1 and held.value < 0.2 * leaked.value


def test_it_keeps_what_is_shared() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(800, 2))
    y = 0.6 * x + 0.8 * rng.normal(size=(800, 2))
    got = cross_fit(small, x, y, np.arange(800), folds=2)
    assert got.value == pytest.approx(2 * 0.36 / 0.64, rel=0.2)


@pytest.mark.parametrize("kind", [InfoNCE, NWJ, MINE])
def test_lower_bounds_by_folds(kind: Any) -> None:
    x, y = independent(160, 4, 3)
    got = cross_fit(
        lambda seed: kind(hidden=32, steps=60, batch=64, lr=5e-3, holdout=0, seed=seed),
        x,
        y,
        np.arange(160),
        folds=2,
    )
    critic = kind(hidden=32, steps=60, batch=64, lr=5e-3, holdout=0).fit(x, y)
    assert len(got.by_fold) == 2 and got.sums.n.shape == (2,)
    assert got.sums.value() == pytest.approx(got.value, abs=1e-9)  # rows of two critics are never paired
    with pytest.raises(ValueError, match="two critics scored one block"):
        held_out_sums(got.critics, got.fold, x, y, np.arange(160) // 2 % 5, 5)
    assert got.value < 0.1 < critic.estimate(x, y)


def test_the_same_seed_gives_the_same_bits() -> None:
    x, y = independent(120, 3, 4)
    one, again, other = (
        cross_fit(lambda s: CLUB(hidden=8, steps=20, batch=32, seed=s), x, y, np.arange(120), folds=3, seed=s)
        for s in (0, 0, 7)
    )
    assert np.array_equal(one.fold, again.fold) and one.by_fold == again.by_fold
    assert [c.digest for c in one.critics] == [c.digest for c in again.critics]
    assert not np.array_equal(one.fold, other.fold)


def test_folds_of_hash_blocks_carry_the_bootstrap_of_emi() -> None:
    """One fold a block, so that a block's sums come from one critic; references by the same critics."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(120, 3))
    answer, reference = 0.5 * x + rng.normal(size=(120, 3)), 0.8 * x + rng.normal(size=(120, 3))
    blocks = hash_blocks(IDS)
    fold = block_folds(blocks, 3)
    pool = [np.concatenate(pair) for pair in ((x, x), (answer, reference), (blocks, blocks), (fold, fold))]
    got = cross_fit(small, pool[0], pool[1], pool[2], fold=pool[3], blocks=pool[2])
    model, ref = (held_out_sums(got.critics, fold, x, y, blocks) for y in (answer, reference))
    both = model.merge(ref)
    assert both.value() == pytest.approx(got.sums.value()) and np.array_equal(both.n, got.sums.n)
    found = paired_bootstrap(model, ref, model, ref, draws=50)
    assert found is not None and found.emi_p.low < found.emi_p.high
    own = fold == 1
    alone = got.critics[1].sums(x[own], answer[own], blocks[own])
    for k in np.unique(blocks[own]):
        assert model.A[k] == pytest.approx(alone.A[k])


def test_a_folded_critic_never_evaluates_a_row_by_the_critic_that_saw_it() -> None:
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(2, 120, 3))
    blocks = hash_blocks(IDS)
    folds = block_folds(blocks, 3)
    critics = tuple(small(k).fit(x[folds != k], y[folds != k]) for k in range(3))
    got = CrossFitted(critics).sums(x, y, blocks)
    for k, critic in enumerate(critics):
        alone = critic.sums(x[folds == k], y[folds == k], blocks[folds == k])
        for block in np.unique(blocks[folds == k]):
            assert got.n[block] == alone.n[block] and got.A[block] == pytest.approx(alone.A[block])
    assert CrossFitted(critics[:1]).sums(x, y, blocks).value() == critics[0].sums(x, y, blocks).value()


def test_moments_of_a_folded_critic_are_each_rows_own() -> None:
    x, y = independent(60, 3, 5)
    critics = tuple(small(seed).fit(x, y) for seed in range(3))
    blocks = hash_blocks(IDS[:60])
    mu, logvar = CrossFitted(critics).moments(x, blocks)
    for row in range(60):
        own = critics[blocks[row] % 3].moments(x[row : row + 1])
        assert mu[row] == pytest.approx(own[0][0], abs=1e-6)
        assert logvar[row] == pytest.approx(own[1][0], abs=1e-6)
    alone = CrossFitted(critics[:1]).moments(x, blocks)
    assert np.array_equal(alone[0], critics[0].moments(x)[0])


def test_folds_hold_groups_together_and_are_even() -> None:
    groups = np.repeat(np.arange(50), 3)
    fold = fold_labels(groups, 4, seed=2)
    assert all(len(set(fold[groups == g])) == 1 for g in range(50))
    sizes = np.bincount(fold)
    assert len(sizes) == 4 and np.ptp(sizes) <= 3
    names = fold_labels([f"g{g}" for g in groups], 4, seed=2)
    assert len(set(names)) == 4


def test_wrong_arguments() -> None:
    x, y = independent(6, 2, 6)
    with pytest.raises(ValueError, match="7 folds of 6 groups"):
        cross_fit(small, x, y, np.arange(6), folds=7)
    with pytest.raises(ValueError, match="two folds: its critic"):
        cross_fit(small, x, y, [0, 0, 1, 1, 2, 2], fold=[0, 1, 0, 0, 1, 1])
    with pytest.raises(ValueError, match="rows in each"):
        cross_fit(small, x, y, np.arange(6), fold=[0, 0, 0, 2, 2, 2])
    with pytest.raises(ValueError, match="group labels"):
        cross_fit(small, x, y, [0, 1])
    with pytest.raises(ValueError, match="two folds"):
        block_folds([0, 1], 1)
    with pytest.raises(ValueError, match=r"0\.\.0"):
        held_out_sums([small(0).fit(*independent(20, 2, 6))], np.array([0, 0, 0, 0, 0, 1]), x, y)
