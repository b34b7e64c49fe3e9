"""A workplace is where a job does its work: its folder, its executor, its units of work, and who hears of
it."""

from __future__ import annotations

from dataclasses import dataclass

from auditor.pipeline.executor import Executor
from auditor.pipeline.progress import Stopwatch
from auditor.records import MediaPolicy
from auditor.storage.run_dir import RunDir
from schemas.config import ShardConfig


@dataclass(frozen=True)
class Workplace:
    """Every step gets the workplace of its job."""

    run: RunDir
    executor: Executor
    shards: ShardConfig
    progress: Stopwatch
    media: MediaPolicy


def open_workplace(
    run: RunDir, executor: Executor, shards: ShardConfig, progress: Stopwatch, media: MediaPolicy
) -> Workplace:
    """Return the workplace of a job. Raises `BadInput`, with the node, where not all share the run
    directory."""
    executor.check_run(run)
    return Workplace(run, executor, shards, progress, media)
