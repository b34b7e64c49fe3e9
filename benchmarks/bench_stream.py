"""Streaming: does the driver's memory stay flat while rows grow, and how many rows a second go through?

The real `auditor drift`, in a fresh process a size: JSON lines in, windows by time, workers that embed and
profile, report out. Texts only, by the lab's text encoder at layer 0 (a table of
embeddings: about as cheap as an encoder can be), so that what is measured is everything around the encoder.
The number of windows is the same for every size. Run: python benchmarks/bench_stream.py [--rows 10000 ...]
"""

from __future__ import annotations

import json
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from _shared import machine, options

SIZES, QUICK = (10_000, 100_000, 1_000_000), (1_000, 4_000)
WINDOWS = 10
BASELINE = 2_000
WORDS = ("red", "blue", "green", "square", "circle", "left", "above", "how", "many", "what", "colour", "two")
WORKERS = 2


def write(path: Path, rows: int, first: int) -> None:
    """Records over WINDOWS days; lines come nearly, not quite, in the order of time."""
    rng = random.Random(first)
    start, step = datetime(2026, 1, 1, tzinfo=UTC), timedelta(days=WINDOWS) / rows
    end = start + timedelta(days=WINDOWS, seconds=-1)
    with open(path, "w", encoding="utf-8") as file:
        for i in range(first, first + rows):
            query = " ".join(rng.choices(WORDS, k=rng.randint(4, 12)))
            answer = " ".join(rng.choices(WORDS, k=3))
            late = timedelta(minutes=rng.uniform(0, 60))
            row = {
                "record_id": f"r{i}",
                "query": f"{query}?",
                "responses": {"m": answer},
                "reference": answer if rng.random() < 0.6 else " ".join(rng.choices(WORDS, k=3)),
                "timestamp": min(start + (i - first) * step + late, end).isoformat(),
                "tags": [f"site:{i % 7}"],
            }
            file.write(json.dumps(row) + "\n")


def build_baseline(folder: Path) -> None:
    from auditor.pipeline.bars import Bars
    from auditor.pipeline.baseline import build
    from schemas.config import BaselineConfig

    write(folder / "id.jsonl", BASELINE, 0)
    config = {
        "data": {"id": str(folder / "id.jsonl")},
        "encoders": {"image": None, "text": {"name": "lab", "layer": 0}},
        "critic": {"seeds": 1, "steps": 200, "hidden": 64, "batch": 256},
        "workers": {"cpu": WORKERS},
    }
    build(BaselineConfig.model_validate(config), folder / "baseline", Bars())


def drift_once(folder: Path, rows: int) -> None:
    """In a process of its own: prints what it took as JSON."""
    from auditor.pipeline.bars import Bars
    from auditor.pipeline.drift import drift
    from schemas.config import DriftConfig

    traffic, out = folder / "traffic.jsonl", folder / "out"
    config = {
        "baseline": str(folder / "baseline"),
        "data": {"traffic": str(traffic)},
        "window": "1d",
        "workers": {"cpu": WORKERS},
    }
    idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    began = time.monotonic()
    report = drift(DriftConfig.model_validate(config), out, Bars())
    took = time.monotonic() - began
    sizes = {
        kind: sum(file.stat().st_size for file in (out / "run" / kind).rglob("*") if file.is_file())
        for kind in ("records", "windows", "profiles", "embeddings")
    }
    found = {
        "rows": rows,
        "seconds": took,
        "idle": idle,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "windows": len(report.windows),
        "seen": sum(row.n for row in report.windows),
        "sizes": sizes,
    }
    print(json.dumps(found), flush=True)


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--rows", type=int, nargs="+", help=f"sizes (default {SIZES})")
    parser.add_argument("--child", type=Path, help="(a size, in this process)")
    args = parser.parse_args()
    if args.child:
        drift_once(args.child, args.rows[0])
        return
    print(machine())
    sizes = args.rows or (QUICK if args.quick else SIZES)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build_baseline(folder)
        print(
            f"\n{'rows':>10} {'rows/s':>8} {'driver peak MB':>15} {'MB on disk: records':>20} {'profiles':>9}"
        )
        for rows in sizes:
            shutil.rmtree(folder / "out", ignore_errors=True)
            write(folder / "traffic.jsonl", rows, 10**7)
            command = [sys.executable, __file__, "--child", str(folder), "--rows", str(rows)]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
            found = json.loads(done.stdout.splitlines()[-1])
            assert found["seen"] == rows and found["windows"] == WINDOWS, found
            assert found["sizes"]["embeddings"] == 0
            print(
                f"{rows:10,} {rows / found['seconds']:8,.0f} {found['peak']:15,.0f} "
                f"{found['sizes']['records'] / 2**20:20,.1f} {found['sizes']['profiles'] / 2**20:9,.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
