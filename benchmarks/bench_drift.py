"""`auditor drift` as a command: how long it takes, where the time goes, and what a window costs.

Pictures and questions of the lab as JSON lines, with the real MiniLM and EfficientNet-Lite0 encoders.

- `--part command`: 700 rows in one window against a baseline of 2,000 rows, serial and by Ray, as
  whole processes in turn. `--with NAME=PYTHON` adds the same command of another environment, for example of
  an older version; each environment builds a baseline of its own, which is not timed.
- `--part windows`: 30 windows of 100 rows against a baseline of 1,500 rows, by the serial executor with one
  process, and with two workers. The report says what a window costs in each stage.
- `--part start`: `import auditor`, and the first word about a wrong config.

Run: python benchmarks/bench_drift.py [--quick] [--part command] [--rounds 3] [--with old=/path/to/python]
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from _shared import machine, options

from auditor.lab.world import lab_items
from auditor.records import write_records
from schemas.record import Image, Record

ENCODERS = {"image": "efficientnet-lite0", "text": "minilm"}
CRITIC = {"seeds": 1, "steps": 300}
WINDOW_ROWS = 100
START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Sizes:
    baseline: int
    window: int
    baseline_of_windows: int
    windows: int


FULL, QUICK = Sizes(2_000, 700, 1_500, 30), Sizes(120, 60, 120, 3)


def drawn(rows: int, seed: int) -> Iterator[Record]:
    for i, item in enumerate(lab_items(rows, seed, "en")):
        yield Record(
            f"{seed}-{item.record_id}",
            f"{seed}-{item.base_id}",
            images=(Image(data=item.image),),
            query=item.query,
            reference=item.reference,
            responses={"m": (item.reference,)},
            timestamp=START + timedelta(days=i // WINDOW_ROWS, seconds=i % WINDOW_ROWS),
        )


def timed(command: list[str]) -> tuple[float, float]:
    """Seconds of the wall, and of the CPUs with all processes that were waited for. Raises where it fails."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, cwd="/")
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 1, 4):
        raise RuntimeError(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr[-3000:]}")
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


class Place:
    """Records, and the baselines that environments made of them."""

    def __init__(self, folder: Path, baseline: int, traffic: int) -> None:
        self.folder = folder
        self.id, self.traffic = folder / "id.jsonl", folder / "traffic.jsonl"
        write_records(self.id, drawn(baseline, 1))
        write_records(self.traffic, drawn(traffic, 2))

    def baseline(self, name: str, python: str) -> Path:
        out = self.folder / f"baseline-{name}"
        if not out.exists():
            config = self.folder / "baseline.json"
            encoders = {name: {"name": of} for name, of in ENCODERS.items()}
            records = {"data": {"id": str(self.id)}}
            if subprocess.run([python, "-c", "import auditor; auditor.build_baseline"], cwd="/").returncode:
                records = {"records": str(self.id)}  # a version before there was one `data:` section
            config.write_text(json.dumps({**records, "encoders": encoders, "critic": CRITIC}))
            timed([python, "-m", "jobs.cli", "baseline", "build", "-c", str(config), "-o", str(out)])
        return out

    def drift(self, name: str, python: str, *more: str) -> tuple[float, float, dict[str, float]]:
        """Wall and CPU seconds of the command, and its stages as the report tells them."""
        baseline, out = self.baseline(name.partition(",")[0], python), self.folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        words = ["drift", "--baseline", str(baseline), "--traffic", str(self.traffic), "-o", str(out)]
        wall, cpu = timed([python, "-m", "jobs.cli", *words, *more])
        report = json.loads((out / "report.json").read_text())
        return wall, cpu, report["run"].get("seconds", {})


def ways(others: Mapping[str, str]) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Name -> the interpreter, and words of the command."""
    here = sys.executable
    return {
        "this, serial": (here, ("--set", "workers.executor=serial")),
        "this, ray": (here, ("--set", "workers.executor=ray")),
        **{name: (python, ()) for name, python in others.items()},
    }


def command(sizes: Sizes, rounds: int, others: Mapping[str, str]) -> None:
    print(
        f"\n{sizes.window} rows in one window against a baseline of {sizes.baseline}: whole commands in turn"
    )
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder), sizes.baseline, sizes.window)
        found: dict[str, list[tuple[float, float]]] = {}
        for number in range(rounds):
            for name, (python, words) in ways(others).items():
                wall, cpu, stages = place.drift(name, python, *words)
                found.setdefault(name, []).append((wall, cpu))
                told = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in stages.items())
                print(f"{number} {name:<13} {wall:6.1f} s wall {cpu:6.1f} s CPU   {told}", flush=True)
        first = median(wall for wall, _ in found["this, serial"])
        for name, times in found.items():
            wall = median(wall for wall, _ in times)
            print(f"median {name:<13} {wall:6.1f} s wall, {wall / first:.2f} of serial", flush=True)


def windows(sizes: Sizes, rounds: int, others: Mapping[str, str]) -> None:
    rows = sizes.windows * WINDOW_ROWS
    print(
        f"\n{sizes.windows} windows of {WINDOW_ROWS} rows against a baseline of {sizes.baseline_of_windows}"
    )
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder), sizes.baseline_of_windows, rows)
        here = sys.executable
        kinds: dict[str, tuple[str, tuple[str, ...]]] = {
            "one": (here, ("--set", "workers.executor=serial", "--set", "workers.cpu=1")),
            "two": (here, ("--set", "workers.executor=serial", "--set", "workers.cpu=2")),
            **{name: (python, ()) for name, python in others.items()},
        }
        for number in range(rounds):
            for name, (python, words) in kinds.items():
                wall, cpu, stages = place.drift(name, python, "--window", "1d", *words)
                told = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in stages.items())
                run = place.folder / "out" / "run"
                size = {
                    each.name: sum(p.stat().st_size for p in each.rglob("*") if p.is_file()) / 2**20
                    for each in sorted(run.iterdir())
                    if each.is_dir()
                }
                disk = ", ".join(f"{key} {value / sizes.windows:.2f}" for key, value in size.items())
                print(f"{number} {name:<5} {wall:6.1f} s wall {cpu:6.1f} s CPU   {told}")
                print(f"        MiB a window: {sum(size.values()) / sizes.windows:.2f} ({disk})", flush=True)


def start(rounds: int, others: Mapping[str, str]) -> None:
    print("\nstarting, median seconds of the wall (CPU)")
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "wrong.yaml"
        config.write_text(
            "data: {id: nowhere.jsonl, scenarios: {q: other.jsonl}}\nmodels: [m]\n"
            "encoders: {image: {name: efficientnet-lite0}, text: {name: minilmm}}\n"
        )
        for name, python in {"this": sys.executable, **others}.items():
            for what, words in {
                "import auditor": ["-c", "import auditor; getattr(auditor, 'drift', None)"],
                "an unknown encoder": ["-m", "jobs.cli", "audit", "-c", str(config), "-o", f"{folder}/out"],
                "auditor --help": ["-m", "jobs.cli", "--help"],
            }.items():
                times = []
                for _ in range(rounds):
                    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
                    subprocess.run([python, *words], capture_output=True, cwd="/")
                    wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
                    times.append((wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime))
                wall, cpu = (median(each) for each in zip(*times, strict=True))
                print(f"{name:<8} {what:<18} {wall:5.2f} ({cpu:5.2f})")


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--part", choices=("command", "windows", "start"), help="default: all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--with", dest="others", action="append", default=[], metavar="NAME=PYTHON")
    given: argparse.Namespace = parser.parse_args()
    others = dict(each.split("=", 1) for each in given.others)
    sizes, rounds = (QUICK, 1) if given.quick else (FULL, given.rounds)
    print(machine())
    if given.part in (None, "start"):
        start(rounds + 2, others)
    if given.part in (None, "command"):
        command(sizes, rounds, others)
    if given.part in (None, "windows"):
        windows(sizes, rounds, others)


if __name__ == "__main__":
    main()
