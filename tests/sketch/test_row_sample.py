"""Whole groups of rows, however the sample was made."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.sketch import RowSample
from auditor.sketch.blocks import hash64

N = 60


def sample_of(rows: list[int], groups: list[int], k: int) -> RowSample:
    """Rows i of the groups (N,), each with i as its vector."""
    ids = [f"r{i}" for i in rows]
    names = [f"g{groups[i]}" for i in rows]
    return RowSample.from_rows(ids, ids, names, {"x": np.array(rows, dtype=float).reshape(-1, 1)}, k)


def same(a: RowSample, b: RowSample) -> None:
    assert (a.k, a.seen) == (b.k, b.seen)
    for name, array in a.to_arrays().items():
        np.testing.assert_array_equal(array, b.to_arrays()[name])


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.integers(0, 9), min_size=N, max_size=N),
    st.permutations(range(N)),
    st.integers(1, 70),
    st.integers(0, N),
    st.integers(0, N),
)
def test_any_cut_and_any_order_of_merging_give_the_same(
    groups: list[int], order: list[int], k: int, cut: int, second: int
) -> None:
    whole = sample_of(list(range(N)), groups, k)
    first, last = sorted((cut, second))
    a, b, c = (sample_of(part, groups, k) for part in (order[:first], order[first:last], order[last:]))
    same(a.merge(b).merge(c), whole)
    same(c.merge(a.merge(b)), whole)
    assert whole.whole and len(whole) <= k and whole.complete == (k >= N)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 19), min_size=N, max_size=N), st.integers(1, N - 1))
def test_it_holds_whole_groups(groups: list[int], k: int) -> None:
    sizes = Counter(f"g{group}" for group in groups)
    sample = sample_of(list(range(N)), groups, k)
    order = sorted(sizes, key=lambda name: hash64(name, b"sample"))
    taken = list(dict.fromkeys(sample.groups.tolist()))
    assert taken == order[: len(taken)]
    for name in taken[:-1]:  # the last one may be cut
        assert (sample.groups == name).sum() == min(sizes[name], sample.most_of_a_group)


def test_one_huge_group_is_not_all_of_it() -> None:
    rows, groups = list(range(3_000)), [0] * 2_000 + list(range(1, 1_001))
    for k in (100, 400):
        sample = sample_of(rows, groups, k)
        assert len(sample) == k and (sample.groups == "g0").sum() <= sample.most_of_a_group == max(5, k // 20)
    alone = sample_of(rows, [0] * 3_000, 200)
    assert len(alone) == 10 and alone.whole and not alone.complete
    same(alone.merge(sample_of([], groups, 200)), alone)


def test_rows_of_no_group_are_those_with_the_smallest_hashes_of_their_ids() -> None:
    ids = [f"r{i}" for i in range(N)]
    sample = RowSample.from_rows(ids, ids, ids, {"x": np.zeros((N, 1))}, 20)
    assert sample.ids.tolist() == sorted(ids, key=lambda i: hash64(i, b"sample"))[:20]


def test_a_record_and_its_copy_are_chosen_alike() -> None:
    bases = [f"b{i}" for i in range(N)]
    chats = [f"chat {i // 7}" for i in range(N)]
    z = {"x": np.zeros((N, 1))}
    for k in (5, 20, 33):
        of_p = RowSample.from_rows(bases, bases, chats, z, k)
        of_q = RowSample.from_rows([f"{b}~blur-3" for b in bases], bases, chats, z, k)
        assert of_p.base_ids.tolist() == of_q.base_ids.tolist()


def test_arrays_that_are_no_sample() -> None:
    arrays = sample_of(list(range(9)), [0] * 9, 5).to_arrays()
    same(RowSample.from_arrays(arrays), sample_of(list(range(9)), [0] * 9, 5))
    with pytest.raises(ValueError, match=r"hashes \(5,\) of 5 rows"):
        RowSample.from_arrays(arrays | {"hashes": arrays["hashes"][:, 0]})
    with pytest.raises(ValueError, match="differ in length"):
        RowSample.from_arrays(arrays | {"groups": arrays["groups"][1:]})
