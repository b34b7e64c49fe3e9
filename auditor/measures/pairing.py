"""This module puts rows of P and Q side by side: paired by base id where Q is a perturbed copy of P."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from auditor.profiles.profile import having
from auditor.sketch import RowSample
from auditor.sketch.blocks import hash_blocks

LEAST_SHARED = 30
"""Fewer shared base ids than this (or than half of a side) are not a pairing."""


class SideRows(NamedTuple):
    """Rows of P and Q that have every content asked for."""

    p: list[NDArray[np.float32]]
    q: list[NDArray[np.float32]]
    """One array a content."""
    blocks_p: NDArray[np.int64]
    blocks_q: NDArray[np.int64]
    """Hash blocks of their groups."""
    groups_p: NDArray[np.int64]
    groups_q: NDArray[np.int64]
    """Labels of rows that belong together. Of pairs both have those of P's row."""


@dataclass(frozen=True)
class Sides:
    """The sides are sampled rows of P and Q, aligned where they are paired."""

    p: RowSample
    q: RowSample
    at_p: NDArray[np.int64]
    at_q: NDArray[np.int64]
    paired: bool

    def rows(self, *names: str) -> SideRows:
        """Return rows of P and Q that have every one of `names`, with the labels that go with them."""
        has_p, has_q = having(self.p, *names)[self.at_p], having(self.q, *names)[self.at_q]
        if self.paired:
            has_p = has_q = has_p & has_q
        at_p, at_q = self.at_p[has_p], self.at_q[has_q]
        groups_p = self.p.groups[at_p]
        groups_q = groups_p if self.paired else self.q.groups[at_q]
        return SideRows(
            [self.p.rows[name][at_p] for name in names],
            [self.q.rows[name][at_q] for name in names],
            hash_blocks(groups_p),
            hash_blocks(groups_q),
            np.unique(groups_p, return_inverse=True)[1].astype(np.int64),
            np.unique(groups_q, return_inverse=True)[1].astype(np.int64),
        )


def aligned(p: RowSample, q: RowSample) -> Sides:
    """Pair rows by base id where Q is a perturbed copy of P; else all rows of both."""
    everything = np.arange(len(p)), np.arange(len(q))
    ids_p, ids_q = p.base_ids, q.base_ids
    if len(set(ids_p)) < len(ids_p) or len(set(ids_q)) < len(ids_q):
        return Sides(p, q, *everything, paired=False)
    _, at_p, at_q = np.intersect1d(ids_p, ids_q, assume_unique=True, return_indices=True)
    if len(at_p) < max(LEAST_SHARED, min(len(p), len(q)) / 2):
        return Sides(p, q, *everything, paired=False)
    return Sides(p, q, at_p.astype(np.int64), at_q.astype(np.int64), paired=True)


def apart(p: RowSample, q: RowSample) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return (n,), (m,): rows of P and of Q that are of different groups: all of them, but where Q is a
    perturbed copy of P half of the groups stand for P and the other half for Q, since a row beside its own
    copy says nothing of what else is near."""
    if not aligned(p, q).paired:
        return np.ones(len(p), dtype=bool), np.ones(len(q), dtype=bool)
    of_base = dict(zip(p.base_ids.tolist(), p.groups.tolist(), strict=True))
    groups_q = [of_base.get(b, g) for b, g in zip(q.base_ids.tolist(), q.groups.tolist(), strict=True)]
    return hash_blocks(p.groups) % 2 == 0, hash_blocks(groups_q) % 2 == 1
