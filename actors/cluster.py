"""This is the one place that joins or starts Ray, sizes pools, and says what a worker's process starts
with."""

from __future__ import annotations

import _thread
import logging
import os
import platform
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Literal

import ray
from ray._private.state import available_resources_per_node
from ray.util.placement_group import PlacementGroup

import actors
from actors.address import unanswered
from auditor.errors import AuditError, BadInput, ClusterLost
from auditor.pipeline.checks import cluster_address
from schemas.config import WorkersConfig

OBJECT_STORE_BYTES = 300 * 2**20
"""Size of the object store of a local Ray. Shards on their way to workers are all that is ever in it."""

LOST_SECONDS = 30.0
"""Without the cluster's control service for this long, the work is given up."""
LOOK_SECONDS = 5.0

_LONGEST_LOCAL_DIR = 40  # Ray keeps its sockets under it, and the kernel takes paths of 107 bytes

Resources = Mapping[str, float]

LEAVING_SECONDS = 10.0
"""How long a job waits at its end for what its workers held, where the connection outlives it."""


@dataclass(frozen=True, slots=True)
class PoolSize:
    """A pool of this size fits: so many workers, and what each of them reserves."""

    workers: int
    threads: int
    gpus: float
    """GPUs of each worker: a share below 1, a whole number from 1 on, 0: none."""
    group: PlacementGroup | None = field(default=None, compare=False)
    """Where its GPUs are reserved (`actors.placement.placed`), one bundle a worker."""

    @property
    def device(self) -> str:
        """Return the torch device of its workers."""
        return "cuda" if self.gpus else "cpu"


@dataclass(frozen=True, slots=True)
class Cluster:
    """This process is connected to this Ray cluster."""

    address: str
    started: bool
    """Whether this process started it (and will stop it)."""
    free: tuple[Resources, ...]
    """What each node had free when we came. Our own pools follow one another, so it holds for all of them."""
    versions: Mapping[str, str]
    workers: WorkersConfig

    def pool(self, threads: int, gpus: float = 0.0, replicas: int | Literal["auto"] = "auto") -> PoolSize:
        """Return the size of a pool. `gpus` is what a worker of this stage uses, if there are GPUs;
        `replicas` is the number of workers wanted."""
        return pool_size(self.free, self.workers, threads, gpus, replicas)


def pool_size(
    free: Sequence[Resources],
    workers: WorkersConfig,
    threads: int,
    gpus: float = 0.0,
    replicas: int | Literal["auto"] = "auto",
) -> PoolSize:
    """Return the pool that fits what nodes have free, a worker on one node with all its GPUs.

    Where no GPU is to be used, a worker that would take one or a share of one works without; one that needs
    several does not. Raises `BadInput`, with the numbers, where no worker fits, or where the config asks for
    more than fits.
    """
    if gpus > 1 and gpus != int(gpus):
        raise BadInput(f"a worker with {gpus:g} GPUs: above one, only whole GPUs can be given to it")
    have = _total(free, "GPU")
    if isinstance(workers.gpu, int) and gpus and workers.gpu > have:
        raise BadInput(f"workers.gpu asks for {workers.gpu} GPUs, the cluster has {have:g} free")
    allowed = have if workers.gpu == "auto" else workers.gpu
    gpus_each = gpus if allowed > 0 or gpus > 1 else 0.0
    fit = sum(_count_fitting(node, threads, gpus_each) for node in free)
    if fit == 0:
        raise BadInput(_no_room(free, threads, gpus_each))
    if gpus_each:  # GPUs decide how many there are; workers.cpu is about workers without one
        limit = min(fit, int(allowed / gpus_each + 1e-9)) if workers.gpu != "auto" else fit
        if limit == 0 and gpus_each > 1:
            raise BadInput(f"a worker needs {gpus_each:g} GPUs, workers.gpu lets it have {allowed:g}")
        limit, needs = max(1, limit), f"{gpus_each:g} GPUs and {threads} CPUs"
    else:
        if isinstance(workers.cpu, int) and workers.cpu > fit:
            raise BadInput(
                f"workers.cpu asks for {workers.cpu} workers of {threads} CPUs, {fit} fit: the cluster has "
                f"{_total(free, 'CPU'):g} CPUs free on {len(free)} nodes; lower workers.cpu or use auto"
            )
        limit, needs = fit if workers.cpu == "auto" else max(1, workers.cpu), f"{threads} CPUs"
    if replicas == "auto":
        return PoolSize(limit, threads, gpus_each)
    if replicas > limit:
        raise BadInput(
            f"{replicas} replicas of {needs} do not fit: {limit} do; {_free_text(free)}; lower the model's "
            "replicas or use auto (workers.gpu and workers.cpu limit them too)"
        )
    return PoolSize(replicas, threads, gpus_each)


def _no_room(free: Sequence[Resources], threads: int, gpus: float) -> str:
    most = {name: max((node.get(name, 0.0) for node in free), default=0.0) for name in ("CPU", "GPU")}
    needs = f"{threads} CPUs" + (f" and {gpus:g} of a GPU" if 0 < gpus <= 1 else "")
    needs += f" and {gpus:g} GPUs" if gpus > 1 else ""
    least = "lower shards.threads" + (" or the number of GPUs a worker" if gpus > 1 else "")
    at_most = f"{most['CPU']:g} CPUs" + (f" and {most['GPU']:g} GPUs" if gpus else "")
    return (
        f"a worker needs {needs} on one node; {_free_text(free)}, at most {at_most} on one; {least}, or wait "
        "until other jobs have ended"
    )


def _free_text(free: Sequence[Resources]) -> str:
    cpus, gpus = _total(free, "CPU"), _total(free, "GPU")
    return f"the cluster has {cpus:g} CPUs and {gpus:g} GPUs free on {len(free)} nodes"


def _count_fitting(node: Resources, threads: int, gpus: float) -> int:
    by_cpu = int(node.get("CPU", 0.0) // threads)
    if not gpus:
        return by_cpu
    have = node.get("GPU", 0.0)
    # A share lies on one GPU: two of 0.6 need two of them, and the rest of a GPU may take one more.
    by_gpu = int(have // 1) * int(1 / gpus + 1e-9) + int(have % 1 / gpus + 1e-9) if gpus < 1 else have // gpus
    return min(by_cpu, int(by_gpu))


def _total(nodes: Sequence[Resources], name: str) -> float:
    return sum(node.get(name, 0.0) for node in nodes)


@contextmanager
def connect(workers: WorkersConfig, local_dir: Path | None = None, threads: int = 1) -> Iterator[Cluster]:
    """Join the cluster at `workers.address` or RAY_ADDRESS, else start a local one; leave or stop it after.

    A connection that the process already has is used and left as it is. A local Ray gets as many logical CPUs
    as the config asks for, where that is more than there are: on one's own machine that is one's own choice.
    `local_dir` is where it keeps its files (the system's temporary folder where that path would be too long).
    Workers run at Ray's own niceness (15; RAY_worker_niceness changes it), tokens stay on. Raises `BadInput`
    where the cluster does not answer, `AuditError` where a local Ray does not start.
    """
    if ray.is_initialized():
        cluster = _cluster(workers, started=False)
        try:
            yield cluster
        except ClusterLost:
            raise
        except Exception:
            _wait_until_free(cluster.free)
            raise
        _wait_until_free(cluster.free)
        return
    check_address(workers)
    address = cluster_address(workers)
    try:
        if address:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        else:
            ray.init(
                address="local",
                num_cpus=_local_cpus(workers, threads),
                object_store_memory=OBJECT_STORE_BYTES,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _temp_dir=_local_dir(local_dir),
            )
    except Exception as error:  # Ray raises bare ones too, as where its processes do not come up in time
        why = " ".join(str(error).split())[:200]
        if address:
            raise _not_reached(address, why, workers) from error
        raise AuditError(
            f"a local Ray could not be started ({why}); where the machine is busy, end other work, or "
            "work in this process: --set workers.executor=serial"
        ) from error
    try:
        with _watch_cluster():
            yield _cluster(workers, started=not address)
    except ClusterLost:  # leaving it would wait for it, until Ray ends the process
        raise
    except BaseException:
        ray.shutdown()
        raise
    ray.shutdown()


def check_address(workers: WorkersConfig) -> None:
    """Raise `BadInput` where `workers.address` or RAY_ADDRESS names a cluster that does not answer."""
    address = cluster_address(workers)
    if address and (problem := unanswered(address)) is not None:
        raise _not_reached(address, problem, workers)


def _not_reached(address: str, why: str, workers: WorkersConfig) -> BadInput:
    source = "workers.address" if workers.address else "RAY_ADDRESS"
    return BadInput(
        f"the Ray cluster at {address} could not be reached ({why}); check {source}, or leave it out for a "
        "local one"
    )


@contextmanager
def _watch_cluster() -> Iterator[None]:
    """Look after the cluster while the driver works by itself. Raises `ClusterLost` in the main thread, a
    while after a pool would have; where that is not ours, only pools look."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is None:
        yield
        return
    pulse, ended, losses = Pulse(LOST_SECONDS + LOOK_SECONDS), threading.Event(), list[ClusterLost]()

    def watch() -> None:
        while not ended.wait(LOOK_SECONDS):
            try:
                pulse.check()
            except ClusterLost as error:
                losses.append(error)
                _thread.interrupt_main()
                return

    def interrupted(number: int, frame: FrameType | None) -> None:
        if losses:
            raise losses[0]
        if before is not signal.SIG_IGN:  # as it is in a shell's background jobs
            (before if callable(before) else signal.default_int_handler)(number, frame)

    signal.signal(signal.SIGINT, interrupted)
    threading.Thread(target=watch, name="cluster watch", daemon=True).start()
    try:
        yield
    finally:
        ended.set()
        signal.signal(signal.SIGINT, before)


def _cluster(workers: WorkersConfig, started: bool) -> Cluster:
    free = free_per_node()
    versions = {"ray": ray.__version__, "python": platform.python_version()}
    return Cluster(ray.get_runtime_context().gcs_address, started, free, versions, workers)


def _wait_until_free(free: Sequence[Resources]) -> None:
    """Wait until as many CPUs and GPUs are free as at the beginning: workers that were told to end take a
    moment, and the next job on this connection would find their places taken. Bounded, since others may take
    them."""
    until = time.monotonic() + LEAVING_SECONDS
    while time.monotonic() < until:
        now = free_per_node()
        if all(_total(now, name) >= _total(free, name) for name in ("CPU", "GPU")):
            return
        time.sleep(0.1)


def free_room() -> str:
    """Say what is free now, in words; a worker needs all of its own on one node."""
    free = free_per_node()
    if len(free) < 2:
        return _free_text(free)
    cpus, gpus = (max(node.get(name, 0.0) for node in free) for name in ("CPU", "GPU"))
    return f"{_free_text(free)}, at most {cpus:g} CPUs and {gpus:g} GPUs on one"


def free_per_node() -> tuple[Resources, ...]:
    """Return what each node has free now."""
    return tuple(dict(node) for node in available_resources_per_node().values())


def _local_cpus(workers: WorkersConfig, threads: int) -> int | None:
    cpus = threads * (1 if workers.cpu == "auto" else max(1, workers.cpu))
    return cpus if cpus > len(os.sched_getaffinity(0)) else None


def _local_dir(folder: Path | None) -> str | None:
    if folder is None or len(os.fsencode(folder.absolute())) > _LONGEST_LOCAL_DIR:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder.absolute())


class Pulse:
    """A pulse tells whether the cluster's control service still takes connections.

    Ray ends the whole process, with exit code 1, when it has been without the service for a minute. That is
    the code of a verdict here, so we must be first, and say what happened.
    """

    def __init__(self, lost_seconds: float = LOST_SECONDS) -> None:
        self.address = ray.get_runtime_context().gcs_address
        self._lost_seconds = lost_seconds
        self._lost_since: float | None = None
        self._looked = time.monotonic()

    def check(self) -> None:
        """Look, every few seconds at most. Raises `ClusterLost` where no connection could be made for
        so long."""
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        host, _, port = self.address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=5.0).close()
            self._lost_since = None
        except OSError as error:
            now = time.monotonic()
            self._lost_since = now if self._lost_since is None else self._lost_since
            if now - self._lost_since >= self._lost_seconds:
                raise ClusterLost(
                    f"the Ray cluster at {self.address} has not answered for {now - self._lost_since:.0f} s "
                    f"({error.strerror or error}); what is done is kept, run the same command to go on"
                ) from None


def worker_env(threads: int) -> dict[str, str]:
    """Return the environment that a worker's process starts with: threads must be fixed before numpy or torch
    is loaded, and our packages are found where this process found them."""
    number = str(threads)
    env = {name: number for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    env["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # without it cuBLAS may sum in another order each time
    root = Path(actors.__file__).resolve().parent.parent
    paths = [] if root.name in ("site-packages", "dist-packages") else [str(root)]
    paths += filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    if paths:
        env["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
    return env
