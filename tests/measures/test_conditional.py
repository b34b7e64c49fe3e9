"""Conditional divergences of sampled rows, and the bound that they go into."""

import numpy as np
import pytest

from auditor.estimators import CLUB
from auditor.measures.conditional import TERMS, conditionals
from auditor.profiles.row_sums import sketch_rows
from auditor.profiles.rows import Rows

D = 8


def side(n, seed, moved=False):
    """Images of two kinds; the text says which, or (moved) the other."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(2, size=n)

    def unit(z):
        return (z / np.linalg.norm(z, axis=1, keepdims=True)).astype(np.float32)

    image = unit(np.eye(D)[kind] * 4 + 0.3 * rng.normal(size=(n, D)))
    text = unit(np.eye(D)[2 + (1 - kind if moved else kind)] * 4 + 0.3 * rng.normal(size=(n, D)))
    x, every = (image + text) / 2, np.ones(n, bool)
    ids = tuple(f"{seed}-{i}" for i in range(n))
    has = dict.fromkeys(("image", "text", "response", "reference"), every)
    rows = Rows(ids, ids, ids, image, text, x, text, text, has)
    critic = CLUB(hidden=4, steps=2, batch=16).fit(x[:40], text[:40])
    return sketch_rows(rows, np.ones((n, 4), np.float32), [critic], 500)


def test_a_change_of_what_goes_with_what_is_found_where_neither_marginal_moved():
    p, same, other = side(300, 1), side(300, 2), side(300, 3, moved=True)
    quiet, loud = conditionals(p, same, 0), conditionals(p, other, 0)
    assert set(quiet.terms) == set(TERMS) and not quiet.missing
    # Together, images and texts are then where P has no rows: nothing can be said of answers given both.
    assert loud.missing == {"d_y_quarter": "no common support of the conditioning variable"}
    for name in ("d_t_given_v", "d_v_given_t"):
        assert quiet.divergences[name].value == pytest.approx(0, abs=0.03)
        assert loud.divergences[name].value > 0.8  # of at most 2 log 2
    assert all(value >= 0 for value in quiet.terms.values())
    lines = loud.table("june")
    assert [line["term"] for line in lines] == list(TERMS)
    assert all(type(v) in (str, float, int, type(None)) for line in lines for v in line.values())


def test_a_copy_of_the_records_is_no_shift():
    p = side(600, 1)
    got = conditionals(p, p, 0)
    assert all(of.value == pytest.approx(0, abs=0.03) for of in got.divergences.values())


def test_too_few_rows_have_a_reason():
    got = conditionals(side(20, 1), side(300, 2), 0)
    assert not got.terms and all("fewer than 31 rows" in why for why in got.missing.values())
    assert got.table("s")[0]["value"] is None and got.table("s")[0]["why not"]
