"""A search keeps npz files: shards of vectors with their ids, and the neighbours found in each shard."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from auditor.neighbours.index import Neighbours
from auditor.sketch import Float
from auditor.storage.npz import opened, write_arrays

Float32 = NDArray[np.float32]


class Found(NamedTuple):
    """`Found` holds the nearest rows of one shard to a block of queries."""

    neighbours: Neighbours
    sample: NDArray[np.int64]
    """(s,) queries that were searched exactly too; none where the search itself is exact"""
    exact: Float
    """(s, k) exact distances of those"""


def write_vectors(path: Path, ids: Sequence[str], rows: Float32) -> None:
    """Write rows (n, d) with their ids (n,) whole."""
    write_arrays(path, {"ids": np.asarray(ids, dtype=np.str_), "rows": rows})


def read_vectors(path: Path) -> tuple[NDArray[np.str_], Float32]:
    """Read what `write_vectors` wrote. Raises `AuditError` where the file holds no vectors."""
    ids, rows = _read(path, "ids", "rows")
    return ids, rows


def read_ids(path: Path) -> NDArray[np.str_]:
    """Read the ids alone. Raises as `read_vectors`."""
    return _read(path, "ids")[0]


def write_found(path: Path, matches: Found) -> None:
    """Write the neighbours found in one shard whole."""
    neighbours = matches.neighbours
    arrays: dict[str, NDArray[Any]] = {
        "distance": neighbours.distance,
        "ids": neighbours.ids,
        "sample": matches.sample,
        "exact": matches.exact,
    }
    write_arrays(path, arrays)


def read_found(path: Path) -> Found:
    """Read what `write_found` wrote. Raises `AuditError` where the file holds no neighbours."""
    distance, ids, sample, exact = _read(path, "distance", "ids", "sample", "exact")
    return Found(Neighbours(distance, ids), sample, exact)


def _read(path: Path, *names: str) -> list[NDArray[Any]]:
    with opened(path, "its folder") as file:
        return [file[name] for name in names]
