"""Drift tests: calibrated, with power, paired where it pays, and silent where rows are few."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from auditor.divergences import mmd, rjsd
from auditor.significance import benjamini_hochberg, drift_test, holm
from auditor.significance.jackknife import jackknife
from auditor.significance.permutation import (
    LEAST_P,
    aggregated_p_value,
    block_plan,
    fitted_tail,
    linear_gram,
    log_choices,
    paired_test,
    permuted_labels,
    quadratic_gram,
    unpaired_grams,
    unpaired_statistics,
    unpaired_test,
)
from auditor.significance.resampling import Pairs, ReferenceRows, RjsdResampler
from auditor.sketch import Float
from auditor.sketch.blocks import Index, group_shares, jackknife_groups


def unit(z: Float) -> Float:
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def rows(n: int, d: int, rng: np.random.Generator, mean: float = 0.0) -> Float:
    return unit(rng.normal(size=(n, d)) * np.arange(1, d + 1) ** -0.5 + mean * np.eye(d)[0])


# The p-value


@pytest.mark.parametrize(("n", "m", "paired"), [(30, 30, False), (60, 25, False), (40, 40, True)])
def test_p_values_are_calibrated(n: int, m: int, paired: bool) -> None:
    """200 nulls: false alarms at 5% inside the exact binomial 99.9% interval."""
    rng = np.random.default_rng(n + m)
    p_values = []
    for _ in range(200):
        p, q = rows(n, 8, rng, 0.5), rows(m, 8, rng, 0.5)
        if paired:  # exchangeable members of a pair that resemble each other
            base = rows(n, 8, rng)
            p, q = unit(base + 0.3 * p), unit(base + 0.3 * q)
        test = paired_test(p, q, 199, rng) if paired else unpaired_test(p, q, 199, rng)
        p_values.append(test.p_value)
    low, high = binom.interval(0.999, 200, 0.05)
    assert low <= np.sum(np.array(p_values) <= 0.05) <= high
    assert 0.4 < np.mean(p_values) < 0.6


def test_blocks_of_several_rows_are_calibrated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auditor.significance.permutation.MOST_BLOCKS", 60)
    rng = np.random.default_rng(1)
    assert block_plan(203, 101)[0] == 5
    p_values = [unpaired_test(rows(203, 8, rng), rows(101, 8, rng), 199, rng).p_value for _ in range(200)]
    low, high = binom.interval(0.999, 200, 0.05)
    assert low <= np.sum(np.array(p_values) <= 0.05) <= high


@pytest.mark.parametrize("kind", ["mean", "covariance", "contamination"])
def test_power(kind: str) -> None:
    rng = np.random.default_rng(2)
    hits = 0
    for seed in range(10):
        p, q = rows(300, 16, rng), rows(150, 16, rng)
        if kind == "mean":
            q = rows(150, 16, rng, 0.5)
        elif kind == "covariance":
            q = unit(rng.normal(size=(150, 16)))
        else:
            q[:30] = unit(np.eye(16)[9] * 8 + rng.normal(size=(30, 16)))
        hits += unpaired_test(p, q, 499, np.random.default_rng(seed)).p_value <= 0.05
    assert hits >= 8


def test_pairs_find_what_unpaired_rows_do_not() -> None:
    rng = np.random.default_rng(3)
    p = rows(90, 256, rng, 0.3)
    q = unit(p + 0.004 * rng.normal(size=p.shape) + 0.01 * np.eye(256)[5])
    paired, apart = drift_test(p, q, paired=True), drift_test(p, q)
    assert paired.p_value is not None and paired.p_value <= 0.01
    assert apart.p_value is not None and apart.p_value > 0.2
    assert apart.excess is not None
    assert apart.excess < -0.1  # the very reason for pairing: the null of unpaired copies is far off
    noisy = drift_test(p, unit(p + 0.02 * rng.normal(size=p.shape)), paired=True)
    assert noisy.excess is not None and noisy.null_std is not None
    assert noisy.excess > 3 * noisy.null_std


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("n", "m", "each"), [(400, 40, 1), (90, 70, 1), (200, 100, 4)])
def test_one_row_again_and_again_is_no_shift(n: int, m: int, each: int, seed: int) -> None:
    """A day of one picture beside days of the same picture: nothing but rounding differs."""
    row = rows(1, 96, np.random.default_rng(seed))
    groups = {"groups_p": np.arange(n) // each, "groups_q": np.arange(m) // each}
    assert drift_test(np.repeat(row, n, axis=0), np.repeat(row, m, axis=0), **groups).p_value == 1


@pytest.mark.parametrize("n", [2, 3, 90, 1100])
def test_an_identical_copy_is_no_shift(n: int) -> None:
    p = rows(n, 32, np.random.default_rng(4)).astype(np.float32)
    got = drift_test(p, p.copy(), paired=True)
    assert got.p_value == 1 and got.mmd2 == 0
    assert got.excess == pytest.approx(0, abs=1e-12) and got.value == pytest.approx(0, abs=1e-12)


def test_p_value_is_never_0_and_ties_count() -> None:
    """Two rows a side: a third of the deals repeat the observed one, so p is at least a third."""
    e = np.eye(4)
    assert unpaired_test(e[[0, 0]], e[[1, 1]], 2000, np.random.default_rng(0)).p_value > 0.3
    far = drift_test(np.repeat(e[:1], 50, axis=0), np.repeat(e[1:2], 50, axis=0))
    assert far.p_value == pytest.approx(LEAST_P)  # beyond all draws
    assert far.value == pytest.approx(np.log(2))


def test_aggregation_is_a_valid_rank() -> None:
    draws = np.random.default_rng(5).normal(size=(2, 400))
    p = [aggregated_p_value(np.roll(draws, s, axis=1)) for s in range(400)]
    for level in (0.05, 0.3, 0.8):  # over all 400 positions the p-value is super-uniform, exactly
        assert np.mean(np.array(p) <= level) <= level + 1e-12
    assert aggregated_p_value(np.zeros((2, 50))) == 1


def test_statistics_that_agree_say_more_than_the_smallest_alone() -> None:
    draws = np.random.default_rng(5).normal(size=(3, 1000))
    draws[0, 0], draws[1:, 0] = 2.5, 0.0
    one = aggregated_p_value(draws)
    draws[1:, 0] = 2.4
    assert aggregated_p_value(draws) < one / 2


@pytest.mark.parametrize(("k", "b", "d"), [(12, 1, 5), (6, 3, 5), (3, 40, 4)])
def test_block_grams_are_inner_products_of_block_sums(k: int, b: int, d: int) -> None:
    z = np.random.default_rng(6).normal(size=(k * b, d))
    blocks = z.reshape(k, b, d)
    linear = np.array([x.sum(axis=0) for x in blocks])
    quadratic = np.array([(x.T @ x).ravel() for x in blocks])
    got = linear_gram(z, z, b), quadratic_gram(z, b)
    np.testing.assert_allclose(got[0].gram, linear @ linear.T, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(got[1].gram, quadratic @ quadratic.T, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(got[1].norms, [sum((r @ r) ** 2 for r in x) for x in blocks])
    whitened = unpaired_grams(z, b)[2]
    c = np.cov(z.T, bias=True)
    ridge = 2.0 ** np.round(np.log2(len(z) * np.trace(c) / d)) / len(z)  # the power of two next to the mean
    metric = np.linalg.inv(c + ridge * np.eye(d))
    sums = (blocks - z.mean(axis=0)).sum(axis=1)
    np.testing.assert_allclose(whitened.gram, sums @ metric @ sums.T, rtol=1e-9, atol=1e-9)


def test_a_shift_where_rows_hardly_vary_is_found() -> None:
    """A mean moved in a direction of little variance: plain kernels hardly see it (p of 0.05 to 0.5)."""
    rng = np.random.default_rng(8)
    scale = np.arange(1, 65) ** -0.5
    p, q = (rng.normal(size=(n, 64)) * scale for n in (300, 150))
    q[:, 60] += 0.15
    assert unpaired_test(p, q, 999, rng).p_value <= 0.01
    pairs = p[:150] + rng.normal(size=(150, 64)) * scale
    pairs[:, 60] += 0.15
    assert paired_test(p[:150], pairs, 999, rng).p_value <= 0.01


def test_equal_rows_everywhere_are_no_shift() -> None:
    row = unit(np.random.default_rng(9).normal(size=(1, 33)))
    p, q = (np.repeat(row, n, axis=0) for n in (70, 50))
    assert unpaired_test(p, q, 199, np.random.default_rng(0)).p_value == 1


@pytest.mark.parametrize("blocks", [None, np.repeat([4, 1, 7], [3, 10, 2])])
@pytest.mark.parametrize("d", [2, 40])
def test_paired_mmd_is_the_u_statistic_of_pairs(blocks: np.ndarray | None, d: int) -> None:
    rng = np.random.default_rng(7)
    p, q = rng.normal(size=(15, d)), rng.normal(size=(15, d))
    f = [np.outer(a, a) - np.outer(b, b) for a, b in zip(p, q, strict=True)]
    brute = sum((f[i] * f[j]).sum() for i in range(15) for j in range(15) if i != j) / (15 * 14)
    assert paired_test(p, q, 50, rng, blocks).mmd2 == pytest.approx(brute, rel=1e-4)


def test_block_plan() -> None:
    assert block_plan(300, 200) == (1, 300, 200)
    assert block_plan(1000, 333) == (3, 333, 111)
    for n, m in ((10_000, 2_000), (10_000, 30), (2, 50_000), (10_000, 10_000), (5_000, 250)):
        b, k_p, k_q = block_plan(n, m)
        assert b * k_p <= n and b * k_q <= m and k_p + k_q <= 500
        assert min(k_p, k_q) >= min(20, n, m)


def test_a_tail_is_carried_on() -> None:
    """Of 300,000 permutations one in 10,000 is beyond the observed one: 2,000 of them say so, a few times too
    cautiously; where steps stand in the place of a tail, or draws are few, nothing is said."""
    rng = np.random.default_rng(10)
    z = rng.normal(size=(160, 8))
    labels = permuted_labels(120, 40, 300_000, rng)[1:]
    for draws in unpaired_statistics(unpaired_grams(z, 1), labels):
        observed = np.sort(draws)[-30]
        found = [fitted_tail(np.append(observed, rng.choice(draws, 2000))) for _ in range(30)]
        said = [p for p in found if p is not None]
        assert len(said) > 20
        assert 1e-4 < np.median(said) < 3e-3 and min(said) > 3e-5
    steps = np.floor(rng.exponential(size=2000) ** 3)
    assert fitted_tail(np.append(steps.max() + 1, steps)) is None
    assert fitted_tail(np.append(50.0, rng.exponential(size=500))) is None
    assert fitted_tail(np.append(1.0, rng.exponential(size=2000))) is None
    assert fitted_tail(np.append(1.0, np.zeros(2000))) is None


def test_so_few_units_tell_no_more_than_their_labellings() -> None:
    """Twelve pairs all moved the same way: 2 of 4,096 flips are as far, whatever a tail says."""
    p = rows(12, 4, np.random.default_rng(11))
    test = drift_test(p, p + 0.5, paired=True)
    assert test.p_value is not None and test.p_value >= 2 / 4096
    assert log_choices(3, 3) == pytest.approx(np.log(10)) and log_choices(2, 3) == pytest.approx(np.log(10))


# Some rows with their copies on the other side


def partly(n: int, m: int, s: int, rng: np.random.Generator) -> tuple[Float, Float, tuple[Index, Index]]:
    """Rows of one law, s of them resembling each other in pairs, in any order on either side."""
    p, q = rows(n, 8, rng), rows(m, 8, rng)
    at_p, at_q = rng.permutation(n)[:s], rng.permutation(m)[:s]
    base = rows(s, 8, rng)
    p[at_p], q[at_q] = unit(base + 0.3 * p[at_p]), unit(base + 0.3 * q[at_q])
    return p, q, (at_p, at_q)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_partly_paired_rows_are_calibrated(share: float) -> None:
    """200 nulls: false alarms at 5% inside the exact binomial 99.9% interval, and no excess."""
    rng = np.random.default_rng(int(100 * share))
    p_values, excess = [], []
    for seed in range(200):
        p, q, shared = partly(80, 60, int(60 * share), rng)
        test = drift_test(p, q, seed, shared=shared, permutations=199, null_draws=2)
        p_values.append(test.p_value)
        excess.append(test.excess)
    low, high = binom.interval(0.999, 200, 0.05)
    assert low <= np.sum(np.array(p_values) <= 0.05) <= high
    assert abs(np.mean(excess)) < 4 * np.std(excess) / np.sqrt(200)


@pytest.mark.parametrize("new", [1, 99])
def test_replays_do_not_hide_new_rows(new: int) -> None:
    """101 replayed rows, and 99 others far away: found; one new row alone is too few to tell."""
    rng = np.random.default_rng(12)
    p = rows(200, 16, rng)
    q = np.concatenate([p[:101], unit(np.eye(16)[9] * 8 + rng.normal(size=(new, 16)))])
    shared = np.arange(101), np.arange(101)
    test = drift_test(p, q, shared=shared)
    assert test.p_value is not None and test.excess is not None and test.copies == 101
    assert (test.p_value <= 1e-3 and test.excess > 0.1) if new == 99 else test.p_value == 1


def test_new_rows_do_not_hide_moved_copies() -> None:
    rng = np.random.default_rng(13)
    p = rows(200, 64, rng)
    q = np.concatenate([unit(p[:100] + 0.02 * np.eye(64)[5]), rows(100, 64, rng)])
    shared = np.arange(100), np.arange(100)
    apart, together = drift_test(p, q), drift_test(p, q, shared=shared)
    assert together.p_value is not None and together.p_value <= 1e-3
    assert apart.p_value is not None and apart.p_value > 0.2


def test_all_rows_shared_in_another_order_are_pairs() -> None:
    rng = np.random.default_rng(14)
    p = rows(120, 4, rng)
    q = unit(p + 0.1 * rng.normal(size=p.shape))
    order = rng.permutation(120)
    straight, shuffled = (
        drift_test(p, q, paired=True),
        drift_test(p, q[order], shared=(order, np.arange(120))),
    )
    for name in ("value", "mmd2"):
        assert getattr(shuffled, name) == pytest.approx(getattr(straight, name), rel=1e-6, abs=1e-9)
    assert straight.interval is not None and shuffled.interval is not None
    np.testing.assert_allclose(shuffled.interval, straight.interval, atol=0.3 * np.ptp(straight.interval))
    for bad in (
        (order[:3], order[:2]),
        (np.array([0, 0]), np.array([1, 2])),
        (np.array([0]), np.array([120])),
    ):
        with pytest.raises(ValueError, match="each once"):
            drift_test(p, q, shared=bad)


# RJSD: excess and corrected


def test_value_and_mmd_are_those_of_the_divergences() -> None:
    rng = np.random.default_rng(8)
    for n, m, d in ((30, 40, 100), (100, 60, 100), (300, 200, 12)):
        p, q = rows(n, d, rng), rows(m, d, rng, 0.4)
        got = drift_test(p, q, permutations=50, null_draws=2)
        assert got.value == pytest.approx(rjsd(p, q), abs=1e-9)
        assert got.mmd2 == pytest.approx(mmd(p, q), abs=1e-12)
        pooled = (p.T @ p / n + q.T @ q / m) / 2
        lam = np.linalg.eigvalsh(pooled)
        lam = lam[lam > 0]
        assert got.effective_rank == pytest.approx(np.exp(-(lam * np.log(lam)).sum()), rel=1e-9)


@pytest.mark.parametrize(("n", "m", "d"), [(20, 20, 100), (60, 30, 40), (100, 100, 10)])
@pytest.mark.parametrize("paired", [False, True])
def test_null_is_rjsd_of_exchanged_rows(n: int, m: int, d: int, paired: bool) -> None:
    """The short cuts (isometry, sums kept, mixture kept) change nothing."""
    if paired:
        m = n
    rng = np.random.default_rng(9)
    p, q = rows(n, d, rng), rows(m, d, rng, 0.4)
    got = RjsdResampler(p, q, Pairs.all(len(p)) if paired else None).null(3, np.random.default_rng(1))
    again = np.random.default_rng(1)
    for value in got:
        if paired:
            swap = again.integers(2, size=n).astype(bool)[:, None]
            a, b = np.where(swap, q, p), np.where(swap, p, q)
        else:
            z = np.concatenate([p, q])[again.permutation(n + m)]
            a, b = z[:n], z[n:]
        assert value == pytest.approx(rjsd(a, b), abs=1e-9)


@pytest.mark.parametrize(("n", "m", "d"), [(30, 30, 64), (90, 90, 256), (300, 100, 64)])
def test_excess_is_0_without_a_shift(n: int, m: int, d: int) -> None:
    rng = np.random.default_rng(10)
    excess = []
    for seed in range(12):
        got = drift_test(rows(n, d, rng, 0.3), rows(m, d, rng, 0.3), seed, permutations=20)
        assert got.excess is not None and got.value is not None
        excess.append(got.excess)
        assert got.value > 0.04  # the raw value is anything but 0
    assert abs(np.mean(excess)) < 0.004


def test_jackknife_is_the_textbook_one() -> None:
    """Equal groups: g·D - (g-1)·mean on each side."""
    rng = np.random.default_rng(11)
    p, q = rows(60, 6, rng), rows(40, 6, rng, 0.5)
    groups_p, groups_q = np.arange(60) % 20, np.arange(40) % 20
    value = rjsd(p, q)
    left_p = np.array([rjsd(p[groups_p != g], q) for g in range(20)])
    left_q = np.array([rjsd(p, q[groups_q != g]) for g in range(20)])
    expected = value - 19 * (left_p.mean() - value) - 19 * (left_q.mean() - value)
    variance = sum(19 / 20 * np.square(left - left.mean()).sum() for left in (left_p, left_q))
    left = RjsdResampler(p, q).left(groups_p, groups_q)
    shares = group_shares(groups_p, groups_q, paired=False)
    corrected, _, low, high = jackknife(left, shares, 0.9)
    assert corrected == pytest.approx(expected, abs=1e-10)
    assert (high - low) / 2 == pytest.approx(1.7291328 * np.sqrt(variance), rel=1e-6)


def test_without_a_shift_the_interval_holds_zero_about_as_often_as_it_says() -> None:
    """A jackknife alone held it in 98% here."""
    rng = np.random.default_rng(13)
    held = []
    for seed in range(250):
        low, high = drift_test(rows(150, 12, rng), rows(150, 12, rng), seed, permutations=1).interval or (
            1,
            0,
        )
        held.append(low <= 0 <= high)
    assert 0.84 <= np.mean(held) <= 0.95


def test_corrected_finds_the_large_sample_value_and_covers() -> None:
    rng = np.random.default_rng(12)
    truth = rjsd(rows(200_000, 12, rng), rows(200_000, 12, rng, 0.6))
    found = [
        drift_test(rows(250, 12, rng), rows(250, 12, rng, 0.6), permutations=1, null_draws=2)
        for _ in range(60)
    ]
    corrected = np.array([f.corrected for f in found], dtype=float)
    raw = np.array([f.value for f in found], dtype=float)
    assert abs(corrected.mean() - truth) < 4 * corrected.std() / np.sqrt(60)
    assert raw.mean() - truth > 5 * abs(corrected.mean() - truth)
    covered = np.mean([f.interval is not None and f.interval[0] <= truth <= f.interval[1] for f in found])
    assert 0.78 <= covered <= 0.99  # nominal 90%


def test_corrected_is_silent_where_rows_are_few() -> None:
    rng = np.random.default_rng(13)
    got = drift_test(rows(90, 256, rng), rows(90, 256, rng))
    assert (got.corrected, got.interval, got.reason) == (None, None, "too few rows")
    assert got.excess is not None and got.p_value is not None
    # One dominant direction: effective rank about 1, but the entropy's bias sits in the tail.
    dominant = drift_test(rows(90, 256, rng, 15.0), rows(90, 256, rng, 15.0))
    assert dominant.effective_rank is not None and dominant.effective_rank < 2
    assert dominant.corrected is None
    assert drift_test(rows(39, 3, rng), rows(400, 3, rng)).reason == "too few rows"
    assert drift_test(rows(300, 3, rng), rows(400, 3, rng)).reason is None


def test_the_interval_reaches_the_excess_where_a_long_tail_keeps_its_bias() -> None:
    """Variances j^-2 in 768 dimensions: rows enough for every rank, yet corrected is twice the truth."""
    rng = np.random.default_rng(14)

    def tail(n: int, moved: float) -> np.ndarray:
        z = (rng.standard_normal((n, 768)) + moved) / np.arange(1, 769)
        return z / np.linalg.norm(z, axis=1, keepdims=True)

    got = drift_test(tail(300, 0.0), tail(300, 0.3), permutations=1)
    assert got.effective_rank is not None and got.effective_rank < 12
    assert got.corrected is not None and got.corrected > 0.007 and got.interval is not None
    assert got.excess is not None and got.interval[0] < got.excess < 0.0052 < got.interval[1]


@pytest.mark.parametrize(("n", "m"), [(0, 50), (1, 50), (50, 1)])
def test_fewer_than_two_rows_say_nothing(n: int, m: int) -> None:
    got = drift_test(np.ones((n, 3)), np.ones((m, 3)))
    assert (got.n_p, got.n_q, got.reason) == (n, m, "too few rows")
    assert got.value is got.excess is got.p_value is got.mmd2 is got.corrected is None


def test_the_same_seed_gives_the_same_bits() -> None:
    rng = np.random.default_rng(14)
    p, q = rows(200, 8, rng), rows(150, 8, rng)
    assert drift_test(p, q, seed=3) == drift_test(p.copy(), q.copy(), seed=3)
    assert drift_test(p, q, seed=3) != drift_test(p, q, seed=4)
    assert drift_test(p[:150], q, seed=3, paired=True) == drift_test(p[:150], q, seed=3, paired=True)


def test_hash_blocks_keep_copies_together() -> None:
    """Each row four times over: with the blocks the interval is not fooled into four times the rows."""
    rng = np.random.default_rng(15)
    p, q = rows(200, 6, rng), rows(200, 6, rng, 0.5)
    copies, blocks = np.repeat(np.arange(200), 4), np.repeat(rng.integers(60, size=200), 4)
    naive = drift_test(p[copies], q[copies], permutations=9)
    honest = drift_test(p[copies], q[copies], permutations=9, blocks_p=blocks, blocks_q=blocks)
    assert naive.interval is not None and honest.interval is not None
    assert honest.interval[1] - honest.interval[0] > 1.4 * (naive.interval[1] - naive.interval[0])
    swapped = drift_test(p[copies], p[copies], paired=True, blocks_p=blocks)
    assert swapped.p_value == 1


def test_wrong_arguments() -> None:
    z = np.ones((5, 3))
    with pytest.raises(ValueError, match="aligned: 5 rows of p, 4 of q"):
        drift_test(z, z[:4], paired=True)
    with pytest.raises(ValueError, match="dimension 3, q has 2"):
        drift_test(z, z[:, :2])
    with pytest.raises(ValueError, match="two null draws"):
        drift_test(z, z, null_draws=1)


# Many p-values


def test_holm_and_benjamini_hochberg() -> None:
    p = [0.01, 0.04, 0.03, 0.005]
    assert holm(p) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert benjamini_hochberg(p) == pytest.approx([0.02, 0.04, 0.04, 0.02])
    assert holm([]) == [] and benjamini_hochberg([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        holm([1.2])


# What is fitted on P once


@pytest.mark.parametrize(("n", "m", "d"), [(300, 120, 6), (300, 20, 64), (40, 12, 80), (900, 40, 130)])
def test_rows_fitted_before_change_nothing(n: int, m: int, d: int) -> None:
    """No bit of the p-value and of the null; the value comes another way where Q has few rows."""

    rng = np.random.default_rng(12)
    p, q, blocks_p, blocks_q = rows(n, d, rng), rows(m, d, rng, 0.4), rng.integers(60, size=n), np.arange(m)
    groups = jackknife_groups(n, rng, blocks_p)
    fitted = ReferenceRows.fit(p, groups)
    again = ReferenceRows.from_arrays(fitted.to_arrays(), p)
    plain = drift_test(p, q, seed=3, blocks_p=blocks_p, blocks_q=blocks_q)
    for reference in (fitted, again, ReferenceRows.fit(p)):
        got = drift_test(reference, q, seed=3, blocks_p=blocks_p, blocks_q=blocks_q)
        for name in ("value", "excess", "effective_rank"):
            assert getattr(got, name) == pytest.approx(getattr(plain, name), abs=1e-9, rel=1e-9)
        same = {name: getattr(plain, name) for name in ("value", "excess", "effective_rank")}
        assert replace(got, **same) == plain
    assert (plain.left is not None) == (n == 300 and d == 6)


def test_arrays_that_are_not_of_the_rows_are_refused() -> None:
    rng = np.random.default_rng(13)
    p = rows(50, 4, rng)
    arrays = ReferenceRows.fit(p, np.arange(50) % 5).to_arrays()
    for broken in (
        arrays | {"groups": arrays["groups"][1:]},
        arrays | {"without": arrays["without"][1:]},
        arrays | {"without": arrays["without"] * np.nan},
        arrays | {"names": arrays["names"] + 1},
    ):
        with pytest.raises(ValueError, match="not of"):
            ReferenceRows.from_arrays(broken, p)
    with pytest.raises(ValueError, match="group labels"):
        ReferenceRows.fit(p, np.arange(3))


def test_rows_of_p_itself_are_named() -> None:
    """Rows that P holds too are nearer to it than fresh ones: the excess is far below zero."""
    rng = np.random.default_rng(0)
    p = rng.normal(size=(80, 40))
    assert drift_test(p, p[rng.permutation(80)], permutations=50).inside
    assert not drift_test(p, rng.normal(size=(80, 40)), permutations=50).inside
    assert not drift_test(p, 3 + rng.normal(size=(80, 40)), permutations=50).inside
