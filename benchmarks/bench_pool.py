"""Pool against plain loop: rows a second over the same shards, and what starting costs.

A row is a fixed amount of arithmetic on one thread (about 1.4 ms). Run: python benchmarks/bench_pool.py
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from ray import cloudpickle

from actors.cluster import PoolSize, connect, worker_env
from actors.embed import EmbedSettings, EmbedWorker
from actors.pool import run_shards
from actors.progress import Tally
from auditor.interface import Array, Modality
from auditor.shards import ContentItem, Shard, cut, text_item
from schemas.config import WorkersConfig

cloudpickle.register_pickle_by_value(sys.modules[__name__])
ROWS, SHARD = 10_000, 256


class Busy:
    """An encoder that costs what a small one costs."""

    modality: Modality = "text"
    dim = 384
    identity = "busy"

    def __init__(self) -> None:
        self._matrix = np.random.default_rng(0).normal(size=(384, 384)).astype(np.float32) / 20

    def encode(self, contents: Sequence[bytes] | Sequence[str]) -> Array:
        out = np.empty((len(contents), 384), np.float32)
        for row, text in enumerate(contents):
            z = np.full(384, float(len(text)), np.float32)
            for _ in range(60):
                z = np.tanh(self._matrix @ z)
            out[row] = z
        return out


class Clock:
    """Time of the first shard, so that starting is not counted as work."""

    first: Tally | None = None

    def update(self, tally: Tally) -> None:
        if self.first is None and tally.done:
            self.first = tally

    def waiting(self, what: str) -> None:
        print(what)


def work() -> list[Shard[ContentItem]]:
    return cut([text_item(f"text {i}") for i in range(ROWS)], SHARD, "bench")


def _loop(folder: Path) -> float:
    worker, shards = EmbedWorker(EmbedSettings(Busy, folder)), work()
    began = time.monotonic()
    for shard in shards:
        worker.run(shard)
    return ROWS / (time.monotonic() - began)


def plain_loop() -> float:
    """Rows a second of one process without Ray, with a worker's threads."""
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process,
    ):
        return process.submit(_loop, Path(folder)).result()


def main() -> None:
    os.environ.update(worker_env(1))  # before the process of the plain loop loads numpy
    print(f"load average      {os.getloadavg()[0]:8.1f}")
    loop = plain_loop()
    print(f"plain loop        {loop:8.0f} rows/s")
    shards = work()
    began = time.monotonic()
    with connect(WorkersConfig(cpu=2)) as cluster:
        print(f"Ray started in    {time.monotonic() - began:8.1f} s")
        for workers in range(1, cluster.pool(1).workers + 1):
            with tempfile.TemporaryDirectory() as folder:
                settings, clock = EmbedSettings(Busy, Path(folder)), Clock()
                tally = run_shards(
                    EmbedWorker, settings, shards, PoolSize(workers, 1, 0.0), stage="bench", progress=clock
                )
            assert clock.first is not None
            steady = (tally.done - clock.first.done) / (tally.seconds - clock.first.seconds)
            print(
                f"pool of {workers}         {steady:8.0f} rows/s  ({steady / loop:.2f} x the loop; "
                f"{tally.rate:.0f} with its start, first shard after {clock.first.seconds:.1f} s)"
            )
    print(f"plain loop again  {plain_loop():8.0f} rows/s")


if __name__ == "__main__":
    main()
