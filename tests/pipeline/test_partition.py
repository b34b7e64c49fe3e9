"""The partition of natural pools over real local Ray actors, against brute force over all rows."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import ray
from numpy.typing import NDArray
from ray import cloudpickle

import auditor.pipeline.partition
import auditor.pipeline.workers.neighbours
from auditor.errors import AuditError
from auditor.neighbours.partition import partition
from auditor.pipeline.embed import Embedded
from auditor.pipeline.partition import partitioned
from auditor.records import Quarantine, RecordWriter
from auditor.scenarios import Scenario
from auditor.storage.embedding_store import embedding_table
from auditor.storage.row_cache import ARROW, Failure
from auditor.storage.run_dir import RunDir
from auditor.storage.work_units import text_key
from schemas.config import IndexConfig, Partitioning, ShardConfig, WorkersConfig
from schemas.record import Reason, Record
from tests.conftest import workplace_at

N_ID, N_POOL, D = 12_500, 90, 12
LOST = 7
"""A record of the pool whose query has no vector."""
Array = NDArray[np.float32]


@pytest.fixture(scope="module", autouse=True)
def cluster(quiet_ray: Callable[[int], None]) -> Iterator[None]:
    quiet_ray(6)  # those of a killed worker come back late
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def vectors() -> dict[str, Array]:
    """ID rows in overlapping clusters; a pool of copies of ID rows, rows near them, and rows far from all."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(40, D))
    id_rows = centres[rng.integers(40, size=N_ID)] + 0.6 * rng.normal(size=(N_ID, D))
    near = id_rows[rng.integers(N_ID, size=60)] + 0.1 * rng.normal(size=(60, D))
    pool = np.concatenate([id_rows[:10], near, rng.normal(size=(20, D))])[rng.permutation(N_POOL)]
    return {"id": unit(id_rows), "pool": unit(pool)}


def unit(z: NDArray) -> Array:
    return (z / np.linalg.norm(z, axis=1, keepdims=True)).astype(np.float32)


class World:
    """A run directory with both scenarios and their embedded queries."""

    def __init__(self, out: Path, vectors: dict[str, Array], how: Partitioning) -> None:
        self.run = RunDir(out)
        self.run.open()
        self.texts = Embedded("text encoder", self.run.embeddings("text encoder"))
        self.scenarios = []
        for name, rows in vectors.items():
            path = self.run.records(name)
            queries = [f"{name} query {i}" for i in range(len(rows))]
            with RecordWriter(path) as writer:
                for i, query in enumerate(queries):
                    writer.write(Record(f"{name}{i:05d}", f"{name}{i:05d}", query=query))
            Quarantine().write(path.with_name(f"{path.stem}.quarantine.parquet"))
            lost = Failure(Reason.MODEL_FAILED, "") if name == "pool" else None
            failures = [lost if i == LOST else None for i in range(len(rows))]
            table = embedding_table([text_key(q) for q in queries], rows, failures)
            ARROW.write(self.texts.folder, name, table)
            of = None if name == "id" else how
            self.scenarios.append(Scenario(name, name, path, len(rows), of))

    def partitioned(self, index: IndexConfig, workers: int = 2, **of: object) -> dict[str, Scenario]:
        """The three levels by name."""
        with workplace_at(self.run, "ray", WorkersConfig(cpu=workers, **of), ShardConfig()) as at:
            found = partitioned(at, self.scenarios, None, self.texts, index, seed=3)
        assert [s.name for s in found] == ["id", "pool-easy", "pool-normal", "pool-hard"]
        return {s.name.removeprefix("pool-"): s for s in found[1:]}


def ids(scenario: Scenario) -> set[str]:
    found = [record.record_id for batch in scenario.batches() for record in batch]
    assert len(found) == len(set(found)) == scenario.n
    return set(found)


def by_hand(vectors: dict[str, Array], k: int) -> tuple[list[str], NDArray]:
    """The pool's records that have a vector, farthest from their k-th nearest ID record first."""
    kept = np.delete(np.arange(N_POOL), LOST)
    cosine = 1 - vectors["pool"][kept].astype(np.float64) @ vectors["id"].T.astype(np.float64)
    distance = np.sort(cosine, axis=1)[:, k - 1]
    order = np.argsort(-distance)
    return [f"pool{kept[i]:05d}" for i in order], distance[order]


def test_by_mean_distance_as_all_rows_at_once(tmp_path: Path, vectors: dict[str, Array]) -> None:
    found = World(tmp_path, vectors, "mean").partitioned(IndexConfig())
    kept = np.delete(np.arange(N_POOL), LOST)
    whole = partition(vectors["pool"][kept], vectors["id"])
    assert len(whole.easy) == 44 and found["easy"].notes == ()
    for level in ("easy", "normal", "hard"):
        assert ids(found[level]) == {f"pool{kept[i]:05d}" for i in getattr(whole, level)}


@pytest.mark.parametrize(("k", "shard_rows", "workers"), [(1, 5000, 2), (1, 262_144, 1), (4, 3000, 2)])
def test_by_the_nearest_record_whatever_the_shards(
    tmp_path: Path,
    vectors: dict[str, Array],
    k: int,
    shard_rows: int,
    workers: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(auditor.pipeline.partition, "QUERY_ROWS", 32)
    world = World(tmp_path, vectors, "nearest")
    found = world.partitioned(IndexConfig(neighbour=k, shard_rows=shard_rows), workers)
    farthest, _ = by_hand(vectors, k)
    assert ids(found["hard"]) == set(farthest[:44]) and ids(found["easy"]) == set(farthest[-44:])
    assert ids(found["normal"]) == set(farthest) and f"pool{LOST:05d}" not in farthest
    assert "12,500 in-distribution records (exact search)" in found["easy"].notes[0]
    first, distance = by_hand(vectors, 1)
    assert f"{first[0]} at {distance[0]:.3f}" in found["hard"].notes[1]
    at = int(first[0].removeprefix("pool"))
    nearest = np.argmin(np.linalg.norm(vectors["id"] - vectors["pool"][at], axis=1))
    assert f"(from id{nearest:05d})" in found["hard"].notes[1]
    left = {path.suffix for path in world.run.root.glob("neighbours/*/*")}
    assert left == {".json", ".f64"}  # what was searched is not kept twice


def test_an_index_of_cells_tells_its_recall(tmp_path: Path, vectors: dict[str, Array]) -> None:
    found = World(tmp_path, vectors, "nearest").partitioned(IndexConfig(kind="ivf"))
    told = found["normal"].notes[0]
    recall = float(told.split("recall ")[1].split()[0])
    assert 0.8 < recall < 1 and f"on {N_POOL - 1} of them" in told
    wide = World(tmp_path / "wide", vectors, "nearest").partitioned(IndexConfig(kind="ivf", probe=0.5))
    assert float(wide["normal"].notes[0].split("recall ")[1].split()[0]) > recall


@pytest.mark.parametrize("how", ["mean", "nearest"])
def test_without_a_row_to_compare_a_pool_stays_whole(tmp_path: Path, how: Partitioning) -> None:
    """The ID records have queries, but no vector came of them."""
    world = World(tmp_path, {"id": np.full((3, D), np.nan, np.float32), "pool": unit(np.ones((9, D)))}, how)
    with workplace_at(world.run, "serial", WorkersConfig(cpu=1), ShardConfig()) as at:
        found = partitioned(at, world.scenarios, None, world.texts, IndexConfig(), seed=0)
    assert found == world.scenarios


class Dying(auditor.pipeline.workers.neighbours.SearchWorker):
    """Its process ends once, in the middle of a search."""

    def run(self, shard):
        mark = self._settings.folder / "died.once"
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().run(shard)


class Doomed(auditor.pipeline.workers.neighbours.SearchWorker):
    def run(self, shard):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_dead_worker_is_replaced_and_done_work_is_kept(
    tmp_path: Path, vectors: dict[str, Array], monkeypatch: pytest.MonkeyPatch
) -> None:
    cloudpickle.register_pickle_by_value(__import__(__name__, fromlist=["Dying"]))
    world, index = World(tmp_path, vectors, "nearest"), IndexConfig(shard_rows=4000)
    monkeypatch.setattr(auditor.pipeline.partition, "SearchWorker", Doomed)
    with pytest.raises(AuditError, match=r"nearest records of pool: a unit of 1 row failed 2 times"):
        world.partitioned(index, retries=1)
    monkeypatch.setattr(auditor.pipeline.partition, "SearchWorker", Dying)
    found = world.partitioned(index)
    assert list(world.run.root.glob("neighbours/*/died.once"))
    farthest, _ = by_hand(vectors, 1)
    assert ids(found["hard"]) == set(farthest[:44])
    monkeypatch.setattr(auditor.pipeline.partition, "SearchWorker", Doomed)  # nothing is searched again
    assert [s.notes for s in world.partitioned(index).values()] == [s.notes for s in found.values()]
