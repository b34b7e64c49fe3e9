"""This module puts rows of P and Q side by side: paired by base id where Q is a perturbed copy of P, and
partly paired where some of its rows are copies and others are new."""

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
LEAST_PARTLY = 0.1
"""Share of the smaller side's rows, from which rows with a copy on the other side are compared with it. Fewer
stay among the others, where copies make a test a little cautious and nothing worse."""
MOST_ALONE = 0.05
"""Share of Q's rows without a copy, up to which they are left out where nearly all have one."""


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
    shared: tuple[NDArray[np.int64], NDArray[np.int64]] | None
    """(s,), (s,): where some rows are copies of each other, their positions in p and q."""


@dataclass(frozen=True)
class Sides:
    """The sides are sampled rows of P and Q, aligned where they are paired."""

    p: RowSample
    q: RowSample
    at_p: NDArray[np.int64]
    at_q: NDArray[np.int64]
    paired: bool
    """Whether rows i of both are copies of each other."""
    partly: bool = False
    """Whether some rows are copies of each other, and others have none."""

    @property
    def related(self) -> bool:
        """Return whether rows of P have copies in Q, so that the same groups are left out on both sides."""
        return self.paired or self.partly

    def rows(self, *names: str) -> SideRows:
        """Return rows of P and Q that have every one of `names`, with the labels that go with them."""
        has_p, has_q = having(self.p, *names)[self.at_p], having(self.q, *names)[self.at_q]
        if self.paired:
            has_p = has_q = has_p & has_q
        at_p, at_q = self.at_p[has_p], self.at_q[has_q]
        groups_p, groups_q = self.p.groups[at_p], self.groups_q[has_q]
        shared = None
        if self.partly:
            bases = self.p.base_ids[at_p], self.q.base_ids[at_q]
            _, *places = np.intersect1d(*bases, assume_unique=True, return_indices=True)
            shared = places[0].astype(np.int64), places[1].astype(np.int64)
        return SideRows(
            [self.p.rows[name][at_p] for name in names],
            [self.q.rows[name][at_q] for name in names],
            hash_blocks(groups_p),
            hash_blocks(groups_q),
            np.unique(groups_p, return_inverse=True)[1].astype(np.int64),
            np.unique(groups_q, return_inverse=True)[1].astype(np.int64),
            shared,
        )

    @property
    def groups_q(self) -> NDArray[np.str_]:
        """Return the groups of Q's rows; those of copies are P's."""
        own = self.q.groups[self.at_q]
        return _as_in_p(self.p, self.q.base_ids[self.at_q], own) if self.related else own


def aligned(p: RowSample, q: RowSample) -> Sides:
    """Pair rows by base id where Q is a perturbed copy of P; else all rows of both, some of which may be
    copies of each other."""
    everything = np.arange(len(p)), np.arange(len(q))
    ids_p, ids_q = p.base_ids, q.base_ids
    if len(set(ids_p)) < len(ids_p) or len(set(ids_q)) < len(ids_q):
        return Sides(p, q, *everything, paired=False)
    _, at_p, at_q = np.intersect1d(ids_p, ids_q, assume_unique=True, return_indices=True)
    shared, smaller = len(at_p), min(len(p), len(q))
    alone_p, alone_q = len(p) - shared, len(q) - shared
    new = min(alone_p, alone_q) >= 2 and alone_q > MOST_ALONE * len(q)
    if new and shared >= max(2, LEAST_PARTLY * smaller):
        return Sides(p, q, *everything, paired=False, partly=True)
    if alone_q > MOST_ALONE * len(q) or shared < max(LEAST_SHARED, smaller / 2):
        return Sides(p, q, *everything, paired=False)
    return Sides(p, q, at_p.astype(np.int64), at_q.astype(np.int64), paired=True)


def apart(p: RowSample, q: RowSample) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return (n,), (m,): rows of P and of Q that are of different groups: all of them, but where rows of Q
    are copies of P's half of the groups stand for P and the other half for Q, since a row beside its own copy
    says nothing of what else is near."""
    if not aligned(p, q).related:
        return np.ones(len(p), dtype=bool), np.ones(len(q), dtype=bool)
    groups_q = _as_in_p(p, q.base_ids, q.groups)
    return hash_blocks(p.groups) % 2 == 0, hash_blocks(groups_q) % 2 == 1


def _as_in_p(p: RowSample, base_ids: NDArray[np.str_], groups: NDArray[np.str_]) -> NDArray[np.str_]:
    """(m,) groups of rows, of P's row where that has the same base id."""
    of_base = dict(zip(p.base_ids.tolist(), p.groups.tolist(), strict=True))
    return np.array(
        [of_base.get(b, g) for b, g in zip(base_ids.tolist(), groups.tolist(), strict=True)], dtype=np.str_
    )
