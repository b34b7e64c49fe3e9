"""The row sample holds whole groups of rows, those with the smallest hashes. It travels with the sums of all
rows, for what sums cannot give: permutations, the jackknife, neighbours, shares of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auditor.sketch.blocks import hash64
from auditor.sketch.moments import as_rows

PARTS, LEAST_PART = 20, 5
"""A group may fill one part in PARTS of a sample, or LEAST_PART rows, and no more. Else one large group could
be all of it."""

Strings = NDArray[np.str_]


@dataclass(frozen=True, eq=False)
class RowSample:
    """A `RowSample` holds at most k rows, in the order of the hashes of their groups: deterministic and
    mergeable in any order.

    While there are at most k rows it holds all of them. Beyond, whole groups are taken, those with the
    smallest hashes first; the last one may be cut by k, and none has more than `most_of_a_group` rows. Within
    a group rows are in the order of the hashes of base id and record id, so that a record and
    its perturbed copy are chosen alike. Record ids are taken to be unique (the reader quarantines
    duplicates); a repeated id is sampled as often as it occurs, as the sketch counts it.
    """

    k: int
    seen: int
    """How many rows the sample was drawn from."""
    hashes: NDArray[np.uint64]
    """(m, 3) 64-bit hashes of group, base id and record id, rows ascending; m <= min(k, seen)"""
    ids: Strings
    base_ids: Strings
    groups: Strings
    """(m,) which rows belong together: they are not independent of each other"""
    rows: dict[str, NDArray[np.float32]]
    """modality -> (m, d)"""

    @classmethod
    def empty(cls) -> RowSample:
        """Return the sample of no rows."""
        none = np.zeros(0, np.str_)
        return cls(0, 0, np.zeros((0, 3), np.uint64), none, none, none, {})

    @classmethod
    def from_rows(
        cls,
        ids: Sequence[str],
        base_ids: Sequence[str],
        groups: Sequence[str],
        rows: Mapping[str, ArrayLike],
        k: int,
    ) -> RowSample:
        """Return the sample of n rows: ids, base_ids and groups (n,), rows modality -> (n, d). O(n)."""
        if k < 1:
            raise ValueError(f"a row sample holds at least one row, not {k}")
        checked = {name: as_rows(z, name).astype(np.float32, copy=False) for name, z in rows.items()}
        lengths = {
            "base_ids": len(base_ids),
            "groups": len(groups),
            **{name: len(z) for name, z in checked.items()},
        }
        for name, length in lengths.items():
            if length != len(ids):
                raise ValueError(f"{length} {name} for {len(ids)} ids")
        hashes = _hashes(groups, base_ids, ids)
        texts = [np.asarray(part, dtype=np.str_) for part in (ids, base_ids, groups)]
        return cls(k, len(ids), hashes, texts[0], texts[1], texts[2], checked)._smallest()

    def _smallest(self) -> RowSample:
        """Put the rows in order, and leave out those that are too many."""
        keep = np.lexsort((self.ids, *self.hashes.T[::-1]))
        if self.seen > self.k:
            keep = keep[_places(self.hashes[keep, 0]) < self.most_of_a_group][: self.k]
        return RowSample(
            self.k,
            self.seen,
            self.hashes[keep],
            self.ids[keep],
            self.base_ids[keep],
            self.groups[keep],
            {name: z[keep] for name, z in self.rows.items()},
        )

    def merge(self, other: RowSample) -> RowSample:
        """Return the sample of both sets of rows. ValueError where k, modalities or dimensions differ."""
        shape = {name: z.shape[1] for name, z in self.rows.items()}
        if self.k != other.k or shape != {name: z.shape[1] for name, z in other.rows.items()}:
            raise ValueError("cannot merge row samples of different k, modalities or dimensions")
        return RowSample(
            self.k,
            self.seen + other.seen,
            np.concatenate([self.hashes, other.hashes]),
            np.concatenate([self.ids, other.ids]),
            np.concatenate([self.base_ids, other.base_ids]),
            np.concatenate([self.groups, other.groups]),
            {name: np.concatenate([z, other.rows[name]]) for name, z in self.rows.items()},
        )._smallest()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def complete(self) -> bool:
        """Return whether the sample holds all of the rows."""
        return len(self) == self.seen

    @property
    def most_of_a_group(self) -> int:
        """Return the most rows of one group, where there are more rows than the sample holds."""
        return max(LEAST_PART, self.k // PARTS)

    @property
    def whole(self) -> bool:
        """Return whether it has as many rows as it should: all, or k, or fewer where a large group was
        cut."""
        if len(self) >= min(self.k, self.seen):
            return len(self) == min(self.k, self.seen)
        _, counts = np.unique(self.groups, return_counts=True)
        return self.seen > self.k and bool((counts == self.most_of_a_group).any())

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return plain arrays, for npz or Arrow (never pickle); modalities as `rows.<name>`."""
        return {
            "k": np.array(self.k, dtype=np.int64),
            "seen": np.array(self.seen, dtype=np.int64),
            "hashes": self.hashes,
            "ids": self.ids,
            "base_ids": self.base_ids,
            "groups": self.groups,
            **{f"rows.{name}": z for name, z in self.rows.items()},
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, ArrayLike]) -> RowSample:
        """Restore a sample from the arrays of `to_arrays`. ValueError where shapes do not fit or a row is not
        finite."""
        ids, base_ids, groups = (
            np.asarray(arrays[name], dtype=np.str_) for name in ("ids", "base_ids", "groups")
        )
        hashes = np.asarray(arrays["hashes"], dtype=np.uint64)
        rows = {
            key.removeprefix("rows."): as_rows(z, key).astype(np.float32, copy=False)
            for key, z in arrays.items()
            if key.startswith("rows.")
        }
        if hashes.shape != (len(ids), 3):
            raise ValueError(f"not a row sample: hashes {hashes.shape} of {len(ids)} rows")
        if {len(base_ids), len(groups), *(len(z) for z in rows.values())} != {len(ids)}:
            raise ValueError("not a row sample: its arrays differ in length")
        k, seen = (int(np.asarray(arrays[name])) for name in ("k", "seen"))
        return cls(k, seen, hashes, ids, base_ids, groups, rows)


def _hashes(*names: Sequence[str]) -> NDArray[np.uint64]:
    """(n, len(names)) hash of each name; names that are the same text are hashed once."""
    out = np.zeros((len(names[0]), len(names)), np.uint64)
    for row, texts in enumerate(zip(*names, strict=True)):
        known: dict[str, int] = {}
        for column, text in enumerate(texts):
            if text not in known:
                known[text] = hash64(text, b"sample")
            out[row, column] = known[text]
    return out


def _places(ordered: NDArray[np.uint64]) -> NDArray[np.int64]:
    """(n,) place of each row within its run of equal values, from 0."""
    positions = np.arange(len(ordered))
    is_first = np.diff(ordered, prepend=ordered[:1]) != 0
    return positions - np.maximum.accumulate(np.where(is_first, positions, 0))
