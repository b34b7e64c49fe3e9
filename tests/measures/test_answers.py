"""What bounds take of the answers."""

from __future__ import annotations

from math import log

import pytest

from auditor.bounds.entropies import Known
from auditor.divergences import rjsd
from auditor.measures.answers import answer_codebook, answer_side, answer_terms, cell_gap, response_gap
from tests.measures.conftest import profiled, rows


def test_answers_on_one_codebook() -> None:
    p, q = profiled(rows(200, 1)), profiled(rows(200, 2))
    book = answer_codebook([p], 8, seed=0)
    assert book is not None and len(book) == 8
    terms = answer_terms(answer_side(p, book), answer_side(q, book), Known())
    assert terms.known.symbols == 8
    assert terms.p.cells is not None and 0 <= terms.p.cells.value <= log(2)
    assert terms.known.answers_q is not None and terms.known.answers_q.value is not None
    assert 0 < terms.known.answers_q.value <= log(8)
    assert cell_gap(p, book) == terms.p.cells


def test_the_gap_is_of_the_responses_to_the_references() -> None:
    of = rows(200, 1)
    gap = response_gap(profiled(of))
    assert gap is not None and gap.value == pytest.approx(rjsd(of.response, of.reference), abs=1e-9)
    assert gap.without is not None and len(gap.without) == 20
    few = response_gap(profiled(rows(20, 1)))
    assert few is not None and few.without is None  # too few rows for an interval
    bare = profiled(of)
    bare.sample.rows["has"][:, 3] = 0
    assert response_gap(bare) is None and answer_side(bare, None).delta is None


def test_without_answers_there_is_no_codebook() -> None:
    bare = profiled(rows(50, 1))
    bare.sample.rows["has"][:, 2:] = 0
    assert answer_codebook([bare], 8, seed=0) is None and answer_codebook([], 8, seed=0) is None
