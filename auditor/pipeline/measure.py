"""Divergences of many pairs of sets: a unit of work each, on workers where there is enough of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from auditor.measures.divergence_files import FORMAT, read_measured
from auditor.measures.reducer import Measured
from auditor.pipeline.executor import HOUR, Stage
from auditor.pipeline.workers.divergences import DivergenceItem, DivergenceWorker, MeasureSettings
from auditor.pipeline.workplace import Workplace
from auditor.storage.run_dir import digest
from auditor.storage.work_units import Shard

FLOPS = 2e10
"""Of one thread, in products and decompositions of these sizes: to tell minutes from moments, no more."""
WORTH_SECONDS = 30.0
"""Less work than this is done in the driver: before workers have started and read, it is done."""
DECOMPOSITIONS = 60
"""Of the null and of the jackknife."""

K = TypeVar("K")


@dataclass(frozen=True)
class Asked(Generic[K]):
    """One divergence that is wanted, and how it is asked for again."""

    key: K
    p: tuple[Path, ...]
    q: tuple[Path, ...]
    modality: str
    seed: int
    rows: int
    """Sampled rows of both sides together, at most."""
    dim: int

    @property
    def seconds(self) -> float:
        """About what it takes on one thread."""
        rank = min(self.rows, self.dim)
        return (DECOMPOSITIONS * 10.0 * rank**3 + 2.0 * self.rows**2 * self.dim) / FLOPS


def divergences(at: Workplace, asked: Sequence[Asked[K]], level: float) -> dict[K, Measured]:
    """Every divergence asked for, in that order: the same bits from workers or from the driver."""
    identity = json.dumps({"format": FORMAT, "level": level, "threads": at.shards.threads}, sort_keys=True)
    folder = at.run.folder("measures", identity)
    shards = [_shard(identity, one) for one in asked]
    done = {path.stem for path in folder.glob("*.json")}
    settings = MeasureSettings(folder, level, at.shards.threads)
    todo = [(one, shard) for one, shard in zip(asked, shards, strict=True) if shard.name not in done]
    with at.executor.staff(Stage("divergences", least_seconds=HOUR)) as staff:
        if sum(one.seconds for one, _ in todo) >= WORTH_SECONDS and staff.count > 1:
            staff.run(DivergenceWorker, settings, [shard for _, shard in todo])
        else:
            worker = DivergenceWorker(settings)
            for _, shard in todo:
                worker.run(shard)
    return {
        one.key: read_measured(folder / f"{shard.name}.json")
        for one, shard in zip(asked, shards, strict=True)
    }


def _shard(identity: str, one: Asked[K]) -> Shard[DivergenceItem]:
    """Named by the files' names, which are of their content."""
    names = [[f"{path.parent.name}/{path.name}" for path in side] for side in (one.p, one.q)]
    name = digest(json.dumps([identity, names, one.modality, one.seed]))
    return Shard(name, (DivergenceItem(name, one.p, one.q, one.modality, one.seed),))
