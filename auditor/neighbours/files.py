"""Files of a search, as npz: shards of vectors with their ids, and what was found in one of them."""

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
    """The nearest rows of one shard to a block of queries."""

    neighbours: Neighbours
    sample: NDArray[np.int64]
    """(s,) queries that were searched exactly too; none where the search itself is exact"""
    exact: Float
    """(s, k) exact distances of those"""


def write_vectors(path: Path, ids: Sequence[str], rows: Float32) -> None:
    """Write rows (n, d) with their ids (n,) whole."""
    write_arrays(path, {"ids": np.asarray(ids, dtype=np.str_), "rows": rows})


def read_vectors(path: Path) -> tuple[NDArray[np.str_], Float32]:
    """What `write_vectors` wrote. Raises `AuditError` where the file is none."""
    ids, rows = _read(path, "ids", "rows")
    return ids, rows


def read_ids(path: Path) -> NDArray[np.str_]:
    """The ids alone. Raises as `read_vectors`."""
    return _read(path, "ids")[0]


def write_found(path: Path, matches: Found) -> None:
    """Write what was found whole."""
    neighbours = matches.neighbours
    arrays: dict[str, NDArray[Any]] = {
        "distance": neighbours.distance,
        "ids": neighbours.ids,
        "sample": matches.sample,
        "exact": matches.exact,
    }
    write_arrays(path, arrays)


def read_found(path: Path) -> Found:
    """What `write_found` wrote. Raises `AuditError` where the file is none."""
    distance, ids, sample, exact = _read(path, "distance", "ids", "sample", "exact")
    return Found(Neighbours(distance, ids), sample, exact)


def _read(path: Path, *names: str) -> list[NDArray[Any]]:
    with opened(path, "its folder") as file:
        return [file[name] for name in names]
