"""Sums of InfoNCE, NWJ and MINE: the bound itself where all rows are kept, mergeable, and close where not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.emi import block_weights
from auditor.estimators import MINE, NWJ, InfoNCE, load_critic, pair_sums, read_sums
from auditor.estimators.pair_sums import PairSums
from auditor.estimators.registry import CRITICS
from auditor.estimators.separable import SeparableEstimator
from auditor.sketch import Floats

KINDS = (InfoNCE, NWJ, MINE)
MARK = "a1" * 32


def certain(n: int) -> np.ndarray:
    """f = g of n rows, each like no other: the critic is sure of every pair."""
    f = np.random.default_rng(0).normal(size=(n, 64))
    return (30 * f / np.linalg.norm(f, axis=1, keepdims=True)).astype(np.float32)


def sums_of(kind: type[SeparableEstimator]) -> Any:
    return CRITICS.find(kind.kind).sums


def vectors(n: int, k: int, seed: int, strength: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """f and g of n rows, those of a row alike."""
    rng = np.random.default_rng(seed)
    f = rng.normal(size=(n, k))
    return f.astype(np.float32), (strength * f + rng.normal(size=(n, k))).astype(np.float32)


def summed(
    kind: type[SeparableEstimator],
    f: np.ndarray,
    g: np.ndarray,
    blocks: np.ndarray,
    n_blocks: int,
    candidates: int = 10**6,
) -> PairSums:
    """The vectors stand for the rows' contents, too."""
    made: PairSums = sums_of(kind).from_rows(f, g, f, g, blocks, n_blocks, critic=MARK, candidates=candidates)
    return made


def bound(kind: type[SeparableEstimator], f: np.ndarray, g: np.ndarray) -> float:
    """As the estimator is trained on it: one batch of all pairs."""
    return float(kind.bound(torch.from_numpy(f.astype(np.float64) @ g.T.astype(np.float64))))


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None)
@given(st.integers(2, 40), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_complete_sums_are_the_bound_and_merge_in_any_order(
    kind: type[SeparableEstimator], n: int, blocks: int, seed: int
) -> None:
    f, g = vectors(n, 3, seed)
    labels = np.random.default_rng(seed).integers(blocks, size=n)
    parts = [summed(kind, f[i::3], g[i::3], labels[i::3], blocks) for i in range(3)]
    expected = bound(kind, f, g)
    for order in ((0, 1, 2), (2, 0, 1), (1, 2, 0)):
        total = parts[order[0]].merge(parts[order[1]]).merge(parts[order[2]])
        assert total.complete and total.value() == pytest.approx(expected, abs=1e-9)
    whole = summed(kind, f, g, labels, blocks)
    for k, value in enumerate(whole.values()):
        own = labels == k
        if own.sum() > 1:
            assert value == pytest.approx(bound(kind, f[own], g[own]), abs=1e-9)
        else:
            assert np.isnan(value) if not own.any() else abs(value) < 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_the_estimate_is_the_sums_value(kind: type[SeparableEstimator]) -> None:
    x, y = vectors(300, 4, 0)
    critic = kind(hidden=16, steps=20, batch=512).fit(x, y)
    blocks = np.arange(300) * 7 % 60
    f, g = critic._vectors(x, y)
    assert critic.sums(x, y, blocks).value() == pytest.approx(critic.estimate(x, y), abs=1e-6)
    assert critic.estimate(x, y) == pytest.approx(bound(kind, f, g), abs=1e-6)
    order = np.random.default_rng(0).permutation(300)
    assert critic.estimate(x[order], y[order]) == pytest.approx(critic.estimate(x, y), abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_stands_for_all_rows_and_does_not_depend_on_who_took_it(
    kind: type[SeparableEstimator], monkeypatch: pytest.MonkeyPatch
) -> None:
    f, g = (0.5 * z for z in vectors(3000, 4, 1))
    blocks = np.random.default_rng(1).integers(10, size=3000)
    whole = summed(kind, f, g, blocks, 10, candidates=256)
    monkeypatch.setattr(pair_sums, "KEPT_ROWS", 1000)
    few = summed(kind, f, g, blocks, 10, candidates=256)
    assert not few.complete and len(few.f) == 1000 and few.n.sum() == 3000
    assert few.value() == pytest.approx(whole.value(), abs=0.1)
    parts = [summed(kind, f[i::4], g[i::4], blocks[i::4], 10, candidates=256) for i in range(4)]
    merged = parts[3].merge(parts[1]).merge(parts[0].merge(parts[2]))
    assert np.array_equal(merged.hashes, few.hashes) and np.array_equal(merged.f, few.f)
    assert merged.value() == pytest.approx(few.value(), abs=1e-9)


def test_infonce_compares_with_as_many_as_are_asked_for() -> None:
    f = certain(400)
    for candidates in (2, 16, 400, 10**6):
        value = summed(InfoNCE, f, f, np.zeros(400, dtype=int), 1, candidates).value()
        assert value == pytest.approx(np.log(min(candidates, 400)), abs=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_bootstrap_of_blocks_is_one_of_rows_but_for_copies(kind: type[SeparableEstimator]) -> None:
    f, g = (0.5 * z for z in vectors(600, 4, 3))
    blocks = np.arange(600) % 60
    sums = summed(kind, f, g, blocks, 60)
    some = np.zeros((1, 60))
    some[0, ::2] = 1.0
    kept = blocks % 2 == 0
    assert sums.reweighted(some).values()[0] == pytest.approx(bound(kind, f[kept], g[kept]), abs=1e-9)
    draws = block_weights(sums.n > 0, 200, np.random.default_rng(0))
    drawn = sums.reweighted(draws).values()
    assert np.isfinite(drawn).all() and abs(drawn.mean() - sums.value()) < 0.5 * drawn.std()
    assert np.isnan(sums.reweighted(np.zeros((1, 60))).values()).all()


def test_a_row_and_its_copy_are_no_false_pair() -> None:
    f = certain(600)
    sums = summed(InfoNCE, f, f, np.arange(600) % 60, 60, 256)
    draws = block_weights(sums.n > 0, 200, np.random.default_rng(0))
    assert np.abs(sums.reweighted(draws).values() - np.log(256)).max() < 1e-3  # log 128 with copies


@pytest.mark.parametrize("kind", KINDS)
def test_two_critics_rows_are_not_paired(kind: type[SeparableEstimator]) -> None:
    f, g = vectors(90, 3, 4)
    blocks = np.arange(90) % 6
    one = summed(kind, f, g, blocks, 6)
    halves = []
    for half, mark in enumerate(("b2" * 32, "c3" * 32)):
        own = blocks % 2 == half
        part = sums_of(kind).from_rows(
            f[own], g[own], f[own], g[own], blocks[own], 6, critic=mark, candidates=10**6
        )
        halves.append(part)
    expected = np.mean([bound(kind, f[blocks % 2 == half], g[blocks % 2 == half]) for half in (0, 1)])
    assert halves[1].merge(halves[0]).value() == pytest.approx(expected, abs=1e-9)
    with pytest.raises(ValueError, match="two critics scored one block"):
        one.merge(halves[0])


@pytest.mark.parametrize("kind", KINDS)
def test_scores_that_would_overflow(kind: type[SeparableEstimator]) -> None:
    f, g = vectors(50, 3, 5)
    value = summed(kind, 100 * f, 100 * g, np.arange(50) % 5, 5).value()
    assert np.isfinite(value) or (kind is NWJ and value == -np.inf)


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded(kind: type[SeparableEstimator], tmp_path: Path) -> None:
    x, y = vectors(60, 3, 6)
    critic = kind(hidden=8, steps=5, batch=32).fit(x, y)
    critic.save(tmp_path / "a.safetensors")
    back = load_critic(tmp_path / "a.safetensors")
    assert isinstance(back, kind) and back.digest == critic.digest
    assert back.estimate(x, y) == critic.estimate(x, y)
    other = next(k for k in KINDS if k is not kind)
    with pytest.raises(ValueError, match=f"of the kind {kind.kind}, not {other.kind}"):
        other.load(tmp_path / "a.safetensors")


def test_arrays_that_are_not_theirs() -> None:
    f, g = vectors(20, 3, 7)
    sums = summed(MINE, f, g, np.arange(20) % 4, 4)
    arrays = sums.to_arrays()
    back = read_sums(arrays)
    assert type(back) is type(sums) and back.value() == sums.value()
    wrong: dict[str, Any] = {
        "f": f[:19],
        "g": np.full_like(g, np.nan),
        "block": np.full(20, 9),
        "n": np.full(4, 7.0),
        "t": np.zeros(5),
        "critic": np.zeros(4, dtype=np.uint64),
        "hashes": np.zeros(3, dtype=np.uint64),
    }
    for name, array in wrong.items():
        with pytest.raises(ValueError, match="not sums of pairs"):
            read_sums(arrays | {name: array})
    with pytest.raises(ValueError, match="different kinds or sizes"):
        sums.merge(summed(NWJ, f, g, np.arange(20) % 4, 4))
    with pytest.raises(ValueError, match="no rows"):
        summed(MINE, f[:0], g[:0], np.arange(0), 4).value()


def test_they_stay_small() -> None:
    n = 20_000
    f: Floats = np.random.default_rng(8).normal(size=(n, 4)).astype(np.float32)
    sums = summed(NWJ, f, f, np.arange(n) % 60, 60)
    assert len(sums.f) == 60 * (4096 // 60) and sums.n.sum() == n
