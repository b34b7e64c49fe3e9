"""A worker searches one shard of indexed rows for one block of queries, and writes one file of neighbours a
unit.

A worker holds the index of one shard at a time, so that rows are never all in memory, wherever they are; the
driver merges the files of a block over the shards. Units come a shard after the other: a worker builds each
index once.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from auditor.neighbours.files import Found, read_vectors, write_found
from auditor.neighbours.index import Index, Kind
from auditor.pipeline.executor import ShardResult
from auditor.storage.work_units import Shard


@dataclass(frozen=True, slots=True)
class SearchItem:
    """An item is one shard of rows and one block of queries (files of `auditor.neighbours.files`)."""

    key: str
    rows: Path
    queries: Path
    sample: tuple[int, ...] = ()
    """Queries of the block that are searched exactly too, where the index is not exact."""


@dataclass(frozen=True)
class SearchSettings:
    """A `SearchWorker` is made from these settings, which are pickled to its process."""

    folder: Path
    """Where the neighbours go: `<shard>.npz`."""
    k: int
    kind: Kind
    probe: float
    seed: int


class SearchWorker:
    """This worker searches for neighbours."""

    def __init__(self, settings: SearchSettings) -> None:
        self._settings = settings
        self._held: tuple[Path, Index] | None = None

    def run(self, shard: Shard[SearchItem]) -> ShardResult:
        began, count = time.monotonic(), 0
        for item in shard.items:
            _, queries = read_vectors(item.queries)
            write_found(self._settings.folder / f"{shard.name}.npz", self._search(item, queries))
            count += len(queries)
        return ShardResult(shard.name, count, 0, time.monotonic() - began)

    def _search(self, item: SearchItem, queries: np.ndarray) -> Found:
        index, k = self._index(item.rows), self._settings.k
        sample = np.array(item.sample, dtype=np.int64)
        exact = index.search(queries[sample], k, exact=True).distance
        return Found(index.search(queries, k), sample, exact)

    def _index(self, path: Path) -> Index:
        if self._held is None or self._held[0] != path:
            self._held = None  # the old one goes before the new one comes
            ids, rows = read_vectors(path)
            settings = self._settings
            self._held = path, Index(rows, ids, kind=settings.kind, probe=settings.probe, seed=settings.seed)
        return self._held[1]
