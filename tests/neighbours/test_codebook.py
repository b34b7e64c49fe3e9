"""Codebooks: the clusters that are there, the same for the same seed, nearest by distance."""

from __future__ import annotations

import numpy as np
import pytest

from auditor.neighbours.codebook import learn_codebook, nearest_cell


def test_a_codebook_finds_the_clusters_and_repeats_itself() -> None:
    rng = np.random.default_rng(10)
    centres = rng.normal(size=(8, 16)) * 5
    label = rng.integers(8, size=800)
    rows = (centres[label] + rng.normal(size=(800, 16)) * 0.2).astype(np.float32)
    book = learn_codebook(rows, 8, seed=3)
    assert np.array_equal(book, learn_codebook(rows, 8, seed=3))
    cells = nearest_cell(rows, book)
    distances = np.square(rows[:, None].astype(float) - book).sum(axis=2)
    assert np.array_equal(cells, distances.argmin(axis=1))
    assert all(len(set(label[cells == k])) <= 1 or (cells == k).sum() > 50 for k in range(8))


def test_any_seed_that_numpy_takes() -> None:
    rows = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    assert np.isfinite(learn_codebook(rows, 3, seed=2**32 - 1)).all()


def test_fewer_different_rows_than_cells() -> None:
    book = learn_codebook(np.eye(3)[[0, 1, 0, 1]], 8)
    assert len(book) == 2 and set(nearest_cell(np.eye(3)[:2], book)) == {0, 1}
    with pytest.raises(ValueError, match="no codebook of 8 cells from 0 rows"):
        learn_codebook(np.zeros((0, 3)), 8)
    with pytest.raises(ValueError, match="dimension 2"):
        nearest_cell(np.ones((1, 2)), book)
