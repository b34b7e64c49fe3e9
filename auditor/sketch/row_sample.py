"""The row sample holds the rows with the smallest hashes of their record ids. It travels with the sums of all
rows, for what sums cannot give: permutations, the jackknife, neighbours, shares of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auditor.sketch.blocks import hash64
from auditor.sketch.moments import Floats, as_rows


@dataclass(frozen=True, eq=False)
class RowSample:
    """A `RowSample` holds the k rows with the smallest 64-bit hashes of their record ids: deterministic and
    mergeable.

    Rows are ordered by (hash, id). Record ids are taken to be unique (the reader quarantines duplicates);
    a repeated id is sampled as often as it occurs, as the sketch counts it.
    """

    k: int
    seen: int
    """How many rows the sample was drawn from."""
    hashes: NDArray[np.uint64]
    """(m,) ascending, m = min(k, seen)"""
    ids: NDArray[np.str_]
    base_ids: NDArray[np.str_]
    rows: dict[str, NDArray[np.float32]]
    """modality -> (m, d)"""

    @classmethod
    def empty(cls) -> RowSample:
        """Return the sample of no rows."""
        none = np.zeros(0, np.str_)
        return cls(0, 0, np.zeros(0, np.uint64), none, none, {})

    @classmethod
    def from_rows(
        cls, ids: Sequence[str], base_ids: Sequence[str], rows: Mapping[str, ArrayLike], k: int
    ) -> RowSample:
        """Return the sample of n rows: ids (n,), base_ids (n,), rows modality -> (n, d). O(n)."""
        if k < 1:
            raise ValueError(f"a row sample holds at least one row, not {k}")
        checked = {name: as_rows(z, name) for name, z in rows.items()}
        lengths = {"base_ids": len(base_ids), **{name: len(z) for name, z in checked.items()}}
        for name, length in lengths.items():
            if length != len(ids):
                raise ValueError(f"{length} {name} for {len(ids)} ids")
        hashes = np.array([hash64(i, b"sample") for i in ids], dtype=np.uint64)
        return cls._smallest(
            k,
            len(ids),
            hashes,
            np.asarray(ids, dtype=np.str_),
            np.asarray(base_ids, dtype=np.str_),
            checked,
        )

    @classmethod
    def _smallest(
        cls,
        k: int,
        seen: int,
        hashes: NDArray[np.uint64],
        ids: NDArray[np.str_],
        base_ids: NDArray[np.str_],
        rows: Mapping[str, Floats],
    ) -> RowSample:
        keep = np.lexsort((ids, hashes))[:k]
        kept = {name: z[keep].astype(np.float32) for name, z in rows.items()}
        return cls(k, seen, hashes[keep], ids[keep], base_ids[keep], kept)

    def merge(self, other: RowSample) -> RowSample:
        """Return the sample of both sets of rows. ValueError where k, modalities or dimensions differ."""
        shape = {name: z.shape[1] for name, z in self.rows.items()}
        if self.k != other.k or shape != {name: z.shape[1] for name, z in other.rows.items()}:
            raise ValueError("cannot merge row samples of different k, modalities or dimensions")
        return self._smallest(
            self.k,
            self.seen + other.seen,
            np.concatenate([self.hashes, other.hashes]),
            np.concatenate([self.ids, other.ids]),
            np.concatenate([self.base_ids, other.base_ids]),
            {name: np.concatenate([z, other.rows[name]]) for name, z in self.rows.items()},
        )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def complete(self) -> bool:
        """Return whether the sample holds all of the rows."""
        return len(self) == self.seen

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return plain arrays, for npz or Arrow (never pickle); modalities as `rows.<name>`."""
        return {
            "k": np.array(self.k, dtype=np.int64),
            "seen": np.array(self.seen, dtype=np.int64),
            "hashes": self.hashes,
            "ids": self.ids,
            "base_ids": self.base_ids,
            **{f"rows.{name}": z for name, z in self.rows.items()},
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, ArrayLike]) -> RowSample:
        """Restore a sample from the arrays of `to_arrays`. ValueError where lengths differ or a row is not
        finite."""
        ids = np.asarray(arrays["ids"], dtype=np.str_)
        base_ids = np.asarray(arrays["base_ids"], dtype=np.str_)
        hashes = np.asarray(arrays["hashes"], dtype=np.uint64)
        rows = {
            key.removeprefix("rows."): as_rows(z, key).astype(np.float32, copy=False)
            for key, z in arrays.items()
            if key.startswith("rows.")
        }
        if {len(base_ids), len(hashes), *(len(z) for z in rows.values())} != {len(ids)}:
            raise ValueError("not a row sample: its arrays differ in length")
        return cls(int(np.asarray(arrays["k"])), int(np.asarray(arrays["seen"])), hashes, ids, base_ids, rows)
