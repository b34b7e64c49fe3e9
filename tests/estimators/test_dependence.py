"""Changes of how one goes with another: found, calibrated, and told from new mixes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, chisquare

from auditor.estimators.dependence import LEAST_GROUPS_Q, LEAST_ROWS_P, ReferenceScores, drawn_apart, fold_of

D, KINDS = 12, 6
WORLD = np.random.default_rng(0)
CENTRES, MAP, OTHER = WORLD.normal(size=(KINDS, D)), *(WORLD.normal(size=(2, D, D)) / np.sqrt(D))


@pytest.fixture(autouse=True, scope="module")
def few_features():
    """Enough for a few kinds of rows, and a tenth of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("auditor.estimators.dependence.FEATURES", 40)
        yield


def draw(n, rng, mix=None, answers=MAP):
    """Rows of some kinds; b follows a by one map, a different one of another model."""
    kinds = rng.choice(KINDS, n, p=mix)
    a = CENTRES[kinds] + 0.7 * rng.normal(size=(n, D))
    return a, np.tanh(a @ answers) + rng.normal(size=(n, D))


def names(n, label, size=1):
    return np.array([f"{label}{i // size}" for i in range(n)])


@pytest.fixture(scope="module")
def reference(few_features):
    a, b = draw(500, np.random.default_rng(1))
    return ReferenceScores.fit(a, b, names(500, "p"))


def p_values(reference, world, times, **how):
    found = []
    for seed in range(times):
        a, b = world(np.random.default_rng([2, seed]))
        found.append(reference.test(a, b, names(len(a), f"q{seed}."), 199, seed, **how).p_value)
    return np.array(found)


def test_pairs_dealt_anew_are_found(reference):
    def half(rng):
        a, b = draw(200, rng)
        b[:100] = np.roll(b[:100], 1, axis=0)
        return a, b

    assert np.mean(p_values(reference, half, 20) <= 0.05) >= 0.9


def test_another_model_is_found(reference):
    assert np.mean(p_values(reference, lambda rng: draw(200, rng, answers=OTHER), 20) <= 0.05) >= 0.9


def test_a_new_mix_of_known_rows_moves_little():
    """Windows of one or two kinds, each against its own reference: no more than twice as many alarms."""
    alarms = []
    for seed in range(100):
        rng = np.random.default_rng([3, seed])
        reference = ReferenceScores.fit(*draw(500, rng), names(500, "p"))
        a, b = draw(200, rng, rng.dirichlet(np.full(KINDS, 0.3)))
        alarms.append(reference.test(a, b, names(200, "q"), 199, seed).p_value <= 0.05)
    assert np.sum(alarms) <= binom.ppf(0.999, 100, 0.1)


@pytest.mark.parametrize("size", [1, 4])
def test_false_alarms_are_as_many_as_it_says(size):
    """200 nulls, rows by themselves or in groups that resemble each other: within the binomial 99.9%
    interval."""
    found = []
    for seed in range(200):
        rng = np.random.default_rng([4, seed])

        def side(n, label, rng=rng):
            a, b = draw(n, rng)
            if size > 1:
                common = np.repeat(np.arange(n // size) * size, size)
                a, b = a[common] + 0.1 * a, b[common] + 0.1 * b
            return a, b, names(n, label, size)

        reference = ReferenceScores.fit(*side(200, "p"))
        found.append(reference.test(*side(100, "q"), permutations=199, seed=seed).p_value)
    low, high = binom.interval(0.999, 200, 0.05)
    assert low <= np.sum(np.array(found) <= 0.05) <= high


def test_draws_take_each_unit_once_and_all_as_often():
    drawn = drawn_apart(7, 3, 7000, np.random.default_rng(6))
    assert drawn.shape == (7000, 3) and all(len(set(row)) == 3 for row in drawn.tolist())
    for place in range(3):
        counts = np.bincount(drawn[:, place], minlength=7)
        assert chisquare(counts).pvalue > 1e-4
    assert drawn_apart(4, 0, 5, np.random.default_rng(0)).shape == (5, 0)
    assert np.array_equal(
        np.sort(drawn_apart(4, 4, 5, np.random.default_rng(0))), np.tile(np.arange(4), (5, 1))
    )


def test_folds_follow_groups_and_what_is_too_little_is_refused(reference):
    groups = names(60, "g", 3)
    assert all(len(set(fold_of(groups)[groups == g])) == 1 for g in groups)
    a, b = draw(LEAST_ROWS_P - 1, np.random.default_rng(5))
    with pytest.raises(ValueError, match="too few to learn"):
        ReferenceScores.fit(a, b, names(len(a), "p"))
    with pytest.raises(ValueError, match=f"fewer than {LEAST_GROUPS_Q}"):
        reference.test(a[:60], b[:60], names(60, "q", 6))
    with pytest.raises(ValueError, match="not finite"):
        reference.test(a * np.nan, b, names(len(a), "q"))
