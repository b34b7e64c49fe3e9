"""How questions go with images, and answers with inputs, in samples of rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from auditor.measures.dependence import PAIRS, dependence
from auditor.measures.divergences import ReferenceFit, divergence
from auditor.profiles.profile import Profile
from tests.measures.conftest import profiled, rows


@pytest.fixture(scope="module")
def p() -> Profile:
    return profiled(rows(400, 1))


def dealt_anew(q: Profile, content: str) -> Profile:
    """The same rows, with the contents of one kind moved on to the next row: no marginal changes."""
    moved = {**q.sample.rows, content: np.roll(q.sample.rows[content], 1, axis=0)}
    return replace(q, sample=replace(q.sample, rows=moved))


def test_answers_of_other_questions_are_found_where_no_modality_moved(p):
    q = dealt_anew(profiled(rows(200, 2, base="new")), "response")
    plain = divergence(p, q, "response", seed=0, level=0.9).divergence
    assert plain is not None and plain.p_value is not None and plain.p_value > 0.05
    found = dependence(p, q, "response_given_input", seed=0).divergence
    assert found is not None and found.p_value is not None and found.score is not None
    assert found.p_value <= 1e-3 and found.score < -0.5 and (found.n_id, found.n) == (400, 200)
    others = [dependence(p, q, name, seed=0).divergence for name in PAIRS if name != "response_given_input"]
    assert all(d is not None and d.p_value is not None and d.p_value > 0.01 for d in others)


def test_what_was_fitted_before_serves_the_next_window(p):
    reference, q = ReferenceFit.fit(p), profiled(rows(150, 3, base="new"))
    for name in PAIRS:
        first, again = (dependence(p, q, name, seed=4, reference=reference) for _ in range(2))
        assert first == again == dependence(p, q, name, seed=4)
    assert set(reference.scores) == {(name, 3) for name in PAIRS}


def test_why_it_is_not_tested(p):
    few = profiled(rows(15, 5, base="new"))
    assert "fewer than 20" in str(dependence(p, few, "response_given_input", seed=0).reason)
    small = profiled(rows(60, 6, base="new"))
    assert "too few to learn" in str(dependence(small, p, "response_given_input", seed=0).reason)
    texts = profiled(rows(200, 7, base="new", images=False))
    assert dependence(p, texts, "text_given_image", seed=0).reason == "no row has an image"
    alone = dependence(p, texts, "response_given_input", seed=0)
    assert alone.divergence is None and "0 rows in 0 groups are too few" in str(alone.reason)
    copies = dependence(p, profiled(rows(400, 8)), "response_given_input", seed=0)
    assert copies.divergence is None and "copies" in str(copies.reason)
