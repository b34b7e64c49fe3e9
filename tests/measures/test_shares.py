"""Whether another share of the rows has something."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from auditor.measures.shares import ENOUGH_WINDOWS, Counted, more_test, share_test, within_windows

LEVEL = 0.01


def beta_windows(rng: np.random.Generator, windows: int, rows: int, alike: float) -> list[Counted]:
    """Windows whose shares vary about 0.3: rows of one window have the correlation `alike`."""
    a, b = 0.3 * (1 - alike) / alike, 0.7 * (1 - alike) / alike
    return [Counted(int(rng.binomial(rows, p)), rows) for p in rng.beta(a, b, windows)]


def test_it_is_fishers_exact_test_of_rows() -> None:
    p, q = Counted(90, 100), Counted(15, 40)
    assert share_test(p, q) == stats.fisher_exact([[90, 10], [15, 25]]).pvalue
    assert more_test(q, p) == stats.fisher_exact([[90, 10], [15, 25]], "greater").pvalue
    assert more_test(p, q) > 0.99


def test_where_all_rows_have_it_or_none_there_is_nothing_to_test() -> None:
    assert share_test(Counted(100, 100), Counted(40, 40)) is None
    assert share_test(Counted(0, 100), Counted(0, 40)) is None
    assert share_test(Counted(3, 100), Counted(0, 0)) is None


def test_rows_that_belong_together_count_for_less() -> None:
    """Twenty rows in two groups that all lack it are two observations."""
    p = Counted(380, 400)
    alone, grouped = Counted(20, 40), Counted(20, 40, 0.1)
    assert share_test(p, alone) < 1e-10  # type: ignore[operator]
    assert share_test(p, grouped) == stats.fisher_exact([[380, 20], [2, 2]]).pvalue


def test_the_correlation_within_windows_is_found() -> None:
    rng = np.random.default_rng(0)
    for alike in (0.02, 0.1):
        found = np.mean([within_windows(beta_windows(rng, 30, 100, alike)) for _ in range(40)])
        assert found == pytest.approx(alike, rel=0.2)
    independent = [Counted(int(rng.binomial(100, 0.3)), 100) for _ in range(300)]
    assert within_windows(independent) < 0.01
    assert within_windows([Counted(100, 100)] * 12) == 0


def test_a_service_whose_days_differ_is_held_against_its_days() -> None:
    """Rows alone would alarm on a third of the quiet days; its own days keep to the level."""
    rng = np.random.default_rng(1)
    alone = beside = 0
    for _ in range(150):
        *windows, day = beta_windows(rng, 31, 100, 0.1)
        p = Counted(sum(w.k for w in windows), sum(w.n for w in windows))
        alone += (share_test(p, day) or 1) <= LEVEL
        beside += (share_test(p, day, windows) or 1) <= LEVEL
    assert alone > 25 and beside <= 6
    gone = Counted(0, 100)
    assert (share_test(Counted(900, 3000), gone, [Counted(30, 100)] * 30) or 1) < 1e-6


def test_a_share_that_a_window_of_the_reference_has_is_none_of_another_kind() -> None:
    windows = [Counted(40, 40)] * 29 + [Counted(20, 40)]
    p = Counted(1180, 1200)
    assert share_test(p, Counted(25, 40), windows) == 1
    assert share_test(p, Counted(25, 40), windows[-ENOUGH_WINDOWS + 1 :]) < LEVEL  # type: ignore[operator]
