"""Evidence over windows: e-values are fair, alarms keep to the budget, and a change point is found."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.significance.sequential import LEVELS, STAKE, EDetector, e_values


def test_every_bet_is_fair():
    """The mean over a uniform p, by the areas on both sides of each level, is exactly 1."""
    for i, level in enumerate(LEVELS):
        inside, outside = e_values(level)[i], e_values(1.0)[i] if level < 1 else 0.0
        assert level * inside + (1 - level) * outside == pytest.approx(1.0, abs=1e-15)


@given(st.floats(0, 1), st.floats(0, 1))
def test_smaller_p_values_are_never_less_evidence(a, b):
    low, high = sorted((a, b))
    assert (e_values(low) >= e_values(high)).all() and (e_values(high) >= 1 - STAKE - 1e-15).all()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_the_evidence_is_the_sum_over_all_beginnings(p_values):
    detector = EDetector()
    for p in p_values:
        detector.update(p)
    values = np.array([e_values(p) for p in p_values])
    by_hand = sum(values[first:].prod(axis=0) for first in range(len(values)))
    assert detector.evidence == pytest.approx(by_hand.mean(), rel=1e-9)
    products = [values[-k:].prod(axis=0).mean() for k in range(1, len(values) + 1)]
    assert products[detector.windows_since_change() - 1] == pytest.approx(max(products), rel=1e-9)


def test_what_is_no_p_value_is_refused():
    for p in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="no p-value"):
            e_values(p)
    with pytest.raises(ValueError, match="no window"):
        EDetector().windows_since_change()


def windows_to_alarm(rng, budget, draw):
    detector, t = EDetector(), 0
    while detector.evidence < budget:
        t += 1
        detector.update(draw(rng, t))
    return t


def test_false_alarms_are_a_budget_apart_or_more():
    rng = np.random.default_rng(20)
    runs = [windows_to_alarm(rng, 30, lambda rng, t: rng.random()) for _ in range(1500)]
    # The mean is at least 30; by its standard error it would be seen if it were 10% less.
    assert np.mean(runs) - 3 * np.std(runs) / np.sqrt(len(runs)) > 30
    assert np.mean(runs) < 90  # it is no excuse for silence


def test_a_change_is_found_and_dated():
    rng, late, delays = np.random.default_rng(21), [], []
    for _ in range(200):
        detector = EDetector()
        for _ in range(50):
            detector.update(rng.random())
        t = 0
        while detector.evidence < 1000:
            t += 1
            detector.update(0.02 * rng.random())
        delays.append(t)
        late.append(detector.windows_since_change() - t)
    assert np.median(delays) <= 4 and np.median(late) == 0
