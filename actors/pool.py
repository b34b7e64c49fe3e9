"""A pool of plain Ray actors makes fixed shards: every shard whole, once, whichever actor dies.

Workers write their shards themselves and send back a few numbers, and shards are drawn as they are needed, so
the driver's memory does not grow with the rows. A worker that dies, raises or hangs is replaced by a fresh
one, and its shard tried again a bounded number of times. Where it fails a second time and the worker can
`probe`, parts of it are tried, one call each, so that the call that does not come back tells where the bad
row is, whichever node the worker was on; rows that fail twice by themselves are condemned and the rest of
the shard is made with blanks in their places. A pool that gets nowhere says what it waits for, and ends with
an error instead of never.

No spare worker is kept warm: it would hold a second model (on a GPU: its share of one) through the whole run
to save seconds at each of a bounded number of deaths, while the other workers go on anyway. But the processes
of a stage that has ended well serve the next one (`Bench`), which saves seconds of starting and importing.
"""

from __future__ import annotations

import gc
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, NamedTuple, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from actors.cluster import PoolSize, Pulse, free_room, worker_env
from auditor.errors import AuditError, ClusterLost
from auditor.pipeline.executor import POISON_ROWS, Identified, ShardResult, Worker
from auditor.pipeline.progress import Progress, Silent, Tally
from auditor.pipeline.suspects import Fault, Search, WorkerAtFault, search
from auditor.storage.row_cache import Failure
from auditor.storage.work_units import Item, Shard
from schemas.record import Reason

log = logging.getLogger(__name__)

T = TypeVar("T", bound=Item)
S = TypeVar("S")
IN_FLIGHT = 2
"""Shards given to a worker: one to work at and one at hand, so that it never waits for the driver."""
TICK_SECONDS = 5.0
LONGEST_PAUSE = 30.0
"""Seconds, at most, before a worker is started again where starting failed."""
SHORTEST_PROBE = 30.0
"""Seconds that a part of a shard has at least, before it is taken to hang."""


class _Started(NamedTuple):
    process: str
    isolates: bool


class _Host:
    """A host is the actor. It constructs its worker in `start`, not in `__init__`: an error there then comes
    back as an ordinary one and not as the death of the actor."""

    def __init__(self) -> None:
        self._worker: Any = None

    def start(self, make: Callable[[Any], Any], settings: Any) -> _Started:
        self._worker = None  # that of the stage before goes first: two models may not fit
        gc.collect()
        self._worker = make(settings)
        process = f"process {os.getpid()} on {ray.util.get_node_ip_address()}"
        return _Started(process, hasattr(self._worker, "probe"))

    def run(self, shard: Shard[Any]) -> ShardResult:
        return self._worker.run(shard)

    def probe(self, shard: Shard[Any]) -> None:
        self._worker.probe(shard)

    def identity(self) -> str:
        return self._worker.identity


class Bench:
    """Actors without a GPU wait here for the next stage."""

    def __init__(self) -> None:
        self._threads = 0
        self._actors: list[Any] = []

    def take(self, size: PoolSize) -> Any | None:
        """Return an actor of this size, if there is one. Those of another size are ended, and make room."""
        if size.gpus or size.threads != self._threads:
            self.clear()
        return self._actors.pop() if self._actors else None

    def give(self, size: PoolSize, actor: Any) -> None:
        """Keep an actor that has nothing to do; one with a GPU is ended."""
        if size.gpus:
            ray.kill(actor)
            return
        self._threads = size.threads
        self._actors.append(actor)

    def clear(self) -> None:
        """End all of them."""
        while self._actors:
            ray.kill(self._actors.pop())


def identify(
    make: Callable[[S], Identified],
    settings: S,
    size: PoolSize,
    stall_seconds: float = 600.0,
    retries: int = 3,
    bench: Bench | None = None,
) -> str:
    """Return the identity of what a worker works with, from a worker: the driver needs neither the weights
    nor a GPU.

    Raises `AuditError` where no worker answers in `stall_seconds`, or more than `retries` of them fail.
    """
    bench = Bench() if bench is None else bench
    for failed in range(retries + 1):
        host: Any = bench.take(size) or _host(size)
        try:
            ray.get(host.start.remote(make, settings), timeout=stall_seconds)
            identity = str(ray.get(host.identity.remote(), timeout=stall_seconds))
            kept, host = host, None
            bench.give(size, kept)
            return identity
        except ray.exceptions.GetTimeoutError as error:
            raise AuditError(f"no worker has started in {stall_seconds:g} s; {free_room()}") from error
        except RayError as error:
            _raise_users(error)
            if failed == retries:
                raise AuditError(f"a worker could not start, {failed + 1} times: {_why(error)}") from error
            log.warning("a worker could not start and is started again: %s", _why(error))
            time.sleep(_pause(failed))
        finally:
            if host is not None:
                ray.kill(host)
    raise ValueError(f"retries must be at least 0, not {retries}")


def run_shards(
    make: Callable[[S], Worker[T]],
    settings: S,
    shards: Iterable[Shard[T]],
    size: PoolSize,
    *,
    stage: str,
    total: int | None = None,
    stall_seconds: float = 600.0,
    hang_seconds: float | None = None,
    retries: int = 3,
    poison_rows: int = POISON_ROWS,
    done: Container[str] = (),
    on_done: Callable[[ShardResult], None] = lambda result: None,
    progress: Progress | None = None,
    bench: Bench | None = None,
) -> Tally:
    """Make every shard whose name is not in `done`, on `size` workers, and return what was done.

    `make(settings)` is called in each worker's process; both are pickled (a class by its name). `shards` is
    drawn from as workers need them, a few ahead; `total` is the number of rows in it, where it is known
    (of a list it is). `on_done` is called in the driver, in the order in which shards come to be done.
    Interrupted at any moment, whole shards stay and nothing else. Actors of `bench` are used, and those that
    end well are left there.

    A shard (or a part of one) that takes longer than `hang_seconds` (default: `stall_seconds`) is taken to
    hang; that counts as two failures. A row that ends or hangs a worker which is `Isolating` is condemned
    (model_failed) once it has done so twice by itself.

    Raises:
        AuditError: a shard failed (its worker raised, died or hung) more than `retries` times and none of its
            rows is to blame; a worker fails on blanks too; more than `poison_rows` rows were condemned; no
            worker could be started more than `retries` times in a row; or nothing was done for
            `stall_seconds`. An `AuditError` or `BadInput` raised by a worker is raised here at once: it would
            come again.
    """
    if total is None and isinstance(shards, Sequence):
        total = sum(map(len, shards))
    limits = _Limits(stall_seconds, min(hang_seconds or stall_seconds, stall_seconds), retries, poison_rows)
    source = _Source(shards, total, done)
    pool = _Pool(make, settings, source, size, stage, limits, on_done, progress or Silent(), bench)
    return pool.run()


@dataclass(frozen=True)
class _Limits:
    stall: float
    hang: float
    retries: int
    poison_rows: int


class _Source(Generic[T]):
    """A source yields the shards to make, one by one."""

    def __init__(self, shards: Iterable[Shard[T]], total: int | None, done: Container[str]) -> None:
        self._shards, self._total, self._done = iter(shards), total, done
        self._drawn = self._skipped = 0

    def next(self) -> Shard[T] | None:
        for shard in self._shards:
            if shard.name not in self._done:
                self._drawn += len(shard)
                return shard
            self._skipped += len(shard)
        self._total = self._drawn + self._skipped
        return None

    @property
    def rows(self) -> int:
        """Return the rows to make, as far as they are known."""
        return self._drawn if self._total is None else max(self._total - self._skipped, self._drawn)


@dataclass(eq=False)
class _Task(Generic[T]):
    """A task is a shard to be made, whole or (while its bad rows are searched) a part of it after another."""

    shard: Shard[T]
    failed: int = 0
    """Failures of the whole since rows were last condemned."""
    search: Search[T] | None = None
    part: Sequence[T] = ()

    def __str__(self) -> str:
        """Describe the task for people, who know no shard by its name."""
        rows = len(self.part) if self.search else len(self.shard)
        many = f"{rows:,} row{'s' if rows != 1 else ''}"
        return f"{many} of a unit that failed" if self.search else f"a unit of {many}"

    @property
    def suspect(self) -> bool:
        return self.failed > 0 or self.search is not None


@dataclass(eq=False)
class _Hosted(Generic[T]):
    """This is one actor. `calls` are answered in order, so only the oldest is waited for."""

    actor: Any
    calls: deque[tuple[Any, _Task[T] | None]] = field(default_factory=deque)
    """(reference, task); no task: its start."""
    process: str = ""
    """Empty until it has started. Only then it is given shards: it may never find room in the cluster."""
    kept: bool = False
    """Whether it is of an earlier stage: it may have ended since, which is no failed start."""
    since: float = field(default_factory=time.monotonic)
    """When its oldest call became the oldest."""

    def may_take(self, task: _Task[T]) -> bool:
        """A suspect is alone with its worker. The answer of a call that was done well is lost if the next
        one ends the process before it is sent, and the wrong one of the two would be blamed."""
        tasks = [waiting for _, waiting in self.calls if waiting is not None]
        return not tasks or not any(waiting.suspect for waiting in (*tasks, task))


class _Pool(Generic[T]):
    def __init__(
        self,
        make: Callable[[Any], Worker[T]],
        settings: Any,
        source: _Source[T],
        size: PoolSize,
        stage: str,
        limits: _Limits,
        on_done: Callable[[ShardResult], None],
        progress: Progress,
        bench: Bench | None,
    ) -> None:
        self._bench = bench
        self._make, self._settings, self._size = make, settings, size
        self._source, self._stage, self._limits = source, stage, limits
        self._on_done, self._progress = on_done, progress
        self._workers = size.workers
        self._queue: deque[_Task[T]] = deque()
        self._hosts: list[_Hosted[T]] = []
        self._isolates = False
        self._condemned = self._failed_starts = 0
        self._slowest: float | None = None
        """Seconds of the slowest shard so far."""
        self._done = self._errors = 0
        self._pulse = Pulse()
        self._began = self._moved = self._start_at = time.monotonic()

    def run(self) -> Tally:
        try:
            self._draw()
            self._tell()
            while self._queue or any(host.process and host.calls for host in self._hosts):
                self._fill()
                self._step()
            if self._bench is not None:
                for host in [host for host in self._hosts if host.process]:
                    self._hosts.remove(host)
                    self._bench.give(self._size, host.actor)
        except ClusterLost:  # nor are there workers to end
            self._hosts.clear()
            raise
        finally:  # also on KeyboardInterrupt: nobody works on for a driver that has gone
            for host in self._hosts:
                ray.kill(host.actor)
        return self._tell()

    def _tell(self) -> Tally:
        seconds = time.monotonic() - self._began
        tally = Tally(self._stage, self._source.rows, self._done, self._errors, seconds)
        self._progress.update(tally)
        return tally

    def _say(self, message: str, fault: Fault | None = None) -> None:
        log.warning("%s: %s%s", self._stage, message, f": {fault.detail}" if fault else "")
        self._progress.waiting(f"{self._stage}: {message}")

    def _draw(self) -> None:
        """Keep one shard more at hand than there are workers, which tells the last ones from the others."""
        while len(self._queue) <= self._size.workers and (shard := self._source.next()) is not None:
            self._queue.append(_Task(shard))
            self._moved = time.monotonic()

    def _fill(self) -> None:
        """Start missing workers, and give shards to those that have started."""
        busy = sum(bool(host.process and host.calls) for host in self._hosts)
        wanted = min(self._workers, len(self._queue) + busy)
        while len(self._hosts) < wanted and time.monotonic() >= self._start_at:
            kept = None if self._bench is None else self._bench.take(self._size)
            actor = kept or _host(self._size)
            start = actor.start.remote(self._make, self._settings)
            self._hosts.append(_Hosted(actor, deque([(start, None)]), kept=kept is not None))
        started = [host for host in self._hosts if host.process]
        for held in range(IN_FLIGHT):
            # The last shards are not queued behind one another while another worker is idle.
            reserve = 0 if held == 0 else self._size.workers
            for host in started:
                if len(host.calls) == held and len(self._queue) > reserve and host.may_take(self._queue[0]):
                    self._give(host, self._queue.popleft())
                    self._draw()

    def _give(self, host: _Hosted[T], task: _Task[T]) -> None:
        if not host.calls:
            host.since = time.monotonic()
        if task.search is None:
            host.calls.append((host.actor.run.remote(task.shard), task))
        else:
            part = Shard(task.shard.name, tuple(task.part))
            host.calls.append((host.actor.probe.remote(part), task))

    def _step(self) -> None:
        """Wait for the oldest call of each worker, and take what has come back."""
        oldest = {host.calls[0][0]: host for host in self._hosts if host.calls}
        tick = min(TICK_SECONDS, self._limits.hang / 4)
        if oldest:
            ready, _ = ray.wait(list(oldest), num_returns=1, timeout=tick)
        else:  # none could be started, and the next is not to be yet
            ready = []
            time.sleep(max(0.0, min(tick, self._start_at - time.monotonic())))
        for reference in ready:
            self._take(oldest[reference])
        self._pulse.check()  # workers go on for a while without the cluster, so not only where nobody answers
        self._end_hanging()
        idle = time.monotonic() - self._moved
        if idle > self._limits.stall:
            raise AuditError(
                f"{self._stage}: nothing was done for {idle:.0f} s (workers.stall_seconds: "
                f"{self._limits.stall:g}), waiting for {self._waiting_for()}; what is done is kept, run the "
                "same command to go on"
            )
        if not ready and idle >= tick:
            message = f"{self._stage}: for {idle:.0f} s waiting for {self._waiting_for()}"
            log.info(message)
            self._progress.waiting(message)

    def _take(self, host: _Hosted[T]) -> None:
        reference, task = host.calls.popleft()
        host.since = time.monotonic()
        try:
            answer = ray.get(reference)
        except RayError as error:
            _raise_users(error)
            self._replace(host, task, _fault(error))
            return
        self._moved = time.monotonic()
        if task is None:
            host.process, self._isolates = answer
            self._failed_starts = 0
        elif task.search is not None:
            self._continue_search(task, None)
        else:
            self._done += answer.rows
            self._errors += answer.errors
            self._slowest = max(self._slowest or 0.0, answer.seconds)
            self._on_done(answer)
            self._tell()

    def _end_hanging(self) -> None:
        now = time.monotonic()
        for host in [host for host in self._hosts if host.process and host.calls]:
            reference, task = host.calls[0]
            limit = self._limits.hang
            if task is not None and task.search is not None and self._slowest is not None:
                limit = min(limit, max(SHORTEST_PROBE, 3 * self._slowest))
            # What has come back while the driver was busy (with `shards`, say) does not hang.
            if now - host.since > limit and not ray.wait([reference], timeout=0)[0]:
                host.calls.popleft()
                self._moved = now
                self._replace(
                    host,
                    task,
                    Fault("it hung its worker, twice", f"no answer in {limit:.0f} s ({host.process})", True),
                )

    def _replace(self, host: _Hosted[T], task: _Task[T] | None, fault: Fault) -> None:
        """Give up on a worker (a raise may have left it broken too) and put its shards back in front."""
        ray.kill(host.actor)
        self._hosts.remove(host)
        # Those queued behind the one that failed are not to blame.
        self._queue.extendleft(reversed([waiting for _, waiting in host.calls if waiting is not None]))
        if task is None:
            if not host.kept:
                self._not_started(fault)
        elif task.search is not None:
            self._continue_search(task, fault)
        else:
            self._failed(task, fault)

    def _not_started(self, fault: Fault) -> None:
        self._failed_starts += 1
        if self._failed_starts <= self._limits.retries:
            pause = _pause(self._failed_starts - 1)
            self._start_at = time.monotonic() + pause
            self._say(f"a worker failed and is started again in {pause:g} s", fault)
            return
        working = sum(bool(host.process) for host in self._hosts)
        summary = f"a worker failed {self._failed_starts} times (workers.retries is {self._limits.retries})"
        if not working:
            raise AuditError(f"{self._stage}: {summary}, the last time: {fault.detail}")
        self._workers, self._failed_starts = working, 0
        self._say(f"{summary} and is left out, {working} go on", fault)

    def _failed(self, task: _Task[T], fault: Fault) -> None:
        """Handle the failure of a whole shard."""
        task.failed += 2 if fault.hung else 1
        retries = self._limits.retries
        if self._isolates and retries and task.failed >= 2:
            self._say(f"{task} failed again, its rows are tried in parts", fault)
            known = {key for key, _ in task.shard.condemned}
            task.search = search([item for item in task.shard.items if item.key not in known])
            self._continue_search(task, None)
            return
        if task.failed > retries:
            raise AuditError(
                f"{self._stage}: {task} failed {task.failed} times (workers.retries is {retries}), "
                f"the last time: {fault.detail}"
            )
        self._queue.appendleft(task)
        self._say(f"{task} failed and is tried again", fault)

    def _continue_search(self, task: _Task[T], fault: Fault | None) -> None:
        """Queue the next part of a shard whose bad rows are searched; at the end of the search, queue the
        whole again."""
        assert task.search is not None
        if fault is not None:
            part = f"{len(task.part)} of the rows" if task.part else "a blank instead of the rows"
            self._say(f"{part} of a unit failed", fault)
        self._queue.appendleft(task)
        try:
            # A generator takes nothing before its first value; `fault` is None then.
            task.part = task.search.send(fault)
        except WorkerAtFault as error:
            raise AuditError(
                f"{self._stage}: a worker fails on a blank too, so no row is to blame; the last time: "
                f"{error.fault.detail}; check its model, its memory and workers.hang_seconds"
            ) from error
        except StopIteration as end:
            task.search, task.part = None, ()
            self._condemn(task, end.value)

    def _condemn(self, task: _Task[T], failures: Sequence[tuple[T, Fault]]) -> None:
        shard, limits = task.shard, self._limits
        if not failures:
            if task.failed > limits.retries:
                raise AuditError(
                    f"{self._stage}: {task} failed {task.failed} times (workers.retries is "
                    f"{limits.retries}) and none of its rows does alone; smaller batches or "
                    "shards, more memory, or a longer workers.hang_seconds may help"
                )
            return
        errors = [(item.key, str(Failure(Reason.MODEL_FAILED, fault.reason))) for item, fault in failures]
        task.shard, task.failed = replace(shard, condemned=(*shard.condemned, *errors)), 0
        self._condemned += len(errors)
        if self._condemned > limits.poison_rows:
            raise AuditError(
                f"{self._stage}: {self._condemned} rows failed, each twice by itself (workers.poison_rows is "
                f"{limits.poison_rows}), the last of them {errors[-1][0]} ({failures[-1][1].detail}); more "
                "likely the model or its memory is at fault"
            )
        for key, error in errors:
            self._say(f"{key} is set apart: {error}")

    def _waiting_for(self) -> str:
        busy = [
            f"{host.process} with {host.calls[0][1]}"
            for host in self._hosts
            if host.process and host.calls and host.calls[0][1] is not None
        ]
        if busy:
            return ", ".join(busy[:3]) + (f" and {len(busy) - 3} more" if len(busy) > 3 else "")
        starting = sum(not host.process for host in self._hosts)
        return f"{starting} worker{'s' if starting != 1 else ''} to start; {free_room()}"


def _host(size: PoolSize) -> Any:
    """Make an actor of the pool; with GPUs, in any free bundle of its reservation."""
    return (
        ray.remote(_Host)
        .options(
            num_cpus=size.threads,
            num_gpus=size.gpus,
            max_restarts=0,
            scheduling_strategy=(
                "DEFAULT" if size.group is None else PlacementGroupSchedulingStrategy(size.group)
            ),
            runtime_env={"env_vars": worker_env(size.threads)},
        )
        .remote()
    )


def _pause(failed: int) -> float:
    """Return the seconds to wait before another start, after `failed` earlier ones: doubled each time."""
    return min(LONGEST_PAUSE, 0.5 * 2.0**failed)


def _raise_users(error: RayError) -> None:
    """Raise an error that was made for the user as it is: another try would not change it."""
    if isinstance(error, RayTaskError) and isinstance(error.cause, AuditError):
        raise error.cause from None


def _fault(error: RayError) -> Fault:
    raised = isinstance(error, RayTaskError)
    return Fault(_why(error) if raised else "it ended its worker, twice", _why(error))


def _why(error: RayError) -> str:
    """Return the last line that says something, without the remote traceback."""
    cause = error.cause if isinstance(error, RayTaskError) else None
    text = f"{type(cause).__name__}: {cause}" if cause is not None else f"the worker died ({error})"
    return " ".join(text.split())[:400]
