"""Blocks: the same everywhere, equal where they must be."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.sketch.blocks import (
    equal_blocks,
    group_sums,
    hash_block,
    hash_blocks,
    jackknife_groups,
    rows_of_groups,
)


def test_hash_block_is_a_fixed_function_of_the_base_id() -> None:
    digest = blake2b(b"coco-17", digest_size=8, person=b"block").digest()
    assert hash_block("coco-17") == int.from_bytes(digest, "big") % 60
    assert list(hash_blocks(["coco-17", "b"], 7)) == [hash_block("coco-17", 7), hash_block("b", 7)]


def test_hash_blocks_are_about_even() -> None:
    counts = np.bincount(hash_blocks(f"record-{i}" for i in range(6000)), minlength=60)
    chi2 = float(np.square(counts - 100).sum() / 100)
    assert chi2 < 104  # 59 degrees of freedom, 99.97%


def test_equal_blocks_hold_every_row_at_most_once() -> None:
    cut = equal_blocks(103, 10, np.random.default_rng(0))
    assert cut.shape == (10, 10)
    assert len(np.unique(cut)) == 100 and cut.max() < 103
    with pytest.raises(ValueError, match="11 rows"):
        equal_blocks(10, 11, np.random.default_rng(0))


def test_jackknife_groups() -> None:
    rng = np.random.default_rng(0)
    sizes = np.bincount(jackknife_groups(107, rng))
    assert len(sizes) == 20 and sizes.max() - sizes.min() == 1
    blocks = np.arange(60)
    assert (np.bincount(jackknife_groups(60, rng, blocks)) == 3).all()  # three hash blocks a group


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=30))
def test_rows_and_sums_by_group(labels: list[int]) -> None:
    """Groups in the order of their labels, their rows ascending, each once."""
    of = np.array(labels)
    expected = [np.flatnonzero(of == label) for label in sorted(set(labels))]
    found = rows_of_groups(of)
    assert [part.tolist() for part in found] == [part.tolist() for part in expected]
    z = np.arange(2.0 * len(labels)).reshape(-1, 2)
    np.testing.assert_array_equal(group_sums(z, of), [z[part].sum(axis=0) for part in expected])
    assert rows_of_groups(of[:0]) == []
