"""Rows go into hash blocks for pairing, equal blocks for permutation, and groups for the jackknife.

The two kinds are never mixed. *Hash blocks* follow the group of a record (its base id, where it belongs to no
other record), so that rows that depend on each other are in one block, and the same question under another
shift, or answered by another model, falls into the same block (what the paired bootstrap needs); their sizes
differ. *Equal blocks* are cut from shuffled rows; only they may be permuted between two samples, since
permuting unequal blocks alarms too often.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditor.sketch.moments import Float

HASH_BLOCKS = 60
JACKKNIFE_GROUPS = 20

Index = NDArray[np.int64]


def hash64(text: str, purpose: bytes) -> int:
    """Return the 64-bit blake2b hash of a text, the same on every machine and in every process.

    `purpose` (at most 16 bytes) keeps uses apart: the block of a row says nothing about whether the row is in
    the row sample.
    """
    return int.from_bytes(blake2b(text.encode(), digest_size=8, person=purpose).digest(), "big")


@lru_cache(maxsize=2**16)
def hash_block(group: str, n_blocks: int = HASH_BLOCKS) -> int:
    """Return the hash block of a record, in 0..n_blocks-1, from the name of its group alone."""
    return hash64(group, b"block") % n_blocks


def hash_blocks(groups: Iterable[str], n_blocks: int = HASH_BLOCKS) -> Index:
    """Return (n,) hash block of each row by the name of its group. O(n)."""
    return np.array([hash_block(group, n_blocks) for group in groups], dtype=np.int64)


def equal_blocks(n: int, block_rows: int, rng: np.random.Generator) -> Index:
    """Return (n // block_rows, block_rows) row indices: shuffled rows cut into blocks of one size.

    The n mod block_rows rows left over are in no block.
    """
    if not 1 <= block_rows <= n:
        raise ValueError(f"blocks of {block_rows} rows cannot be cut from {n} rows")
    k = n // block_rows
    return rng.permutation(n)[: k * block_rows].reshape(k, block_rows).astype(np.int64)


def rows_of_groups(labels: NDArray[Any]) -> list[Index]:
    """Return the positions of the rows of each group, ascending, groups in the order of their labels (n,)."""
    order, starts = _by_group(labels)
    return [part.astype(np.int64) for part in np.split(order, starts[1:])] if len(order) else []


def group_sums(z: Float, labels: NDArray[Any]) -> Float:
    """Return (G, ...) sums of the rows z (n, ...) of each group, groups in the order of their labels (n,)."""
    order, starts = _by_group(labels)
    return np.asarray(np.add.reduceat(z[order], starts, axis=0))


def _by_group(labels: NDArray[Any]) -> tuple[Index, Index]:
    """Return the order (n,) in which groups' rows lie beside each other, and where each group begins."""
    _, groups = np.unique(labels, return_inverse=True)
    order = np.argsort(groups, kind="stable")
    return order, np.flatnonzero(np.diff(groups[order], prepend=-1))


def whole_groups(labels: Index, rng: np.random.Generator) -> list[Index]:
    """Return the positions of the rows of each group, the groups in a random order; labels (n,) tell which
    rows belong together."""
    parts = rows_of_groups(labels)
    return [parts[k] for k in rng.permutation(len(parts))]


def deleted_together(groups: Iterable[str]) -> Index:
    """Return (n,) which rows the jackknife leaves out together, in 0..JACKKNIFE_GROUPS-1, by the name of each
    row's group: the same of a record in every statistic."""
    return hash_blocks(groups) % JACKKNIFE_GROUPS


def group_shares(groups_p: Index, groups_q: Index, paired: bool) -> dict[tuple[str, int], float]:
    """Return the share of its side's rows that each group holds, by what is left out
    (`significance.jackknife`); of both sides' rows where these are left out together."""
    sides = {"both": np.concatenate([groups_p, groups_q])} if paired else {"p": groups_p, "q": groups_q}
    return {
        (side, int(g)): float(count / len(groups))
        for side, groups in sides.items()
        for g, count in zip(*np.unique(groups, return_counts=True), strict=True)
    }


def jackknife_groups(
    n: int,
    rng: np.random.Generator,
    blocks: Index | None = None,
    groups: int = JACKKNIFE_GROUPS,
) -> Index:
    """Return (n,) group of each row, in 0..groups-1, for the delete-a-block jackknife.

    With hash blocks, group = block mod `groups` (three of sixty blocks each); without, shuffled groups whose
    sizes differ by one row at most.
    """
    if blocks is None:
        return rng.permutation(n).astype(np.int64) % groups
    if len(blocks) != n:
        raise ValueError(f"{len(blocks)} block labels for {n} rows")
    return np.asarray(blocks, dtype=np.int64) % groups
