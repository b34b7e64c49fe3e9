"""This executor uses many processes and nodes: stages are pools of Ray actors, on a cluster or a local
Ray."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from actors import reach
from actors.cluster import Cluster, PoolSize, connect
from actors.placement import placed
from actors.pool import Bench, identify, run_shards
from auditor.errors import ClusterLost
from auditor.pipeline.executor import Identified, ShardResult, Staff, Stage, Worker
from auditor.pipeline.progress import Progress, Tally
from auditor.pipeline.serial import Hands
from auditor.records import MediaPolicy
from auditor.storage.run_dir import RunDir
from auditor.storage.work_units import ContentItem, Item, PromptItem, Shard
from schemas.config import WorkersConfig
from schemas.record import Image

WORTH_SECONDS = 30.0
"""Less work than this is done in the driver: before workers have started and read, it is done."""

T = TypeVar("T", bound=Item)
C = TypeVar("C", ContentItem, PromptItem)


@contextmanager
def ray_executor(workers: WorkersConfig, threads: int, progress: Progress) -> Iterator[RayExecutor]:
    """Join the cluster at `workers.address` or RAY_ADDRESS, else start a local Ray (see `connect`). Raises
    `BadInput` where the cluster does not answer."""
    with connect(workers, threads=threads) as cluster:
        bench = Bench()
        try:
            yield RayExecutor(cluster, threads, progress, bench)
        except ClusterLost:  # nor are there workers to end
            raise
        except BaseException:
            bench.clear()
            raise
        bench.clear()


@dataclass(frozen=True)
class RayExecutor:
    """This `Executor` works on a Ray cluster."""

    cluster: Cluster
    threads: int
    """Threads of a worker."""
    progress: Progress
    bench: Bench
    name: str = "ray"

    @property
    def description(self) -> str:
        nodes = len(self.cluster.free)
        place = "a local Ray" if self.cluster.started else f"the Ray cluster at {self.cluster.address}"
        return f"on {place} ({nodes} node{'s' if nodes > 1 else ''})"

    @property
    def alone(self) -> bool:
        return len(self.cluster.free) == 1

    @contextmanager
    def staff(self, stage: Stage) -> Iterator[Staff]:
        if stage.work_seconds is not None and stage.work_seconds < WORTH_SECONDS:
            yield Hands(stage, self.cluster.workers, 1, 0.0, self.progress)
            return
        size = self.cluster.pool(self.threads, stage.gpus, stage.replicas)
        if size.gpus:
            self.bench.clear()
        with placed(size, self.cluster.workers.stall_seconds, self.progress) as reserved:
            yield Pool(stage, reserved, self.cluster, self.progress, self.bench)

    def check_run(self, run: RunDir) -> None:
        reach.check_run(self.cluster, run)

    def check_weights(self, name: str) -> None:
        reach.check_weights(self.cluster, name)

    def check_images(self, media: MediaPolicy, images: Sequence[Image]) -> None:
        reach.check_images(self.cluster, media, images)

    def within_reach(self, media: MediaPolicy, shards: Iterable[Shard[C]]) -> Iterable[Shard[C]]:
        return reach.within_reach(self.cluster, media, shards)


@dataclass(frozen=True)
class Pool:
    """A pool is the `Staff` of a stage: actors of one size."""

    stage: Stage
    size: PoolSize
    cluster: Cluster
    progress: Progress
    bench: Bench

    @property
    def count(self) -> int:
        return self.size.workers

    @property
    def gpus(self) -> float:
        return self.size.gpus

    @property
    def device(self) -> str:
        return self.size.device

    def identify(self, make: Callable[[Any], Identified], settings: Any) -> str:
        """Return the identity. On one machine without a GPU the worker is made here, which saves starting a
        worker for it; else one worker is asked, since the driver may have neither the weights nor the
        device."""
        if len(self.cluster.free) == 1 and not self.size.gpus:
            return make(settings).identity
        workers = self.cluster.workers
        return identify(make, settings, self.size, workers.stall_seconds, workers.retries, self.bench)

    def run(
        self,
        make: Callable[[Any], Worker[T]],
        settings: Any,
        shards: Iterable[Shard[T]],
        *,
        total: int | None = None,
        done: Container[str] = (),
        on_done: Callable[[ShardResult], None] = lambda result: None,
        least_seconds: float = 0.0,
    ) -> Tally:
        workers, stage = self.cluster.workers, self.stage
        return run_shards(
            make,
            settings,
            shards,
            self.size,
            stage=stage.name,
            total=total,
            stall_seconds=max(workers.stall_seconds * stage.longer, stage.least_seconds, least_seconds),
            hang_seconds=workers.hang_seconds if stage.hangs else None,
            retries=workers.retries,
            poison_rows=workers.poison_rows,
            done=done,
            on_done=on_done,
            progress=self.progress,
            bench=self.bench,
        )
