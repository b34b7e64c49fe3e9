"""What the benchmarks share: the line about the machine, clocks, rows, tables, and work in two processes."""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter, process_time
from typing import TypeVar

import numpy as np

from auditor.sketch import Float, Floats

_PACKAGES = ("numpy", "scipy", "torch")
Job = TypeVar("Job")
Result = TypeVar("Result")


def options(
    doc: str | None, *, processes: bool = False, parts: Iterable[str] = ()
) -> argparse.ArgumentParser:
    """The options that every benchmark has; `processes` where its repetitions can be shared out; `parts` that
    can run alone."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few repetitions: does it run at all?")
    parser.add_argument("--cpu", action="store_true", help="CPU seconds, which neighbours do not stretch")
    if processes:
        parser.add_argument("--processes", type=int, default=1, help="of one thread each (default 1)")
    if names := list(parts):
        parser.add_argument("--only", nargs="+", choices=names, default=names, help="these parts alone")
    return parser


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0))


def machine() -> str:
    """Processor, threads, load and versions, for the head of a table."""
    import torch

    info = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if "model name" in line]
    packages = " ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return (
        f"{names[0] if names else platform.machine()}, {os.cpu_count()} CPUs, "
        f"{torch.get_num_threads()} thread(s) a process, load {os.getloadavg()[0]:.1f}; "
        f"{'CPU' if now.cpu else 'wall'} seconds; Python {platform.python_version()} {packages}"
    )


class Clock:
    """Seconds of the wall, or (`cpu`) of this process's threads together."""

    cpu = False

    def __call__(self) -> float:
        return process_time() if self.cpu else perf_counter()


now = Clock()


def seconds(call: Callable[[], object], repeats: int = 3) -> float:
    """The fastest of some calls."""
    times = []
    for _ in range(repeats):
        start = now()
        call()
        times.append(now() - start)
    return min(times)


def unit(z: Floats) -> Floats:
    """Rows of length 1."""
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def scales(d: int) -> Float:
    """(d,) standard deviations of a slow spectrum, as embeddings have: j^-1/2."""
    return np.arange(1, d + 1) ** -0.5


def spread_out(work: Callable[[Job], Result], jobs: Sequence[Job], processes: int) -> Iterable[Result]:
    """Results in the order of the jobs, from `processes` processes of one thread each (here if one)."""
    if processes == 1:
        yield from map(work, jobs)
        return
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"  # before they load numpy
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield from pool.map(work, jobs)
