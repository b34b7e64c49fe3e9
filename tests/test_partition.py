"""The partition against brute force."""

from __future__ import annotations

import numpy as np
import pytest

from auditor.partition import nearest_distance, partition


def unit(n: int, d: int, seed: int, mean: float = 0.2) -> np.ndarray:
    z = np.random.default_rng(seed).normal(size=(n, d)) + mean
    return (z / np.linalg.norm(z, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("n", [60, 7, 2])
def test_mean_cosine_distance_to_every_row(n: int) -> None:
    pool, ref = unit(n, 12, 0, 0.0), unit(90, 12, 1)
    got = partition(pool, ref)
    brute = np.array([[1 - float(a.astype(float) @ b.astype(float)) for b in ref] for a in pool]).mean(axis=1)
    np.testing.assert_allclose(got.distances, brute, atol=1e-6)
    order = np.argsort(brute)
    assert list(got.normal) == list(order)
    assert list(got.easy) == list(order[: n // 2]) and list(got.hard) == list(order[n - n // 2 :])
    assert len(got.easy) == len(got.hard) == n // 2 and not set(got.easy) & set(got.hard)


def test_ties_go_by_id_whatever_the_order_of_rows() -> None:
    """Several questions about one image lie at one distance."""
    image = unit(3, 8, 2)
    pool = np.repeat(image, 4, axis=0)
    ids = [f"{i:02d}" for i in range(12)]
    shuffled = np.random.default_rng(0).permutation(12)
    a = partition(pool, image, ids)
    b = partition(pool[shuffled], image, [ids[i] for i in shuffled])
    assert [ids[i] for i in a.normal] == [ids[shuffled[i]] for i in b.normal]
    groups = [[ids[i] for i in a.normal[s : s + 4]] for s in (0, 4, 8)]
    assert all(g == sorted(g) for g in groups)


def test_nearest_distance() -> None:
    rows, ref = unit(20, 6, 3), unit(50, 6, 4)
    brute = np.sort(np.linalg.norm(rows[:, None] - ref[None], axis=2), axis=1)
    np.testing.assert_allclose(nearest_distance(rows, ref), brute[:, 0], atol=1e-5)
    np.testing.assert_allclose(nearest_distance(rows, ref, 3), brute[:, 2], atol=1e-5)
    own = np.linalg.norm(ref[:, None] - ref[None], axis=2)
    np.fill_diagonal(own, np.inf)
    np.testing.assert_allclose(nearest_distance(ref, ref, leave_one_out=True), own.min(axis=1), atol=1e-4)


def test_wrong_arguments() -> None:
    z = unit(5, 4, 5)
    with pytest.raises(ValueError, match="unit length"):
        partition(z * 2, z)
    with pytest.raises(ValueError, match="no rows"):
        partition(z, z[:0])
    with pytest.raises(ValueError, match="4 ids for 5 rows"):
        partition(z, z, list("abcd"))
    with pytest.raises(ValueError, match="dimension 4, reference has 3"):
        partition(z, unit(5, 3, 6))
    with pytest.raises(ValueError, match="5-th neighbour among 4"):
        nearest_distance(z, z, 5, leave_one_out=True)
