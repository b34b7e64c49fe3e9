"""Fewer cells where rows are few, and the reach of an interval around an identified range."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from auditor.risk.cells import ROWS_PER_FREEDOM, affordable_cells, merge_cells
from auditor.risk.inputs import quantile

ROWS = np.arange(40)


@pytest.mark.parametrize(
    ("rows", "cells"),
    [(60, (6, 3)), (100, (7, 4)), (200, (10, 5)), (300, (13, 6)), (525, (16, 8)), (3000, (16, 8))],
)
def test_cells_for_rows(rows: int, cells: tuple[int, int]) -> None:
    got = affordable_cells(16, 8, rows)
    assert got == cells
    assert (got[0] - 1) * (got[1] - 1) * ROWS_PER_FREEDOM <= rows


def test_cells_are_never_fewer_than_two_where_there_are_two() -> None:
    assert affordable_cells(16, 8, 1) == (2, 2)
    assert affordable_cells(1, 8, 1) == (1, 8)
    assert affordable_cells(3, 3, 20) == (3, 3)


def test_near_and_light_cells_are_joined_first() -> None:
    book = np.array([[0.0], [1.0], [10.0], [12.0], [30.0]])
    even = np.full(5, 10)
    assert merge_cells(book, even, 4).tolist() == [0, 0, 1, 2, 3]
    assert merge_cells(book, even, 3).tolist() == [0, 0, 1, 1, 2]
    assert merge_cells(book, even, 2).tolist() == [0, 0, 0, 0, 1]
    assert merge_cells(book, even, 1).tolist() == [0] * 5
    assert merge_cells(book, even, 5).tolist() == merge_cells(book, even, 9).tolist() == [0, 1, 2, 3, 4]
    # Without a row of its own, a cell joins another at no cost, however far that is.
    assert len(set(merge_cells(book, [10, 10, 10, 10, 0], 4)[:4])) == 4


def test_unions_of_more_rows_are_finer() -> None:
    """Ward's unions are nested: the cells of a larger window tell those of a smaller one."""
    rng = np.random.default_rng(1)
    book, counts = rng.normal(size=(16, 4)), rng.integers(1, 50, size=16)
    coarse, fine = merge_cells(book, counts, 5), merge_cells(book, counts, 11)
    assert len(set(coarse)) == 5 and len(set(fine)) == 11
    assert len(set(zip(fine.tolist(), coarse.tolist(), strict=True))) == 11


def test_reach_around_a_range_covers_each_of_its_points() -> None:
    assert quantile(0.9, ROWS, ROWS) == pytest.approx(norm.ppf(0.95))
    assert quantile(0.9, ROWS, ROWS, 100.0) == pytest.approx(norm.ppf(0.9))
    for width in (0.0, 0.3, 1.0, 3.0):
        reach = quantile(0.9, ROWS, ROWS, width)
        # Ends with one error in common: the truth at the low end, in the middle, at the high end.
        for at in (0.0, width / 2, width):
            assert norm.cdf(width - at + reach) - norm.cdf(-at - reach) >= 0.9 - 1e-9
    groups = np.repeat(np.arange(10), 4)
    assert quantile(0.9, groups, ROWS) == pytest.approx(1.833, abs=1e-3)
    assert quantile(0.9, groups, ROWS, 100.0) == pytest.approx(1.383, abs=1e-3)
