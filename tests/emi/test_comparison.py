"""Differences between models: exact mirror images, and intervals and tests that hold what they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.emi import emi
from auditor.emi.comparison import Difference, EmiSums, compare, compare_over, non_inferiority
from auditor.estimators import ClubSums
from auditor.significance import benjamini_hochberg, holm
from auditor.sketch import Floats

D = 3


def critic(x: Floats, kind: float = 1.0) -> tuple[Floats, Floats]:
    return 0.6 * np.tanh(kind * x), 0.3 * np.cos(kind * x)


def sums(x: Floats, y: Floats, blocks: Floats, critics: int = 1, n_blocks: int = 60) -> list[ClubSums]:
    return [ClubSums.from_critic(*critic(x, 1 + 0.2 * i), y, blocks, n_blocks) for i in range(critics)]


def world(
    n: int, rng: np.random.Generator, weaker: float, critics: int = 1, n_blocks: int = 60
) -> tuple[EmiSums, EmiSums]:
    """Two models on the same records; the second's answers follow the query less by `weaker`."""
    x = rng.normal(size=(n, D))
    y = 0.7 * x + rng.normal(size=(n, D))
    blocks = rng.integers(n_blocks, size=n)
    hard = rng.normal(size=(n, D))  # what both find hard
    a = 0.6 * x + hard + 0.3 * rng.normal(size=(n, D))
    b = (0.6 - weaker) * x + hard + 0.3 * rng.normal(size=(n, D))
    reference = sums(x, y, blocks, critics, n_blocks)
    return (
        EmiSums(sums(x, a, blocks, critics, n_blocks), reference),
        EmiSums(sums(x, b, blocks, critics, n_blocks), reference),
    )


WEAKER = 0.1
TRUTH = compare(*world(200_000, np.random.default_rng(99), WEAKER), draws=2).value


def test_it_is_the_difference_of_emi_and_of_the_mean_over_critics() -> None:
    a, b = world(200, np.random.default_rng(0), 0.2, critics=2)
    expected = np.mean([emi(a.model[i], a.reference[i]) - emi(b.model[i], b.reference[i]) for i in (0, 1)])
    got = compare(a, b)
    assert got.value == pytest.approx(expected) and got.low is not None and got.high is not None
    assert got.corrected is not None and got.low < got.corrected < got.high


sides = st.builds(
    lambda seed, weaker, n: world(n, np.random.default_rng(seed), weaker, critics=2),
    st.integers(0, 2**32 - 1),
    st.floats(-0.3, 0.3),
    st.integers(60, 150),
)


@settings(max_examples=25, deadline=None)
@given(sides, st.integers(0, 1000))
def test_the_other_way_round_is_the_mirror_image(pair: tuple[EmiSums, EmiSums], seed: int) -> None:
    a, b = pair
    one, other = compare(a, b, draws=50, seed=seed), compare(b, a, draws=50, seed=seed)
    assert one.low is not None and one.high is not None and one.corrected is not None
    assert other.corrected is not None
    assert (other.value, other.corrected) == (-one.value, -one.corrected)
    assert (other.low, other.high, other.std) == (-one.high, -one.low, one.std)
    assert (other.p_value, other.blocks) == (one.p_value, one.blocks)
    many = {"x": (a, b), "y": (b, a), "z": (a, b)}
    turned = compare_over({name: (q, p) for name, (p, q) in many.items()}, draws=50, seed=seed)
    there = compare_over(many, draws=50, seed=seed)
    assert turned.mean.value == -there.mean.value and turned.mean.low == -(there.mean.high or 0)
    assert (turned.better, turned.worse) == (there.worse, there.better)


@settings(max_examples=25, deadline=None)
@given(sides, st.floats(0, 0.3), st.floats(0, 0.3))
def test_a_wider_margin_is_easier(pair: tuple[EmiSums, EmiSums], m: float, more: float) -> None:
    difference = compare(*pair, draws=50)
    tight, wide = non_inferiority(difference, m), non_inferiority(difference, m + more)
    order = ("fail", "undecided", "pass")
    assert order.index(wide.status) >= order.index(tight.status)
    assert tight.p_value is not None and wide.p_value is not None and wide.p_value <= tight.p_value
    assert (tight.p_value < 0.05) == (tight.status == "pass")
    assert tight.bound == wide.bound


def test_a_common_reference_cancels() -> None:
    a, b = world(1200, np.random.default_rng(1), 0.1)  # rows in every block
    rng = np.random.default_rng(2)
    x, y, blocks = rng.normal(size=(200, D)), rng.normal(size=(200, D)), np.arange(200) % 60
    other = sums(x, 5 * y, blocks)
    changed = compare(EmiSums(a.model, other), EmiSums(b.model, other))
    same = compare(a, b)
    assert changed.value == pytest.approx(same.value) and changed.std == pytest.approx(same.std)


def test_a_model_is_as_good_as_itself() -> None:
    a, _ = world(100, np.random.default_rng(3), 0)
    got = compare(a, a)
    assert (got.value, got.std, got.low, got.high, got.p_value) == (0, 0, 0, 0, 1)
    assert non_inferiority(got, 0.01).status == "pass" and non_inferiority(got, 0.01).p_value == 0
    assert non_inferiority(got, 0.0).status == "undecided"


def test_the_same_seed_gives_the_same_bits() -> None:
    pair = world(90, np.random.default_rng(4), 0.1)
    assert compare(*pair, seed=1) == compare(*pair, seed=1) != compare(*pair, seed=2)


def test_pairing_pays() -> None:
    """Drawn apart, as two separate bootstraps would, the same difference is much less certain."""
    a, b = world(300, np.random.default_rng(5), 0.1)
    paired = compare(a, b)
    c, _ = world(300, np.random.default_rng(6), 0.1)  # as good as a, on other records
    apart = compare(c, b)
    assert paired.std is not None and apart.std is not None and paired.std < 0.6 * apart.std


@pytest.mark.parametrize("n", [90, 400])
def test_interval_covers_and_tests_have_their_size(n: int) -> None:
    rng = np.random.default_rng(7)
    runs, covered, alarms, passed, failed = 300, 0, 0, 0, 0
    for seed in range(runs):
        got = compare(*world(n, rng, WEAKER), draws=200, seed=seed)
        assert got.low is not None and got.high is not None
        covered += got.low <= TRUTH <= got.high
        # On the edge, where the new model is worse by just the margin, either verdict is an error.
        other = Difference(**{**vars(got), "value": -got.value, "corrected": -(got.corrected or 0)})
        edge = non_inferiority(other, TRUTH)
        passed += edge.status == "pass"
        failed += edge.status == "fail"
        equal = compare(*world(n, rng, 0.0), draws=200, seed=seed)
        alarms += equal.p_value is not None and equal.p_value <= 0.1
    assert 0.84 <= covered / runs <= 0.96  # nominal 90%
    assert 0.05 <= alarms / runs <= 0.16  # nominal 10%
    assert passed / runs <= 0.09 and failed / runs <= 0.09  # nominal 5% each


def test_non_inferiority_tells_all_three() -> None:
    current, new = world(400, np.random.default_rng(8), WEAKER)
    worse = compare(new, current)
    assert worse.value == pytest.approx(-TRUTH, abs=0.05)
    assert non_inferiority(worse, 3 * TRUTH).status == "pass"
    assert non_inferiority(worse, TRUTH / 4).status == "fail"
    between = non_inferiority(worse, -(worse.corrected or 0))
    assert between.status == "undecided" and between.p_value == pytest.approx(0.5)
    assert "margin" in between.because and "more records" in between.because


# Many scenarios.


def test_copies_of_one_record_count_as_one() -> None:
    a, b = world(300, np.random.default_rng(9), WEAKER)
    one = compare(a, b)
    copies = compare_over({f"s{i}": (a, b) for i in range(10)})
    assert copies.mean.std == pytest.approx(one.std) and copies.mean.value == pytest.approx(one.value)
    rng = np.random.default_rng(10)
    fresh = compare_over({f"s{i}": world(300, rng, WEAKER) for i in range(10)})
    assert fresh.mean.std is not None and one.std is not None and fresh.mean.std < 0.5 * one.std


def test_p_values_are_adjusted_over_the_scenarios() -> None:
    rng = np.random.default_rng(11)
    pairs = {f"s{i}": world(200, rng, 0.15 if i < 2 else 0.0) for i in range(8)}
    few, _ = world(5, rng, 0.0)
    pairs["tiny"] = (few, few)
    strict, loose = compare_over(pairs), compare_over(pairs, adjustment="benjamini-hochberg")
    raw = [d.p_value for d in strict.scenarios.values() if d.p_value is not None]
    for got, adjust in ((strict, holm), (loose, benjamini_hochberg)):
        adjusted = [d.p_adjusted for d in got.scenarios.values() if d.p_adjusted is not None]
        assert adjusted == adjust(raw) and len(raw) == 8
    assert strict.better == 2 and strict.worse == 0
    tiny = strict.scenarios["tiny"]
    assert tiny.low is None and tiny.value == 0 and "fewer than the 10" in (tiny.reason or "")
    assert non_inferiority(tiny, 0.1).status == "undecided"


def test_the_mean_covers_over_shifts_of_the_same_records() -> None:
    rng = np.random.default_rng(12)
    truth = np.mean([compare(*shifted(100_000, s, np.random.default_rng(98)), draws=2).value for s in SHIFTS])
    runs, covered = 150, 0
    for seed in range(runs):
        root = int(rng.integers(2**32))
        pairs = {str(s): shifted(150, s, np.random.default_rng(root)) for s in SHIFTS}
        mean = compare_over(pairs, draws=200, seed=seed).mean
        assert mean.low is not None and mean.high is not None
        covered += mean.low <= truth <= mean.high
    assert 0.82 <= covered / runs <= 0.97  # nominal 90%


SHIFTS = (0.05, 0.1, 0.15)


def shifted(n: int, weaker: float, rng: np.random.Generator) -> tuple[EmiSums, EmiSums]:
    """The same records for one state of `rng`, answered worse the stronger the shift."""
    return world(n, rng, weaker)


def test_wrong_arguments() -> None:
    a, b = world(90, np.random.default_rng(13), 0)
    other, _ = world(90, np.random.default_rng(13), 0, n_blocks=20)
    two, _ = world(90, np.random.default_rng(13), 0, critics=2)
    with pytest.raises(ValueError, match="same hash blocks"):
        compare(a, other)
    with pytest.raises(ValueError, match="same critics"):
        compare(a, two)
    with pytest.raises(ValueError, match="level"):
        compare(a, b, level=1)
    with pytest.raises(ValueError, match="no scenario"):
        compare_over({})
    with pytest.raises(ValueError, match="margin"):
        non_inferiority(compare(a, b), -0.1)
