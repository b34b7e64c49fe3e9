"""What dies, and what comes out: real audits under kill -9, and rows that raise, kill and hang.

kills: a small audit (lab pictures in files, seven of 167 lines bad; a transformers model answers, the lab's
encoders embed) on a Ray cluster of three raylets on this machine. In each run a worker, a raylet, the driver
or the store's writer is killed (kill -9) at a random time; where the run does not end by itself the same
command is given again. Every report must equal the undisturbed one (but for times and names of runs), and
rows in = rows out + quarantined.
poison: 20,000 texts through the lab's text encoder, five of which raise (2), end their worker (2) and hang
(1); the others' vectors against those of a run with harmless texts in their places, to the bit.

Run: python benchmarks/bench_faults.py [--runs N] [--first K] [--seed S] [--only kills|poison] [--quick]
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from _shared import machine, options
from ray import cloudpickle
from ray.cluster_utils import Cluster

from actors.cluster import PoolSize, connect, worker_env
from actors.pool import run_shards
from auditor.lab.world import lab_items
from auditor.pipeline.workers.embeddings import EmbedSettings, EmbedWorker, encoder
from auditor.protocols import Array, Encoder
from auditor.storage.embedding_store import EmbeddingStore
from auditor.storage.work_units import cut, text_item
from schemas.config import WorkersConfig

cloudpickle.register_pickle_by_value(sys.modules[__name__])
ROOT = Path(__file__).resolve().parents[1]
KINDS = ("worker", "raylet", "driver", "store writer")
ENDED = (0, 1, 4)
"""Exit codes of an audit that came to a verdict."""
LONGEST = 900.0
"""Seconds that one command may take before it is said to hang."""

# kills

CONFIG = """
data: {id: id.jsonl, scenarios: {natural: natural.jsonl}, media_root: images}
encoders: {image: lab, text: lab}
models: [{name: weak, generator: transformers, path: "lab:mllm-weak", max_new_tokens: 4, batch: 16}]
critic: {hidden: 16, steps: 200, batch: 64, seeds: 2}
shards: {generate: 16, embed: 32, stream: 64}
workers: {cpu: 2, stall_seconds: 240}
"""
BAD = ("[1, 2]", "{", '{"record_id": "empty"}', '{"record_id": "lost", "image": "lost.png", "query": "?"}')
"""Lines of the first file that must be quarantined; of the other, the first three."""


class Outcome(NamedTuple):
    said: str
    """Exit code, or signal, of each command."""
    seconds: float
    numbers: dict[str, Any]


def write_data(folder: Path, rows: int) -> int:
    """Records of two scenarios as files; returns how many lines there are."""
    (folder / "images").mkdir(parents=True)
    lines = 0
    for name, pool, bad in (("id", "id", BAD), ("natural", "natural", BAD[:3])):
        rows_of = []
        for item in lab_items(rows, seed=1, pool=pool):
            (folder / "images" / f"{item.record_id}.png").write_bytes(item.image)
            rows_of.append(
                json.dumps(
                    {
                        "record_id": item.record_id,
                        "image": f"{item.record_id}.png",
                        "query": item.query,
                        "reference": item.reference,
                    }
                )
            )
        rows_of[7:7] = bad
        (folder / f"{name}.jsonl").write_text("\n".join(rows_of) + "\n")
        lines += len(rows_of)
    (folder / "audit.yaml").write_text(CONFIG)
    return lines


def came_to_a_verdict(said: str, folder: Path) -> bool:
    return said in map(str, ENDED) and (folder / "out" / "report.json").exists()


def start(folder: Path, address: str) -> subprocess.Popen[str]:
    env = {
        **os.environ,
        "RAY_ADDRESS": address,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }
    command = [
        sys.executable,
        "-m",
        "jobs.audit",
        "-c",
        str(folder / "audit.yaml"),
        "-o",
        str(folder / "out"),
    ]
    with open(folder / "said.txt", "w") as said:
        return subprocess.Popen(command, env=env, cwd=folder, stdout=said, stderr=said, text=True)


def finish(driver: subprocess.Popen[str]) -> str:
    try:
        code = driver.wait(LONGEST)
    except subprocess.TimeoutExpired:
        return "hung"
    finally:  # also where this is interrupted
        driver.kill()
        driver.wait()
    return signal.Signals(-code).name if code < 0 else str(code)


def numbers(out: Path) -> dict[str, Any]:
    """The report without what tells when and where it was made."""
    report = json.loads((out / "report.json").read_text())
    for name in ("created", "config"):
        report["run"].pop(name)
    return report


def rows_out(report: dict[str, Any]) -> int:
    return sum(row["n"] for row in report["scenarios"]) + sum(report["quarantine"].values())


class Nodes:
    """A head and two more raylets, one CPU each; one that was killed is replaced."""

    def __init__(self) -> None:
        health = {
            "health_check_initial_delay_ms": 0,
            "health_check_period_ms": 1000,
            "health_check_timeout_ms": 1000,
        }
        head = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "include_dashboard": False}
        head["_system_config"] = health
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        self.others: list[Any] = []
        self.complete()

    def complete(self) -> None:
        for node in [node for node in self.others if not alive(raylet(node))]:
            self.cluster.remove_node(node, allow_graceful=False)
            self.others.remove(node)
        while len(self.others) < 2:
            self.others.append(self.cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20))
        self.cluster.wait_for_nodes(timeout=120)

    def workers(self) -> list[int]:
        """Processes of our pools: actors that are children of these raylets, and of no one else's."""
        raylets = {raylet(node) for node in (self.cluster.head_node, *self.others)}
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                if parent in raylets and (folder / "cmdline").read_bytes().startswith(b"ray::_Host"):
                    found.append(int(folder.name))
            except (OSError, IndexError, ValueError):
                continue
        return sorted(found)


def raylet(node: Any) -> int:
    return int(node.all_processes["raylet"][0].process.pid)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def kill(
    kind: str, at: float, rng: np.random.Generator, nodes: Nodes, driver: subprocess.Popen[str], out: Path
) -> float | None:
    """kill -9 at a time (seconds) after the start; when it was done, None where the run ended first."""
    began = time.monotonic()

    def passed(ready: Callable[[], bool]) -> bool:
        while driver.poll() is None:
            if time.monotonic() - began >= at and ready():
                return True
            time.sleep(0.002)
        return False

    victims: list[int] = []
    if kind == "worker":

        def some() -> bool:
            victims[:] = nodes.workers()
            return bool(victims)

        there = passed(some)
        victim = int(rng.choice(victims)) if there else 0
    elif kind == "raylet":
        there = passed(lambda: True)
        victim = raylet(nodes.others[int(rng.integers(len(nodes.others)))])
    elif kind == "driver":
        there, victim = passed(lambda: True), driver.pid
    else:  # while it makes the store, or writes into it: a tenth of a second in all
        at = 0.0
        there, victim = passed(lambda: any(out.glob("*audit.duckdb*"))), driver.pid
        time.sleep(float(rng.uniform(0, 0.15)))
    if not there:
        return None
    when = time.monotonic() - began
    try:
        os.kill(victim, signal.SIGKILL)
    except ProcessLookupError:  # it ended between the look and the kill
        return None
    return when


def kills(runs: int, first: int, seed: int, rows: int) -> bool:
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    lines = write_data(folder, rows)
    nodes = Nodes()
    try:
        began = time.monotonic()
        ended = finish(start(folder, nodes.cluster.address))
        whole = time.monotonic() - began
        if not came_to_a_verdict(ended, folder):
            raise SystemExit(f"the undisturbed run failed: {(folder / 'said.txt').read_text()}")
        true = numbers(folder / "out")
        aside = sum(true["quarantine"].values())
        print(
            f"\nundisturbed: {whole:.1f} s, {lines} lines in, {rows_out(true)} out, {aside} of them set aside"
        )
        print(f"kills with seed {seed}; one command may take {LONGEST:.0f} s")
        print(
            f"{'run':>3} {'killed':<13} {'at s':>6} {'commands ended with':<22} {'s':>6} "
            f"{'equal':>6} {'rows':>5}"
        )
        tally: Counter[str] = Counter()
        for number in range(first, first + runs):
            kind, rng = KINDS[number % len(KINDS)], np.random.default_rng([seed, number])
            shutil.rmtree(folder / "out", ignore_errors=True)
            nodes.complete()
            began = time.monotonic()
            driver = start(folder, nodes.cluster.address)
            when = kill(kind, float(rng.uniform(0, whole)), rng, nodes, driver, folder / "out")
            said = [finish(driver)]
            while not came_to_a_verdict(said[-1], folder) and len(said) < 4 and "hung" not in said:
                said.append(finish(start(folder, nodes.cluster.address)))
            took, equal, exact = time.monotonic() - began, False, False
            if came_to_a_verdict(said[-1], folder):
                found = numbers(folder / "out")
                equal, exact = found == true, rows_out(found) == lines
            else:
                print((folder / "said.txt").read_text()[-2000:])
            tally["equal"] += equal
            tally["exact"] += exact
            tally["ended"] += len(said) == 1
            tally["missed"] += when is None
            at = "-" if when is None else f"{when:.1f}"
            print(
                f"{number:>3} {kind:<13} {at:>6} {' then '.join(said):<22} {took:>6.1f} "
                f"{'yes' if equal else 'NO':>6} {'yes' if exact else 'NO':>5}",
                flush=True,
            )
        print(
            f"{tally['equal']} of {runs} equal, {tally['exact']} with every row; {tally['ended']} ended by "
            f"themselves, {runs - tally['ended']} with the same command again; in {tally['missed']} the run "
            "ended before its kill"
        )
        return tally["equal"] == tally["exact"] == runs
    finally:
        nodes.cluster.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


# poison

POISON = {"raise 1": 3_001, "kill 1": 7_003, "hang 1": 11_005, "raise 2": 15_007, "kill 2": 19_009}
"""Text -> its place among 20,000 (scaled to fewer)."""


class Poisoned:
    """The lab's encoder, but for texts that raise, end the process or never come back."""

    def __init__(self) -> None:
        self._encoder: Encoder = encoder("lab", "text", "cpu", 1, None)
        self.modality, self.dim = self._encoder.modality, self._encoder.dim
        self.identity = self._encoder.identity

    def encode(self, contents: Any) -> Array:
        for text in contents:
            if text.startswith("raise "):
                raise RuntimeError("this text raises")
            if text.startswith("kill "):
                os.kill(os.getpid(), signal.SIGSEGV)
            if text.startswith("hang "):
                time.sleep(10_000)
        return self._encoder.encode(contents)


def poison(rows: int) -> bool:
    texts = [f"how many striped shapes are left of number {i}?" for i in range(rows)]
    places = {text: place * rows // 20_000 for text, place in POISON.items()}
    harmless = [texts[place] for place in places.values()]
    bad = list(texts)
    for text, place in places.items():
        bad[place] = text
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    seconds, shard_seconds = {}, [2.5]
    try:
        with connect(WorkersConfig(cpu=2)):
            for name, given in (("clean", texts), ("poisoned", bad)):
                (folder / name).mkdir()
                hang_seconds = 4 * max(shard_seconds) if name == "poisoned" else None
                tally = run_shards(
                    EmbedWorker,
                    EmbedSettings(Poisoned, folder / name),
                    cut(map(text_item, given), 256, "bench"),
                    PoolSize(2, 1, 0.0),
                    stage=name,
                    hang_seconds=hang_seconds,
                    on_done=lambda result: shard_seconds.append(result.seconds),
                )
                seconds[name] = tally.seconds
                print(
                    f"{name}: {tally.done:,} rows, {tally.errors} set apart, {tally.seconds:.1f} s",
                    flush=True,
                )
        clean, poisoned = EmbeddingStore(folder / "clean"), EmbeddingStore(folder / "poisoned")
        keys = [text_item(text).key for text in texts if text not in harmless]
        same = bool((clean.rows(keys) == poisoned.rows(keys)).all())
        same &= bool((clean.norms(keys) == poisoned.norms(keys)).all())
        found = poisoned.errors()
        exact = set(found) == {text_item(text).key for text in places} and not clean.errors()
        for text in places:
            print(f"  {text}: {found.get(text_item(text).key)}")
        print(
            f"exactly these {len(places)} set apart: {'yes' if exact else 'NO'}; the other {len(keys):,} "
            f"rows equal to the bit: {'yes' if same else 'NO'}; "
            f"{seconds['poisoned'] - seconds['clean']:.1f} s more than the clean run "
            f"(a hang is told after {hang_seconds:g} s)"
        )
        return exact and same
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    parser = options(__doc__)
    parser.add_argument(
        "--runs", type=int, help="runs with a kill (default 30; one of each kind with --quick)"
    )
    parser.add_argument("--first", type=int, default=0, help="number of the first, to run them in parts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=["kills", "poison"])
    given = parser.parse_args()
    os.environ.update(worker_env(1))
    print(machine())
    good = True
    if given.only != "poison":
        good &= kills(given.runs or (4 if given.quick else 30), given.first, given.seed, rows=80)
    if given.only != "kills":
        print()
        good &= poison(2_000 if given.quick else 20_000)
    raise SystemExit(0 if good else 1)


if __name__ == "__main__":
    main()
