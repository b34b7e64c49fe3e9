"""How many rows, in how many groups."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from auditor.measures.row_counts import count_groups, row_counts
from auditor.profiles.profile import Profile
from auditor.sketch import RowSample
from tests.measures.conftest import profiled, rows


def test_rows_that_stand_by_themselves() -> None:
    for sample in (500, 40):
        counts = row_counts(profiled(rows(100, 1), sample=sample))
        assert counts is not None and (counts.used, counts.groups, counts.effective_n) == (100, 100, 100.0)
    assert row_counts(Profile.empty()) is None


def test_rows_of_groups() -> None:
    of = rows(120, 2)
    chats = replace(of, groups=tuple(f"chat {i // 4}" for i in range(120)))
    counts = row_counts(profiled(chats))
    assert counts is not None and counts.groups == 30
    assert 80 < counts.effective_n <= 120  # the inputs of a chat are not alike here
    alike = replace(chats, x=np.repeat(of.x[:30], 4, axis=0))
    counts = row_counts(profiled(alike))
    assert counts is not None and counts.effective_n == pytest.approx(30, rel=0.05)


@pytest.mark.parametrize("size", [2, 5])
def test_groups_are_estimated_where_the_sample_is_not_complete(size: int) -> None:
    n = 6_000
    ids = [f"r{i}" for i in range(n)]
    groups = [f"g{i // size}" for i in range(n)]
    sample = RowSample.from_rows(ids, ids, groups, {"x": np.zeros((n, 1))}, 2_000)
    assert count_groups(sample) == pytest.approx(n / size, rel=0.15)
    assert count_groups(replace(sample, seen=len(sample))) == len(set(sample.groups.tolist()))
