"""EMI is reliable where the inputs' vectors hold the correct answers, by whole groups of rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from auditor.measures.credible import checked
from tests.measures.conftest import profiled, rows


def test_answers_that_follow_their_queries_can_be_relied_on() -> None:
    found = checked(profiled(rows(120, 0)))
    assert found is not None and found.reason is None
    assert found.credibility is not None and found.credibility.p_value <= 0.01 and found.credibility.n == 120


def test_answers_that_no_vector_shows_cannot() -> None:
    given = rows(120, 0)
    dealt = replace(given, reference=np.random.default_rng(0).permutation(given.reference))
    found = checked(profiled(dealt))
    assert found is not None and found.reason is not None and found.credibility is not None
    assert "do not show the correct answers" in found.reason and "another encoder" in found.reason


def test_few_groups_say_nothing() -> None:
    profile = profiled(rows(120, 0))
    groups = np.array([f"group {i % 15}" for i in range(120)])
    found = checked(replace(profile, sample=replace(profile.sample, groups=groups)))
    assert found is not None and found.credibility is None
    assert found.reason is not None and "fewer than 20 groups" in found.reason


def test_without_correct_answers_there_is_nothing_to_check() -> None:
    given = rows(40, 0)
    bare = replace(given, has=dict(given.has) | {"reference": np.zeros(40, dtype=bool)})
    assert checked(profiled(bare)) is None
