"""The pipeline against a plain loop over the same model and data, and the driver's memory.

Throughput: the lab's text encoder (about 1.3 ms a row) through the pool with one worker and with two, of one
thread each, and in a single process without Ray; at one niceness, interleaved, several times. The rate is
taken between the first and the last fifth of the shards, so that neither starting nor the end counts.
Memory: a small network over byte counts (20 us a row) through two workers at 10 k, 100 k and 1 M records,
each in a driver of its own, its shards drawn from a generator; once without and once with removal of repeats.

Run: python benchmarks/bench_pipeline.py [--quick] [--rows N] [--repeats K] [--only throughput|memory]
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import numpy as np
from _shared import machine, options
from ray import cloudpickle

from actors.cluster import PoolSize, connect, worker_env
from actors.pool import run_shards
from auditor.pipeline.executor import ShardResult
from auditor.pipeline.workers.embeddings import EmbedSettings, EmbedWorker, encoder
from auditor.protocols import Array, Modality
from auditor.storage.work_units import ContentItem, Shard, cut_lazily, text_item
from schemas.config import WorkersConfig

cloudpickle.register_pickle_by_value(sys.modules[__name__])
SHARD = 256
NICE = int(os.environ.get("RAY_worker_niceness", "15"))  # noqa: SIM112  (Ray spells it so)
MEMORY_SIZES = (10_000, 100_000, 1_000_000)


class Steady:
    """Rows a second in the middle of a run."""

    def __init__(self) -> None:
        self._done: list[tuple[float, int]] = []

    def __call__(self, result: ShardResult) -> None:
        self._done.append((time.monotonic(), result.rows))

    @property
    def rate(self) -> float:
        fifth = len(self._done) // 5
        part = self._done[fifth : len(self._done) - fifth]
        return sum(rows for _, rows in part[1:]) / (part[-1][0] - part[0][0])


def items(n: int) -> Iterator[ContentItem]:
    return (text_item(f"how many striped shapes are left of number {i}?") for i in range(n))


# Throughput.

lab = partial(encoder, "lab", "text", "cpu", 1, None)


def _loop(folder: Path, rows: int) -> float:
    os.nice(NICE - os.nice(0))
    worker, steady = EmbedWorker(EmbedSettings(lab, folder)), Steady()
    for shard in cut_lazily(items(rows), SHARD, "bench"):
        steady(worker.run(shard))
    return steady.rate


def plain_loop(rows: int) -> float:
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process,
    ):
        return process.submit(_loop, Path(folder), rows).result()


def pool(workers: int, rows: int) -> float:
    steady = Steady()
    with tempfile.TemporaryDirectory() as folder:
        run_shards(
            EmbedWorker,
            EmbedSettings(lab, Path(folder)),
            cut_lazily(items(rows), SHARD, "bench"),
            PoolSize(workers, 1, 0.0),
            stage="bench",
            total=rows,
            on_done=steady,
        )
    return steady.rate


def throughput(rows: int, repeats: int) -> None:
    print(f"\n{rows:,} rows in shards of {SHARD}, {repeats} rounds, rows/s; workers and loop at nice {NICE}")
    print(f"{'round':>5} {'load':>5} {'loop':>7} {'1 worker':>9} {'2 workers':>10} {'1/loop':>7} {'2/1':>5}")
    found = []
    with connect(WorkersConfig(cpu=2)):
        for number in range(repeats):
            load = os.getloadavg()[0]
            # The order turns, so that no one always meets the machine after the same neighbour.
            order = [("loop", 0), ("one", 1), ("two", 2)]
            order = order[number % 3 :] + order[: number % 3]
            rates = {name: pool(k, rows) if k else plain_loop(rows) for name, k in order}
            loop, one, two = rates["loop"], rates["one"], rates["two"]
            found.append((one / loop, two / one))
            print(
                f"{number:>5} {load:>5.1f} {loop:>7.0f} {one:>9.0f} {two:>10.0f} "
                f"{one / loop:>7.2f} {two / one:>5.2f}",
                flush=True,
            )
    one, two = (median(values) for values in zip(*found, strict=True))
    print(f"median: one worker {one:.2f} of the loop (goal 0.90), two {two:.2f} of one (goal 1.50)")


# Memory of the driver.


class Bytes:
    """Byte counts of a text through a small network."""

    modality: Modality = "text"
    dim = 32
    identity = "bytes"

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self._first = rng.normal(size=(256, 64)).astype(np.float32)
        self._second = rng.normal(size=(64, 32)).astype(np.float32)

    def encode(self, contents: Sequence[bytes] | Sequence[str]) -> Array:
        out = np.empty((len(contents), 32), np.float32)
        for start in range(0, len(contents), 64):
            counts = np.zeros((64, 256), np.float32)
            for row, text in enumerate(contents[start : start + 64]):
                counts[row] = np.bincount(np.frombuffer(str(text).encode(), np.uint8), minlength=256)
            rows = np.tanh(counts @ self._first) @ self._second
            out[start : start + 64] = rows[: len(out) - start]
        return out


def _shards(rows: int, distinct: bool) -> Iterator[Shard[ContentItem]]:
    if distinct:
        yield from cut_lazily(items(rows), 2048, "bench")
        return
    held: list[ContentItem] = []
    for item in items(rows):
        held.append(item)
        if len(held) == 2048:
            yield Shard(held[0].key[:32], tuple(held))
            held = []
    if held:
        yield Shard(held[0].key[:32], tuple(held))


def _resident(what: str = "VmRSS") -> float:
    """MiB of this process (`VmHWM`: at most so far)."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status[what].split()[0]) / 1024


def _driver(rows: int, distinct: bool) -> tuple[float, float, float, float]:
    """Resident MiB before the first shard, at the end and at most; rows a second."""
    with connect(WorkersConfig(cpu=2)), tempfile.TemporaryDirectory() as folder:
        before = _resident()
        tally = run_shards(
            EmbedWorker,
            EmbedSettings(Bytes, Path(folder)),
            _shards(rows, distinct),
            PoolSize(2, 1, 0.0),
            stage="bench",
        )
    assert tally.done == tally.total == rows
    return before, _resident(), _resident("VmHWM"), tally.rate


def memory(sizes: Sequence[int]) -> None:
    print("\nresident memory of the driver, MiB")
    print(f"{'records':>10} {'repeats removed':>16} {'before':>7} {'end':>7} {'most':>7} {'rows/s':>8}")
    for distinct in (False, True):
        for rows in sizes:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                before, end, most, rate = process.submit(_driver, rows, distinct).result()
            print(
                f"{rows:>10,} {'yes' if distinct else 'no':>16} {before:>7.0f} {end:>7.0f} {most:>7.0f} "
                f"{rate:>8.0f}",
                flush=True,
            )


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--rows", type=int, help="rows of the throughput part (default 20,000)")
    parser.add_argument("--repeats", type=int, help="rounds of the throughput part (default 5)")
    parser.add_argument("--only", choices=["throughput", "memory"])
    given = parser.parse_args()
    os.environ.update(worker_env(1))  # before the process of the plain loop loads numpy
    print(machine())
    if given.only != "memory":
        throughput(
            given.rows or (4_000 if given.quick else 20_000), given.repeats or (1 if given.quick else 5)
        )
    if given.only != "throughput":
        memory(MEMORY_SIZES[:2] if given.quick else MEMORY_SIZES)


if __name__ == "__main__":
    main()
