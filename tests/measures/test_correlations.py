"""Correlations over scenarios, and the ceiling that a measured truth sets."""

from __future__ import annotations

import numpy as np
import pytest

from auditor.measures.correlations import correlation, split_half_ceiling


def test_pairs_that_are_not_both_known_are_left_out() -> None:
    value, n = correlation([1, 2, 3, 4, None], [2, 4, 6, 8, 1], "pearson")
    assert (value, n) == (pytest.approx(1.0), 4)
    assert correlation([1, 2, 3], [1, 2, 3], "pearson") == (None, 3)
    assert correlation([1, 1, 1, 1], [1, 2, 3, 4], "spearman") == (None, 4)


def test_the_ceiling_is_the_correlation_of_means_with_the_truth() -> None:
    """Scenario means of n scores with noise: a perfect measure correlates with them by sqrt(reliability)."""
    rng = np.random.default_rng(0)
    truth = rng.normal(0.0, 0.1, 300)
    scores = [t + rng.normal(0.0, 1.0, 100) for t in truth]  # reliability 0.01 / (0.01 + 0.01)
    ceiling = split_half_ceiling(scores, "pearson", seed=1)
    reached, _ = correlation(list(truth), [float(s.mean()) for s in scores], "pearson")
    assert ceiling == pytest.approx(np.sqrt(0.5), abs=0.06)
    assert ceiling == pytest.approx(reached, abs=0.08)


def test_too_few_scenarios_or_rows_have_no_ceiling() -> None:
    assert split_half_ceiling([np.ones(10)] * 3, "pearson", 0) is None
    assert split_half_ceiling([np.ones(1)] * 9, "pearson", 0) is None
