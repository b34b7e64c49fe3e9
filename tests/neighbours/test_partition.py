"""The partition against brute force."""

from __future__ import annotations

import numpy as np
import pytest

from auditor.neighbours.partition import Centroid, partition, split


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


def test_batches_of_any_size_make_the_same_split() -> None:
    """Neither side is ever held whole: a sum of the one, a distance a row of the other."""
    pool, ref = unit(31, 8, 6, 0.0), unit(47, 8, 7)
    whole = partition(pool, ref)
    centroid = Centroid()
    for start in range(0, 47, 5):
        centroid.add(ref[start : start + 5])
    distances = np.concatenate([centroid.distances(pool[i : i + 4]) for i in range(0, 31, 4)])
    streamed = split(distances, np.arange(31))
    np.testing.assert_allclose(streamed.distances, whole.distances, rtol=0, atol=1e-12)
    assert list(streamed.normal) == list(whole.normal) and list(streamed.hard) == list(whole.hard)


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
