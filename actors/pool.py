"""Fixed shards over a pool of plain Ray actors: every shard whole, once, whoever dies.

Workers write their shards themselves and send back a few numbers, so the driver's memory does not grow with
the rows. A worker that dies (or raises) is replaced by a fresh one, and its shard tried again a bounded
number of times. A pool that gets nowhere says what it waits for, and ends with an error instead of never.
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from actors.cluster import PoolSize, worker_env
from actors.progress import Progress, Silent, Tally
from auditor.errors import AuditError
from auditor.shards import Item, Shard

log = logging.getLogger(__name__)

T = TypeVar("T", bound=Item)
S = TypeVar("S")
IN_FLIGHT = 2
"""Shards given to a worker: one to work at and one at hand, so that it never waits for the driver."""
TICK_SECONDS = 5.0


class ShardResult(NamedTuple):
    """What a worker says about a shard that it has written."""

    shard: str
    rows: int
    errors: int
    seconds: float


class Worker(Protocol[T]):
    """What is constructed in a worker's process, from settings, and makes one shard after another."""

    def run(self, shard: Shard[T]) -> ShardResult:
        """Write the shard, whole, and return what was done. Making it again replaces it by the same."""
        ...


class Identified(Protocol):
    """A worker that works with something (an encoder, a generator) that has an identity."""

    @property
    def identity(self) -> str: ...


class _Host:
    """The actor. It constructs its worker in `start`, not in `__init__`: an error there then comes back as an
    ordinary one and not as the death of the actor."""

    def __init__(self) -> None:
        self._worker: Any = None

    def start(self, make: Callable[[Any], Any], settings: Any) -> str:
        self._worker = make(settings)
        return f"process {os.getpid()} on {ray.util.get_node_ip_address()}"

    def run(self, shard: Shard[Any]) -> ShardResult:
        return self._worker.run(shard)

    def identity(self) -> str:
        return self._worker.identity


def identify(
    make: Callable[[S], Identified], settings: S, size: PoolSize, stall_seconds: float = 600.0
) -> str:
    """Identity of what a worker works with, from a worker: the driver needs neither the weights nor a GPU."""
    host = _host(size)
    try:
        ray.get(host.start.remote(make, settings), timeout=stall_seconds)
        return str(ray.get(host.identity.remote()))
    except ray.exceptions.GetTimeoutError as error:
        raise AuditError(f"no worker has started in {stall_seconds:g} s; {_free()}") from error
    except RayError as error:
        _raise_users(error)
        raise AuditError(f"a worker could not start: {_why(error)}") from error
    finally:
        ray.kill(host)


def run_shards(
    make: Callable[[S], Worker[T]],
    settings: S,
    shards: Sequence[Shard[T]],
    size: PoolSize,
    *,
    stage: str,
    stall_seconds: float = 600.0,
    retries: int = 3,
    done: Container[str] = (),
    on_done: Callable[[ShardResult], None] = lambda result: None,
    progress: Progress | None = None,
) -> Tally:
    """Make every shard whose name is not in `done`, on `size` workers; returns what was done.

    `make(settings)` is called in each worker's process; both are pickled (a class by its name). `on_done` is
    called in the driver, in the order in which shards come to be done. Interrupted at any moment, whole
    shards stay and nothing else.

    Raises:
        AuditError: a shard failed (its worker raised or died) more than `retries` times, no worker could be
            started as often, or nothing was done for `stall_seconds`. An `AuditError` or `BadInput` raised by
            a worker is raised here at once: it would come again.
    """
    todo = [shard for shard in shards if shard.name not in done]
    return _Pool(
        make, settings, todo, size, stage, stall_seconds, retries, on_done, progress or Silent()
    ).run()


@dataclass(eq=False)
class _Hosted(Generic[T]):
    """One actor. `calls` are answered in order, so only the oldest is waited for."""

    actor: Any
    calls: deque[tuple[Any, Shard[T] | None]] = field(default_factory=deque)
    """(reference, shard); no shard: its start."""
    where: str = ""
    """Empty until it has started. Only then it is given shards: it may never find room in the cluster."""


class _Pool(Generic[T]):
    def __init__(
        self,
        make: Callable[[Any], Worker[T]],
        settings: Any,
        shards: Sequence[Shard[T]],
        size: PoolSize,
        stage: str,
        stall_seconds: float,
        retries: int,
        on_done: Callable[[ShardResult], None],
        progress: Progress,
    ) -> None:
        self._make, self._settings, self._size = make, settings, size
        self._stage, self._stall, self._retries = stage, stall_seconds, retries
        self._on_done, self._progress = on_done, progress
        self._queue = deque(shards)
        self._hosts: list[_Hosted[T]] = []
        self._tries: Counter[str] = Counter()
        self._failed_starts = 0
        self._total = sum(len(shard) for shard in shards)
        self._done = self._errors = 0
        self._began = self._moved = time.monotonic()

    def run(self) -> Tally:
        self._tell()
        try:
            while self._queue or any(host.where and host.calls for host in self._hosts):
                self._fill()
                self._step()
        finally:  # also on KeyboardInterrupt: nobody works on for a driver that has gone
            for host in self._hosts:
                ray.kill(host.actor)
        return self._tell()

    def _tell(self) -> Tally:
        seconds = time.monotonic() - self._began
        tally = Tally(self._stage, self._total, self._done, self._errors, seconds)
        self._progress.update(tally)
        return tally

    def _fill(self) -> None:
        """Start missing workers, and give shards to those that have started."""
        busy = sum(bool(host.where and host.calls) for host in self._hosts)
        while len(self._hosts) < min(self._size.workers, len(self._queue) + busy):
            actor = _host(self._size)
            start = actor.start.remote(self._make, self._settings)
            self._hosts.append(_Hosted(actor, deque([(start, None)])))
        started = [host for host in self._hosts if host.where]
        for held in range(IN_FLIGHT):
            # The last shards are not queued behind one another while another worker is idle.
            reserve = 0 if held == 0 else self._size.workers
            for host in started:
                if len(host.calls) == held and len(self._queue) > reserve:
                    shard = self._queue.popleft()
                    host.calls.append((host.actor.run.remote(shard), shard))

    def _step(self) -> None:
        """Wait for the oldest call of each worker, and take what has come back."""
        oldest = {host.calls[0][0]: host for host in self._hosts if host.calls}
        ready, _ = ray.wait(list(oldest), num_returns=1, timeout=min(TICK_SECONDS, self._stall / 4))
        for reference in ready:
            self._take(oldest[reference])
        idle = time.monotonic() - self._moved
        if idle > self._stall:
            raise AuditError(
                f"{self._stage}: nothing was done for {idle:.0f} s (workers.stall_seconds: {self._stall:g}), "
                f"waiting for {self._waiting_for()}; what is done is kept, run the same command to go on"
            )
        if not ready and idle >= min(TICK_SECONDS, self._stall / 4):
            what = f"{self._stage}: for {idle:.0f} s waiting for {self._waiting_for()}"
            log.info(what)
            self._progress.waiting(what)

    def _take(self, host: _Hosted[T]) -> None:
        reference, shard = host.calls.popleft()
        try:
            answer = ray.get(reference)
        except RayError as error:
            self._replace(host, shard, error)
            return
        self._moved = time.monotonic()
        if shard is None:
            host.where, self._failed_starts = answer, 0
            return
        self._done += answer.rows
        self._errors += answer.errors
        self._on_done(answer)
        self._tell()

    def _replace(self, host: _Hosted[T], shard: Shard[T] | None, error: RayError) -> None:
        """Give up on a worker (a raise may have left it broken too) and put its shards back in front."""
        _raise_users(error)
        ray.kill(host.actor)
        self._hosts.remove(host)
        # Those queued behind the one that failed are not to blame: only that one's tries count.
        self._queue.extendleft(reversed([waiting for _, waiting in host.calls if waiting is not None]))
        if shard is None:
            self._failed_starts += 1
            failed, what = self._failed_starts, "a worker"
        else:
            self._tries[shard.name] += 1
            failed, what = self._tries[shard.name], f"shard {shard.name}"
            self._queue.appendleft(shard)
        if failed > self._retries:
            raise AuditError(
                f"{self._stage}: {what} failed {failed} times (workers.retries is {self._retries}), "
                f"the last time: {_why(error)}"
            ) from error
        log.warning("%s: %s failed and is tried again: %s", self._stage, what, _why(error))
        self._progress.waiting(f"{self._stage}: {what} failed and is tried again")

    def _waiting_for(self) -> str:
        at = [
            f"shard {host.calls[0][1].name} ({host.where})"
            for host in self._hosts
            if host.where and host.calls and host.calls[0][1] is not None
        ]
        starting = sum(not host.where for host in self._hosts)
        if at:
            return ", ".join(at[:3]) + (f" and {len(at) - 3} more" if len(at) > 3 else "")
        return f"{starting} workers to start; {_free()}"


def _host(size: PoolSize) -> Any:
    """An actor of the pool; with GPUs, in any free bundle of its reservation."""
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


def _free() -> str:
    free = ray.available_resources()
    return f"the cluster has {free.get('CPU', 0):g} CPUs and {free.get('GPU', 0):g} GPUs free"


def _raise_users(error: RayError) -> None:
    """Raise an error that was made for the user as it is: another try would not change it."""
    if isinstance(error, RayTaskError) and isinstance(error.cause, AuditError):
        raise error.cause from None


def _why(error: RayError) -> str:
    """The last line that says something, without the remote traceback."""
    cause = error.cause if isinstance(error, RayTaskError) else None
    text = f"{type(cause).__name__}: {cause}" if cause is not None else f"the worker died ({error})"
    return " ".join(text.split())[:400]
