"""The method that is reported, from the overlap alone; and the bound that needs none."""

from __future__ import annotations

from dataclasses import replace
from math import log

import numpy as np
import pytest

from auditor.bounds import emid_bound
from auditor.divergences import rjsd
from auditor.risk import Choice, Overlap, choose_method, sound_label_free
from auditor.risk.method import check_identified, check_reweighted

GOOD = Overlap(
    outside=0.005,
    moved=0.5,
    auc=0.8,
    effective=400.0,
    overlap=0.4,
    radius=1.0,
    outside_p=np.zeros(1, dtype=bool),
    outside_q=np.zeros(1, dtype=bool),
    weights=np.ones(1),
    neighbours_p=np.zeros((1, 15), dtype=np.int64),
    neighbours_q=np.zeros((1, 15), dtype=np.int64),
    groups_p=500,
    groups_q=200,
)
RNG = np.random.default_rng(0)
X_P, X_Q = RNG.normal(size=(300, 4)), RNG.normal(size=(200, 4))
BOOK = np.eye(3)
YHAT_P, YHAT_Q = BOOK[RNG.integers(3, size=300)], BOOK[RNG.integers(2, size=200)]


@pytest.mark.parametrize(
    ("changed", "reweighted", "identified", "message"),
    [
        ({}, True, True, "new mix of known inputs"),
        ({"outside": 0.1}, False, True, "10.0% of the rows lie outside"),
        ({"outside": 0.5}, False, False, "50.0% of the rows lie outside"),
        ({"moved": 0.7}, False, False, "farther from the reference than 70%"),
        ({"effective": 30.0}, False, True, "rests on 30 effective reference rows"),
        ({"effective": 5.0}, False, False, "rests on 5 effective reference rows"),
        ({"auc": 1.0}, False, False, "AUC 1.000"),
        ({"groups_q": 49}, False, False, "the window has 49 rows, or groups of rows that belong together"),
        ({"groups_p": 99}, False, False, "the reference has 99 rows"),
    ],
)
def test_the_rule(changed: dict[str, float], reweighted: bool, identified: bool, message: str) -> None:
    overlap = replace(GOOD, **changed)  # type: ignore[arg-type]
    assert (check_reweighted(overlap) is None) == reweighted
    assert (check_identified(overlap) is None) == identified
    got = choose_method(overlap)
    assert got.method == ("reweighted" if reweighted else "identified" if identified else None)
    assert message in got.reason and got.reason.endswith(".") and "\n" not in got.reason


def test_the_bound_comes_last_and_only_below_the_range_of_emid() -> None:
    off = replace(GOOD, outside=0.9)
    tight = sound_label_free(X_P, YHAT_P, X_Q, YHAT_Q, BOOK, d_x=0.001)
    assert choose_method(off, tight).method == "sound"
    assert choose_method(GOOD, tight).method == "reweighted"
    loose = replace(tight, value=2 * log(3))
    assert choose_method(off, loose) == Choice(None, choose_method(off).reason)


def test_sound_label_free_is_the_bound_of_its_terms() -> None:
    got = sound_label_free(X_P, YHAT_P, X_Q, YHAT_Q, BOOK)
    assert got.d_x == rjsd(X_P, X_Q) and got.symbols == 3
    # Model's answers: uniform on three and on two cells.
    assert got.h_model_p == pytest.approx(log(3), abs=0.02)
    assert got.h_model_q == pytest.approx(log(2), abs=0.02)
    t = np.sqrt(2 * got.d_x)
    change = t * log(2) - t * log(t) - (1 - t) * log(1 - t)
    assert got.value == pytest.approx(got.h_model_p - got.h_model_q + change + 2 * log(3) * t)
    measured = sound_label_free(X_P, YHAT_P, X_Q, YHAT_Q, BOOK, d_x=0.01, entropy_y=9.0, entropy_shift=-0.1)
    assert measured.entropy_y == log(3) and measured.entropy_model is None
    assert measured.value == emid_bound(
        "sound_label_free",
        h_model_p=measured.h_model_p,
        h_model_q=measured.h_model_q,
        d_x=0.01,
        entropy_y=log(3),
        entropy_shift=-0.1,
        symbols=3,
    )


def test_sound_label_free_holds_in_discrete_worlds() -> None:
    """Estimated entropies, exact divergence: EMID of the laws stays below, beyond sampling error."""
    rng = np.random.default_rng(1)
    for _ in range(30):
        k_x, k_y = 4, 3
        p_x, q_x = rng.dirichlet(np.ones(k_x)), rng.dirichlet(np.ones(k_x))
        y, model = (rng.dirichlet(np.full(k_y, 0.5), size=k_x) for _ in range(2))
        mixed = (p_x + q_x) / 2
        d_x = _h(mixed) - (_h(p_x) + _h(q_x)) / 2
        emid = sum(
            sign * (_h(x @ law) - x @ [_h(row) for row in law])
            for sign, x, law in ((1, p_x, model), (-1, p_x, y), (-1, q_x, model), (1, q_x, y))
        )
        rows = []
        for x in (p_x, q_x):
            kind = rng.choice(k_x, size=2000, p=x)
            answer = np.array([rng.choice(k_y, p=model[k]) for k in kind])
            rows += [np.eye(k_x)[kind], np.eye(k_y)[answer]]
        got = sound_label_free(rows[0], rows[1], rows[2], rows[3], np.eye(k_y), d_x=d_x)
        assert emid <= got.value + 0.05


def _h(p: np.ndarray) -> float:
    return float(-(p[p > 0] * np.log(p[p > 0])).sum())


def test_sound_label_free_says_no_more_than_the_range() -> None:
    """Far inputs and a model sure of one answer: the sum of the terms is beyond 2 log K."""
    got = sound_label_free(X_P, YHAT_P, X_Q, BOOK[np.zeros(200, dtype=int)], BOOK, d_x=log(2))
    assert got.value == 2 * log(3)


def test_sound_label_free_errors() -> None:
    with pytest.raises(ValueError, match="299 inputs and 300 answers on P"):
        sound_label_free(X_P[1:], YHAT_P, X_Q, YHAT_Q, BOOK)
    with pytest.raises(ValueError, match="yhat_q has dimension 2"):
        sound_label_free(X_P, YHAT_P, X_Q, YHAT_Q[:, :2], BOOK)


def test_a_modality_that_moved_forbids_what_the_joint_rows_would_allow() -> None:
    assert choose_method(GOOD, parts={"image": GOOD, "text": GOOD}).method == "reweighted"
    blurred = replace(GOOD, auc=0.999)
    choice = choose_method(GOOD, parts={"image": blurred, "text": GOOD})
    assert choice.method is None
    assert choice.reason.startswith("Image rows alone: the identified interval is not reported")
