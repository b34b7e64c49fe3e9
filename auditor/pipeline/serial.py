"""This executor needs nothing else: shards are made in this process, one or a few at a time.

One worker is a plain loop. Several are threads, each with a worker of its own: what takes the time (decoding,
encoding, matrix products) works outside the interpreter's lock, with one thread for each unit of work, so
that the bits are those of one worker. A row that raises is found and quarantined as elsewhere; one that ends
the process ends the job, which is what the Ray executor is for.
"""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits

from auditor.errors import AuditError, BadInput
from auditor.pipeline.executor import Identified, ShardResult, Stage, Worker
from auditor.pipeline.progress import Progress, Tally
from auditor.pipeline.suspects import Fault, WorkerAtFault, search
from auditor.records import MediaPolicy
from auditor.storage.row_cache import Failure
from auditor.storage.run_dir import RunDir
from auditor.storage.work_units import Item, Shard
from schemas.config import WorkersConfig
from schemas.record import Image, Reason

log = logging.getLogger(__name__)

T = TypeVar("T", bound=Item)
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@contextmanager
def serial(workers: WorkersConfig, threads: int, progress: Progress) -> Iterator[InProcess]:
    """Open the executor of this process: `workers.cpu` units of work at a time (auto: as many as fit on the
    cores), each with `threads` threads."""
    fit = max(1, len(os.sched_getaffinity(0)) // threads)
    with _thread_limit(threads):
        yield InProcess(workers, threads, fit if workers.cpu == "auto" else max(1, workers.cpu), progress)


@contextmanager
def _thread_limit(threads: int) -> Iterator[None]:
    """Sums must not depend on how many cores there are: every unit of work has this many threads, in the
    libraries that are loaded and in those that will be."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, str(threads)))
    torch = sys.modules.get("torch")
    of_torch = torch.get_num_threads() if torch is not None else None
    if torch is not None:
        torch.set_num_threads(threads)
    try:
        with threadpool_limits(threads):
            yield
    finally:
        if torch is not None:
            torch.set_num_threads(of_torch)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@dataclass(frozen=True)
class InProcess:
    """This `Executor` uses this process alone."""

    workers: WorkersConfig
    threads: int
    count: int
    """Units of work at a time."""
    progress: Progress
    name: str = "serial"
    alone: bool = True

    @property
    def description(self) -> str:
        at_a_time = "one unit of work" if self.count == 1 else f"{self.count} units of work"
        return f"in this process, {at_a_time} at a time"

    @contextmanager
    def staff(self, stage: Stage) -> Iterator[Hands]:
        gpus = min(1.0, stage.gpus) if stage.gpus and gpus_here() and self.workers.gpu != 0 else 0.0
        if stage.gpus > 1:
            raise BadInput(f"{stage.name}: a worker with {stage.gpus:g} GPUs needs workers.executor: ray")
        wanted = self.count if stage.replicas == "auto" else stage.replicas
        yield Hands(stage, self.workers, 1 if gpus else min(wanted, self.count), gpus, self.progress)

    def check_run(self, run: RunDir) -> None:
        """One machine reads what it writes."""

    def check_weights(self, name: str) -> None:
        """One machine has one copy."""

    def check_images(self, media: MediaPolicy, images: Sequence[Image]) -> None:
        """One machine sees what it sees."""

    def within_reach(self, media: MediaPolicy, shards: Iterable[Shard[Any]]) -> Iterable[Shard[Any]]:
        return shards


def gpus_here() -> int:
    """Return the number of GPUs that this process may use, without loading a library for it."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    devices = len(list(Path("/dev").glob("nvidia[0-9]*")))
    return devices if visible is None else min(devices, sum(bool(v.strip()) for v in visible.split(",")))


@dataclass(frozen=True)
class Hands:
    """Hands are the `Staff` of a stage in this process."""

    stage: Stage
    workers: WorkersConfig
    count: int
    gpus: float
    progress: Progress

    @property
    def device(self) -> str:
        return "cuda" if self.gpus else "cpu"

    def identify(self, make: Callable[[Any], Identified], settings: Any) -> str:
        return make(settings).identity

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
        known = None
        if isinstance(shards, Sequence):
            known = sum(len(shard) for shard in shards if shard.name not in done)
        todo = (shard for shard in shards if shard.name not in done)
        counted = _Count(self.stage.name, known if known is not None else total, self.progress)
        units = _Units(make, settings, self.workers, counted)
        counted.tell()
        if self.count == 1:
            unit = units.worker()
            for shard in todo:
                counted.begin(shard)
                result = units.result(unit, shard)
                on_done(result)
                counted.finish(result)
        else:
            for result in _threaded(units, todo, self.count, counted):
                on_done(result)
                counted.finish(result)
        return counted.end()


class _Count:
    """A count says how far a stage is."""

    def __init__(self, stage: str, total: int | None, progress: Progress) -> None:
        self.stage, self._total, self._progress = stage, total, progress
        self._drawn = self._done = self._errors = 0
        self._began = time.monotonic()

    def begin(self, shard: Shard[Any]) -> None:
        self._drawn += len(shard)

    def finish(self, result: ShardResult) -> None:
        self._done += result.rows
        self._errors += result.errors
        self.tell()

    def say(self, message: str) -> None:
        log.warning("%s: %s", self.stage, message)
        self._progress.waiting(f"{self.stage}: {message}")

    def tell(self) -> Tally:
        total = max(self._total or 0, self._drawn)
        seconds = time.monotonic() - self._began
        tally = Tally(self.stage, total, self._done, self._errors, seconds)
        self._progress.update(tally)
        return tally

    def end(self) -> Tally:
        self._total = self._drawn
        return self.tell()


@dataclass
class _Units:
    """Units of work are done here, with further tries, and with their bad rows quarantined."""

    make: Callable[[Any], Worker[Any]]
    settings: Any
    workers: WorkersConfig
    counted: _Count
    condemned: int = 0

    def worker(self) -> Worker[Any]:
        return self.make(self.settings)

    def result(self, worker: Worker[Any], shard: Shard[Any]) -> ShardResult:
        """Return the result of a unit. Raises `AuditError` where it fails for good."""
        failed = 0
        while True:
            try:
                return worker.run(shard)
            except AuditError:
                raise
            except Exception as error:  # whatever a model or a library raises
                failed += 1
                why = _why(error)
            if failed > self.workers.retries:
                raise AuditError(
                    f"{self.counted.stage}: a unit of {len(shard)} rows failed {failed} times "
                    f"(workers.retries is {self.workers.retries}), the last time: {why}"
                )
            if failed >= 2 and hasattr(worker, "probe"):
                if condemned := self._condemn(worker, shard):
                    shard, failed = replace(shard, condemned=(*shard.condemned, *condemned)), 0
            else:
                self.counted.say(f"a unit failed and is tried again: {why}")

    def _condemn(self, worker: Any, shard: Shard[Any]) -> list[tuple[str, str]]:
        known = {key for key, _ in shard.condemned}
        looking = search([item for item in shard.items if item.key not in known])
        fault: Fault | None = None
        try:
            while True:
                part = looking.send(fault)
                fault = _probe(worker, Shard(shard.name, tuple(part)))
        except WorkerAtFault as error:
            raise AuditError(
                f"{self.counted.stage}: the model fails on a blank too, so no row is to blame; the last "
                f"time: {error.fault.detail}; check the model and its memory"
            ) from error
        except StopIteration as end:
            condemned = [(item.key, str(Failure(Reason.MODEL_FAILED, f.reason))) for item, f in end.value]
        self.condemned += len(condemned)
        if self.condemned > self.workers.poison_rows:
            raise AuditError(
                f"{self.counted.stage}: {self.condemned} rows failed, each twice by itself "
                f"(workers.poison_rows is {self.workers.poison_rows}); more likely the model or its memory "
                "is at fault"
            )
        for key, why in condemned:
            self.counted.say(f"{key} is set apart: {why}")
        return condemned


def _probe(worker: Any, shard: Shard[Any]) -> Fault | None:
    try:
        worker.probe(shard)
    except AuditError:
        raise
    except Exception as error:
        return Fault(_why(error), _why(error))
    return None


def _why(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:400]


def _threaded(
    units: _Units, shards: Iterator[Shard[Any]], count: int, counted: _Count
) -> Iterator[ShardResult]:
    """Yield results as they come. Threads are daemons and end after their unit where nobody waits for them:
    an interrupted job does not wait for its last units."""
    todo: queue.SimpleQueue[Shard[Any] | None] = queue.SimpleQueue()
    results: queue.SimpleQueue[ShardResult | BaseException] = queue.SimpleQueue()
    stopped = threading.Event()

    def work() -> None:
        try:
            worker = None
            while (shard := todo.get()) is not None and not stopped.is_set():
                worker = worker or units.worker()
                results.put(units.result(worker, shard))
        except BaseException as error:
            results.put(error)

    under_way = 0
    started = 0
    exhausted = False
    try:
        while True:
            while not exhausted and under_way < count:
                shard = next(shards, None)
                if shard is None:
                    exhausted = True
                    break
                counted.begin(shard)
                todo.put(shard)
                under_way += 1
                if started < under_way:
                    threading.Thread(target=work, name=f"worker {started}", daemon=True).start()
                    started += 1
            if not under_way:
                return
            result = results.get()
            if isinstance(result, BaseException):
                raise result
            under_way -= 1
            yield result
    finally:
        stopped.set()
        for _ in range(started):
            todo.put(None)
