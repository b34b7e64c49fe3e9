"""EMI and EMID of profiles, against the critics' estimates on the rows."""

from __future__ import annotations

import numpy as np
import pytest

from auditor.estimators import CLUB
from auditor.measures.relevance import model_information, relevance
from auditor.profiles.row_sums import sketch_rows
from tests.measures.conftest import profiled, rows


def test_relevance_is_the_difference_of_the_critics_estimates(critic: CLUB) -> None:
    p_rows, q_rows = rows(300, 1), rows(300, 2)
    found = relevance(profiled(p_rows, critic), profiled(q_rows, critic), seed=0, level=0.9)
    assert found is not None
    emi_p = critic.estimate(p_rows.x, p_rows.response) - critic.estimate(p_rows.x, p_rows.reference)
    emi_q = critic.estimate(q_rows.x, q_rows.response) - critic.estimate(q_rows.x, q_rows.reference)
    assert found.emi == pytest.approx(emi_q, abs=1e-9)
    assert found.emid == pytest.approx(emi_p - emi_q, abs=1e-9)
    assert found.emi_interval is not None and found.emi_interval[0] < found.emi < found.emi_interval[1]
    assert found.n == 300 and found.emi_spread == found.emid_spread == 0


def test_several_critics_are_averaged_and_spread(critic: CLUB) -> None:
    other = CLUB(hidden=8, steps=20, batch=128, seed=1).fit(*(lambda r: (r.x, r.reference))(rows(400, 8)))
    p_rows, q_rows = rows(200, 1), rows(200, 2)
    p, q = (sketch_rows(r, np.ones((200, 4), np.float32), [critic, other], 500) for r in (p_rows, q_rows))
    both = relevance(p, q, seed=0, level=0.9)
    alone = [relevance(profiled(p_rows, c), profiled(q_rows, c), seed=0, level=0.9) for c in (critic, other)]
    assert both is not None and alone[0] is not None and alone[1] is not None
    assert both.emid == pytest.approx(np.mean([a.emid for a in alone]))
    assert both.emi_spread == pytest.approx(np.std([a.emi for a in alone], ddof=1))
    assert model_information(q) == pytest.approx(
        np.mean([c.estimate(q_rows.x, q_rows.response) for c in (critic, other)])
    )


def test_there_is_none_without_critics_or_references(critic: CLUB) -> None:
    bare = profiled(rows(50, 1))
    assert relevance(bare, bare, seed=0, level=0.9) is None and model_information(bare) is None
    of = rows(50, 1)
    of.has["reference"] = np.zeros(50, bool)
    p = profiled(of, critic)
    assert relevance(p, p, seed=0, level=0.9) is None and model_information(p) is not None
