"""Rows of P and Q side by side."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from auditor.measures.divergences import divergence
from auditor.measures.pairing import LEAST_SHARED, aligned, apart
from auditor.sketch import RowSample
from tests.measures.conftest import profiled, rows


def test_rows_pair_by_base_id_and_only_then() -> None:
    p, q = profiled(rows(100, 1)), profiled(rows(100, 2))
    sides = aligned(p.sample, q.sample)
    assert sides.paired
    assert list(p.sample.base_ids[sides.at_p]) == list(q.sample.base_ids[sides.at_q])
    other = profiled(rows(100, 2, base="other"))
    assert not aligned(p.sample, other.sample).paired


def sample(bases: list[str]) -> RowSample:
    ids = [f"{base} {i}" for i, base in enumerate(bases)]
    return RowSample.from_rows(ids, bases, bases, {"has": np.ones((len(ids), 4))}, 1000)


def test_few_shared_or_repeated_records_are_no_pairing() -> None:
    many = [f"b{i}" for i in range(2 * LEAST_SHARED)]
    assert aligned(sample(many), sample(many[LEAST_SHARED:])).paired
    assert not aligned(sample(many), sample(many[LEAST_SHARED + 1 :])).paired
    mostly_others = many[:LEAST_SHARED] + [f"o{i}" for i in range(LEAST_SHARED + 1)]
    assert not aligned(
        sample(many + ["b"] * 0 + ["last"]), sample(mostly_others)
    ).paired  # not half of a side
    assert not aligned(sample(many), sample([*many, many[0]])).paired


def test_copies_among_new_rows_are_partly_paired() -> None:
    """Thirty of sixty rows come again among others: found with their groups, and nothing is left out."""
    old, replayed = profiled(rows(60, 1)), profiled(rows(30, 1))
    q = replayed.merge(profiled(rows(30, 2, base="new")))
    sides = aligned(old.sample, q.sample)
    assert sides.partly and sides.related and not sides.paired
    found = sides.rows("text")
    assert len(found.p[0]) == len(found.q[0]) == 60 and found.shared is not None
    at_p, at_q = found.shared
    assert len(at_p) == 30 and np.array_equal(old.sample.base_ids[at_p], q.sample.base_ids[at_q])
    assert np.array_equal(found.blocks_p[at_p], found.blocks_q[at_q])
    few = aligned(old.sample, profiled(rows(2, 1)).merge(profiled(rows(30, 2, base="new"))).sample)
    assert not few.related and few.rows("text").shared is None


def test_replays_do_not_hide_new_rows() -> None:
    """101 rows of the reference come again, with 99 of another law."""
    p, far = profiled(rows(200, 1)), profiled(rows(99, 2, base="new", move=1.0))
    replayed = profiled(rows(101, 1))
    q = replayed.merge(far)
    measured = divergence(p, q, "text", seed=0, level=0.9)
    found = measured.divergence
    assert found is not None and found.p_value is not None and found.excess is not None
    assert found.n_copies == 101 and not found.paired and found.p_value <= 1e-3 and found.excess > 0


def test_rows_of_a_pairing_have_the_content_on_both_sides() -> None:
    p, q = profiled(rows(100, 1)), profiled(rows(100, 2))
    p.sample.rows["has"][:10, 3] = 0
    found = aligned(p.sample, q.sample).rows("text", "reference")
    assert len(found.p[0]) == len(found.q[1]) == 90 and np.array_equal(found.blocks_p, found.blocks_q)
    assert len(set(found.groups_p)) == 90  # every base id once


def test_rows_keep_their_groups() -> None:
    p, q = profiled(rows(60, 1)).sample, profiled(rows(60, 2, base="other")).sample
    q = replace(q, groups=np.array([f"chat {i // 3}" for i in range(len(q))]))
    sides = aligned(p, q)
    found = sides.rows("text")
    assert not sides.paired and len(set(found.groups_p)) == 60
    assert np.array_equal(found.groups_q[:, None] == found.groups_q, q.groups[:, None] == q.groups)


def test_rows_apart_are_of_different_records() -> None:
    p, q = profiled(rows(100, 1)).sample, profiled(rows(100, 2)).sample
    of_p, of_q = apart(p, q)
    assert not set(p.base_ids[of_p]) & set(q.base_ids[of_q]) and of_p.sum() + of_q.sum() == 100
    other = profiled(rows(100, 2, base="other")).sample
    assert all(side.all() for side in apart(p, other))
