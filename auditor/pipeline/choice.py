"""This module chooses the executor of a job: the one that is asked for, or the one that fits the work."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from importlib.util import find_spec

from auditor.errors import BadInput, needed_for
from auditor.pipeline.checks import cluster_address
from auditor.pipeline.executor import Executor, Opening
from auditor.pipeline.progress import Progress
from auditor.pipeline.serial import gpus_here, serial
from schemas.config import ModelConfig, WorkersConfig

log = logging.getLogger(__name__)

GROUP = "shift_auditor.executors"
LARGE_ROWS = 20_000
"""More rows than this are worth starting a cluster for, even on one machine."""


@contextmanager
def open_executor(
    workers: WorkersConfig,
    threads: int,
    progress: Progress,
    *,
    rows: int,
    models: tuple[ModelConfig, ...] = (),
) -> Iterator[Executor]:
    """Open the executor of a job with so many rows and these models. Raises `BadInput` where the one that is
    asked for is not installed."""
    chosen, why = choose(workers, rows, models)
    log.info("executor: %s (%s)", chosen, why)
    with find(chosen)(workers, threads, progress) as executor:
        progress.waiting(f"runs {executor.description} ({why})")
        yield executor


def choose(workers: WorkersConfig, rows: int, models: tuple[ModelConfig, ...] = ()) -> tuple[str, str]:
    """Return the name of the executor, and why it is that one."""
    if workers.executor != "auto":
        return workers.executor, f"workers.executor: {workers.executor}"
    if cluster_address(workers):
        return _ray("a cluster is named")
    if answering := [m.name for m in models if m.generator is not None and m.endpoint is None]:
        return _ray(f"{answering[0]} answers here, and is kept apart from this process")
    if workers.gpu != 0 and gpus_here():
        return _ray("this machine has GPUs")
    if rows > LARGE_ROWS:
        return _ray(f"{rows:,} rows are many")
    return "serial", f"{rows:,} rows need no cluster"


def _ray(why: str) -> tuple[str, str]:
    if find_spec("ray") is not None and entry_points(group=GROUP, name="ray"):
        return "ray", why
    return "serial", f"{why}, but the Ray executor is not installed: pip install 'shift-auditor[ray]'"


def find(name: str) -> Opening:
    """Return what opens the executor of this name. Raises `BadInput` where it is not installed."""
    if name == "serial":
        return serial
    for point in entry_points(group=GROUP, name=name):
        with needed_for(f"workers.executor: {name}"):
            opening: Opening = point.load()
        return opening
    raise BadInput(
        f"workers.executor: {name} is not installed; pip install 'shift-auditor[{name}]', or use serial"
    )
