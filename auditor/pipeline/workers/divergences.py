"""Divergences and their permutation tests as Ray work: one pair of sets of rows and one modality a shard."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from threadpoolctl import threadpool_limits

from auditor.measures.divergence_files import write_measured
from auditor.measures.reducer import Measured, divergence
from auditor.pipeline.executor import ShardResult
from auditor.profiles.folding import read_sums
from auditor.profiles.sketching import SketchSet
from auditor.storage.work_units import Shard


@dataclass(frozen=True, slots=True)
class DivergenceItem:
    """One divergence to measure, of the rows that lie in files."""

    key: str
    p: tuple[Path, ...]
    """Files whose rows, merged in this order, are P's."""
    q: tuple[Path, ...]
    modality: str
    seed: int


@dataclass(frozen=True)
class MeasureSettings:
    """What a `DivergenceWorker` is made from; pickled to its process."""

    folder: Path
    """Where results go: `<shard>.json`."""
    level: float
    threads: int


class DivergenceWorker:
    """A worker of the pool. Holds the last P and the last Q: shards come a Q after the other."""

    def __init__(self, settings: MeasureSettings) -> None:
        self._settings = settings
        self._p: tuple[tuple[Path, ...], SketchSet | None] = ((), None)
        self._q: tuple[tuple[Path, ...], SketchSet | None] = ((), None)

    def run(self, shard: Shard[DivergenceItem]) -> ShardResult:
        began = time.monotonic()
        (item,) = shard.items
        write_measured(self._settings.folder / f"{shard.name}.json", self._measured(item))
        return ShardResult(shard.name, 1, 0, time.monotonic() - began)

    def _measured(self, item: DivergenceItem) -> Measured:
        if self._p[0] != item.p:
            self._p = item.p, read_sums(item.p)
        if self._q[0] != item.q:
            self._q = item.q, read_sums(item.q)
        p, q = self._p[1], self._q[1]
        if p is None or q is None:
            return Measured(None, "no usable row")
        with threadpool_limits(self._settings.threads):  # sums of another number of threads have other bits
            return divergence(p, q, item.modality, seed=item.seed, level=self._settings.level)
