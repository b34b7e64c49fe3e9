"""The index against brute force in float64: exact whatever the order, the copies and the pieces."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from auditor.neighbours import index as module
from auditor.neighbours.index import (
    LEAST_IVF_ROWS,
    Index,
    Neighbours,
    cells,
    choose_kind,
    merge,
    nearest_distance,
    recall,
)

Array = NDArray[np.float32]


def rows(n: int, d: int, seed: int) -> Array:
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def brute(q: Array, z: Array, ids: NDArray, k: int) -> Neighbours:
    """Whole numbers have exact squares: ties are ties here as in the index."""
    squared = np.square(q[:, None].astype(np.float64) - z[None]).sum(axis=2)
    order = np.array([np.lexsort((ids, row))[:k] for row in squared])
    return Neighbours(np.sqrt(np.take_along_axis(squared, order, 1)), ids[order])


def same(a: Neighbours, b: Neighbours) -> None:
    np.testing.assert_array_equal(a.ids, b.ids)
    np.testing.assert_array_equal(a.distance, b.distance)


@given(
    n=st.integers(1, 90),
    d=st.integers(1, 5),
    k=st.integers(1, 95),
    levels=st.integers(1, 4),
    cuts=st.lists(st.integers(0, 90), max_size=4),
    seed=st.integers(0, 2**20),
)
@settings(max_examples=150, deadline=None)
def test_exact_with_ties_and_merged_from_any_pieces(
    n: int, d: int, k: int, levels: int, cuts: list[int], seed: int
) -> None:
    """Rows on a small grid: many copies, and many distinct rows at one distance."""
    rng = np.random.default_rng(seed)
    z = rng.integers(-levels, levels + 1, size=(n, d)).astype(np.float32)
    q = rng.integers(-levels, levels + 1, size=(7, d)).astype(np.float32)
    ids = np.array([f"r{i:03d}" for i in rng.permutation(n)])
    truth = brute(q, z, ids, min(k, n))
    same(Index(z, ids).search(q, k), truth)
    bounds = [0, *sorted(c for c in cuts if c < n), n]
    parts = [Index(z[a:b], ids[a:b]).search(q, k) for a, b in pairwise(bounds) if b > a]
    same(merge(parts, k), truth)
    same(merge(parts[::-1], k), truth)


def test_the_same_bits_from_any_pieces_and_batches_of_real_rows() -> None:
    z, q = rows(3000, 48, 0), rows(70, 48, 1)
    z[500:520] = z[7]
    whole = Index(z).search(q, 12)
    shuffled = np.random.default_rng(2).permutation(3000)
    same(Index(z[shuffled], shuffled).search(q, 12), whole)
    parts = [Index(z[i : i + 700], np.arange(3000)[i : i + 700]).search(q, 12) for i in range(0, 3000, 700)]
    same(merge(parts, 12), whole)
    single = [Index(z).search(q[i : i + 1], 12) for i in range(70)]
    same(Neighbours(*map(np.concatenate, zip(*single, strict=True))), whole)


def test_more_rows_at_one_distance_than_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Corners of a cube, all as far from its middle: none of FAISS's candidates can be sure."""
    monkeypatch.setattr(module, "_MOST_CANDIDATES", 30)
    corners = np.array(np.meshgrid(*[[-1.0, 1.0]] * 8)).reshape(8, -1).T.astype(np.float32)
    ids = np.random.default_rng(3).permutation(256)
    found = Index(corners, ids).search(np.zeros((2, 8), np.float32), 5)
    assert found.ids.tolist() == [[0, 1, 2, 3, 4]] * 2


def test_equal_rows_that_differ_in_the_sign_of_zero_are_copies() -> None:
    z = np.array([[0.0, 1.0], [-0.0, 1.0], [5.0, 5.0]], np.float32)
    found = Index(z, [2, 1, 0]).search(z[:1], 2)
    assert found.ids.tolist() == [[1, 2]] and not found.distance.any()


def clustered(n: int, seed: int, centres: int = 200, d: int = 32) -> Array:
    """Clusters that overlap."""
    of = np.random.default_rng(99).normal(size=(centres, d))
    rng = np.random.default_rng(seed)
    z = of[rng.integers(centres, size=n)] + rng.normal(size=(n, d))
    return (z / np.linalg.norm(z, axis=1, keepdims=True)).astype(np.float32)


def test_ivf_finds_most_and_says_how_many() -> None:
    z, q = clustered(12_000, 0), clustered(300, 1)
    ivf = Index(z, kind="ivf", seed=5)
    assert ivf.kind == "ivf"
    found, exact = ivf.search(q, 5), ivf.search(q, 5, exact=True)
    same(exact, Index(z).search(q, 5))
    hits = np.mean([len(set(a) & set(b)) / 5 for a, b in zip(found.ids, exact.ids, strict=True)])
    assert recall(found.distance, exact.distance) == pytest.approx(hits)
    assert 0.85 < recall(found.distance, exact.distance) < 1  # 8 of 256 cells
    wider = Index(z, kind="ivf", probe=0.25, seed=5).search(q, 5)
    assert (
        recall(wider.distance, exact.distance) > recall(found.distance, exact.distance)
        and recall(wider.distance, exact.distance) > 0.99
    )
    every = Index(z, kind="ivf", probe=1.0).search(q, 5)
    same(every, exact)
    order = np.random.default_rng(6).permutation(len(z))
    same(Index(z[order], order, kind="ivf", seed=5).search(q, 5), found)  # same cells whatever the order


def test_too_few_rows_in_the_cells_looked_into_are_made_up_for() -> None:
    z = clustered(LEAST_IVF_ROWS, 2, centres=40)
    one_cell = Index(z, kind="ivf", probe=1e-9)
    found = one_cell.search(z[:20], 600)
    same(found, Index(z).search(z[:20], 600))


def test_few_rows_are_searched_whole() -> None:
    assert Index(clustered(500, 3), kind="ivf").kind == "flat"


def test_what_auto_stands_for() -> None:
    assert choose_kind(100_000, 100_000) == "flat" and choose_kind(1_000_000, 100_000) == "ivf"
    assert choose_kind(10**9, 10**9, "flat") == "flat" and choose_kind(10, 10, "ivf") == "ivf"


@pytest.mark.parametrize("n", [10_000, 262_144, 1_000_000])
def test_cells_have_enough_rows_to_learn_from(n: int) -> None:
    assert 40 * cells(n) <= n and 0.7 < cells(n) / (2 * np.sqrt(n)) < 1.5


def test_nearest_distance() -> None:
    z, ref = rows(20, 6, 3), rows(50, 6, 4)
    by_hand = np.sort(np.linalg.norm(z[:, None].astype(np.float64) - ref[None], axis=2), axis=1)
    np.testing.assert_allclose(nearest_distance(z, ref), by_hand[:, 0], rtol=1e-12)
    np.testing.assert_allclose(nearest_distance(z, ref, 3), by_hand[:, 2], rtol=1e-12)
    own = np.linalg.norm(ref[:, None].astype(np.float64) - ref[None], axis=2)
    np.fill_diagonal(own, np.inf)
    np.testing.assert_allclose(nearest_distance(ref, ref, leave_one_out=True), own.min(axis=1), rtol=1e-12)
    with pytest.raises(ValueError, match="5-th neighbour among 4"):
        nearest_distance(z[:5], z[:5], 5, leave_one_out=True)


def test_wrong_arguments() -> None:
    z = rows(5, 4, 5)
    with pytest.raises(ValueError, match="at least one row"):
        Index(z[:0])
    with pytest.raises(ValueError, match=r"\(4,\) ids for 5 rows"):
        Index(z, np.arange(4))
    with pytest.raises(ValueError, match="dimension 3 and k=1 for rows of 4"):
        Index(z).search(z[:, :3], 1)
    with pytest.raises(ValueError, match="k=0"):
        Index(z).search(z, 0)
