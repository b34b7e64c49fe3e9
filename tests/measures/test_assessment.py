"""Rows held against others: the row says what the reducer finds, and nothing is held against itself."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from auditor.estimators import CLUB
from auditor.estimators.crossfit import CrossFitted
from auditor.measures import assessment as assessed
from auditor.measures import reducer
from auditor.measures.assessment import Against, New
from auditor.profiles.profile import Profile, sketch_rows
from auditor.profiles.rows import Rows, joined
from auditor.storage.embedding_store import normalise
from schemas.report import Verdict

D, N, LEVEL = 8, 150, 0.9
FACTS = {"n": N, "answered": N, "query_chars": 3 * N, "response_chars": 2 * N, "with_image": 0}
ABOUT = {"scenario": "far", "model": "m", "verdict": Verdict(status="pass", because="tested")}


def rows(seed: int, *, noise: float, move: float = 0.0, n: int = N) -> Rows:
    """Answers follow the query less the more `noise`; `move` shifts the queries."""
    rng = np.random.default_rng(seed)
    everywhere, image = np.ones(n, dtype=bool), np.zeros((n, 0), np.float32)
    text = normalise(rng.normal(size=(n, D)) + move).rows
    ids = tuple(f"{seed}-{i}" for i in range(n))
    return Rows(
        ids,
        ids,
        image,
        text,
        joined(image, text, ~everywhere, everywhere),
        normalise(text + noise * rng.normal(size=(n, D))).rows,
        normalise(text + 0.2 * rng.normal(size=(n, D))).rows,
        {"image": ~everywhere, "text": everywhere, "response": everywhere, "reference": everywhere},
    )


@pytest.fixture(scope="module")
def critic() -> CLUB:
    pool = rows(9, noise=0.2)
    return CLUB(hidden=16, steps=60, batch=64).fit(pool.x, pool.reference)


def sums(of: Rows, *critics: CLUB) -> Profile:
    return sketch_rows(of, np.ones((N, 4), np.float32), critics, 500)


def against(p: Profile, *critics: CLUB) -> Against:
    codebook = reducer.answer_codebook([p], 8, 0)
    return Against(p, reducer.answer_side(p, codebook), [CrossFitted((c,)) for c in critics], LEVEL)


def new(of: Against, q: Profile) -> New:
    codebook = reducer.answer_codebook([of.p], 8, 0)
    return New(
        q,
        reducer.answer_side(q, codebook),
        reducer.Divergences({}, {"divergences.image": "no row has an image"}),
        reducer.input_divergence(of.p, q, seed=0),
    )


def test_a_row_says_what_was_found(critic: CLUB) -> None:
    p, q = sums(rows(1, noise=0.2), critic), sums(rows(2, noise=1.5, move=0.5), critic)
    of = against(p, critic)
    it = assessed.assess(of, new(of, q), seed=0)
    found = reducer.relevance(p, q, seed=0, level=LEVEL)
    assert found is not None and it.relevance == found and found.emid > 0
    row = assessed.row(it, FACTS, ABOUT, assessed.Accuracy(0.5, (0.4, 0.6)))
    assert (row.emi, row.emid, row.emid_spread) == (found.emi, found.emid, found.emid_spread)
    assert row.intervals.emid == found.emid_interval and row.intervals.accuracy == (0.4, 0.6)
    assert row.accuracy == 0.5 and row.mi_model == reducer.model_information(q)
    assert (row.n, row.n_labelled, row.n_emi) == (N, N, N)
    gap = reducer.response_gap(q)
    assert gap is not None and row.delta == gap.value
    assert set(row.bounds) == set(reducer.FORMS) and row.label_free is not None
    assert row.descriptors["query_chars"] == 3 and row.descriptors["text_norm"] == 1


def test_the_first_rows_have_no_emid_and_no_bounds(critic: CLUB) -> None:
    p = sums(rows(1, noise=0.2), critic)
    row = assessed.row(assessed.first(against(p, critic), seed=0), FACTS, ABOUT)
    found = reducer.relevance(p, p, seed=0, level=LEVEL)
    assert found is not None and (row.emi, row.intervals.emi) == (found.emi, found.emi_interval)
    assert row.emid is row.emid_spread is row.intervals.emid is None
    assert not row.bounds and not row.divergences and row.label_free is None and row.delta is not None


def test_without_critics_there_is_no_emi_and_the_other_voices_speak(critic: CLUB) -> None:
    """Those of P may be of some where those of Q are of none: a baseline's critic that does not fit."""
    of = against(sums(rows(1, noise=0.2), critic))
    it = assessed.assess(of, new(of, sums(rows(2, noise=0.2))), seed=0)
    assert it.relevance is it.information is None
    assert it.label_free is not None and it.label_free.voice != "reweighted"
    assert set(it.bounds) == set(reducer.FORMS)


def test_accuracy_has_a_t_interval_within_its_range() -> None:
    scores = np.array([1.0, 0.5, 1.0, 0.0])
    value, interval = assessed.accuracy(scores, 0.8)
    assert value == 0.625 and interval is not None
    expected = stats.t.interval(0.8, 3, loc=0.625, scale=stats.sem(scores))
    assert interval == pytest.approx((expected[0], min(1.0, expected[1])))
    assert assessed.accuracy(np.zeros(0), 0.9) == assessed.NOT_GRADED
    assert assessed.accuracy(np.ones(1), 0.9) == (1.0, None)
