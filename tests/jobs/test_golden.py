"""What the jobs have always said: whole reports, frozen, so that no number changes where only code moves.

Four results are made by the command line alone, in processes of their own: an audit of the lab in two passes
(`critic.train_on: pool`) and one that streams (`sample`), a baseline of recorded answers, and the drift of
two windows from it, the second of them shifted. They are held against `golden/*.json`.

Not compared: when and by which versions they were made, the config (its schema may change where its meaning
does not), and what is derived from these: `config_hash`, `run_id`, and the versions within the identities of
encoders and models. All else is.

On the kind of processor and with the libraries that made the files (`golden/made_on.json`), numbers are
equal to the bit. Elsewhere sums are added in other orders, and training makes last bits larger: the EMI of
a few steps moves by up to 0.003. There a number may differ by TOLERANCE, and what hangs on a number near
some limit is left out: p-values, verdicts and their reasons, which label-free estimate is reported, the
slices with most of a drift, correlations over a handful of scenarios, digests of arrays.

A number that is meant to change is frozen anew, on purpose, and the commit says why:

    python tests/jobs/test_golden.py

A change of a file format alone changes `files` and perhaps `arrays` of `golden/baseline.json`, no more.
"""

from __future__ import annotations

import base64
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).with_name("golden")
MADE_ON = "made_on"
TOLERANCE = 0.02
"""Absolute, of a number on another processor."""
ENDS = (0, 1, 4)
"""Exit codes of a job that came to its end: pass or warn, fail, undecided."""

POOL = """
data:
  reader: lab
  n: 60
  scenarios:
    blur-5: {shifts: [{shift: blur, severity: 5}]}
    german: {language: de}
    new-mix: {pool: new-mix}
    wild: {pool: natural, partition: true}
encoders: {image: {name: lab, precision: float32}, text: {name: lab, precision: float32}}
models:
  - {name: strong, generator: transformers, path: "lab:mllm-strong", max_new_tokens: 6, batch: 32}
  - {name: weak, generator: transformers, path: "lab:mllm-weak", max_new_tokens: 4, batch: 32,
     temperature: 1, samples: 4}
critic: {train_on: pool, hidden: 16, steps: 80, batch: 64, lr: 0.005, seeds: 2}
comparison: {margin: 0.05}
bounds: {symbols: 4}
thresholds: {emid: 0.1}
shards: {generate: 64, embed: 64, stream: 50}
workers: {executor: serial, cpu: 1}
"""
STREAMED = """
data:
  reader: lab
  n: 60
  scenarios:
    blur-3-typos-3: {shifts: [{shift: blur, severity: 3}, {shift: keyboard, severity: 3}]}
    frost-5: {shifts: [{shift: frost, severity: 5}]}
encoders: {image: {name: lab, precision: float32}, text: {name: lab, precision: float32}}
models:
  - {name: weak, generator: transformers, path: "lab:mllm-weak", max_new_tokens: 4, batch: 32,
     temperature: 1, samples: 4}
critic: {train_on: sample, sample_rows: 120, cross_fit: 2, hidden: 16, steps: 80, batch: 64,
  lr: 0.005, seeds: 2}
bounds: {symbols: 4, conditional: true}
thresholds: {partial_bound: 0.5}
row_sample: 50
shards: {generate: 64, embed: 64, stream: 40}
workers: {executor: serial, cpu: 1}
seed: 3
"""
BASELINE = (
    "encoders={image: {name: lab, precision: float32}, text: {name: lab, precision: float32}}",
    "critic={cross_fit: 2, hidden: 16, steps: 80, batch: 64, lr: 0.005, seeds: 2}",
    "row_sample=200",
    "shards.stream=64",
    "workers.cpu=1",
    "workers.executor=serial",
)
DRIFT = ("row_sample=90", "bounds.symbols=4", "workers.cpu=1", "workers.executor=serial")
NAMES = ("audit-pool", "audit-stream", "baseline", "drift")


# Runs.


def chains(folder: Path) -> list[list[list[str]]]:
    """Commands that need one another, in their order. No chain needs another one."""
    (folder / "pool.yaml").write_text(POOL)
    (folder / "stream.yaml").write_text(STREAMED)
    write_records(folder)
    build = ["jobs.baseline", "--records", "id.jsonl", "--model", "m", "--out", "baseline"]
    drift = ["jobs.drift", "--baseline", "baseline", "--traffic", "traffic.jsonl", "--window-rows", "100"]
    media = ["--media-root", "media"]
    return [
        [["jobs.audit", "--config", "pool.yaml", "--out", "audit-pool"]],
        [["jobs.audit", "--config", "stream.yaml", "--out", "audit-stream"]],
        [[*build, *media, *changed(BASELINE)], [*drift, *media, *changed(DRIFT), "--out", "drift"]],
    ]


def changed(settings: tuple[str, ...]) -> list[str]:
    return [word for setting in settings for word in ("--set", setting)]


def run_chain(folder: Path, commands: list[list[str]]) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    environment.pop("RAY_ADDRESS", None)
    for words in commands:
        done = subprocess.run(
            [sys.executable, "-m", *words],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode in ENDS, (
            f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout[-3000:]}"
        )


def run_all(folder: Path) -> dict[str, Any]:
    """The four results. Chains run beside one another: they mostly wait for workers to start."""
    waiting = chains(folder)
    with ThreadPoolExecutor(len(waiting)) as pool:
        for chain in [pool.submit(run_chain, folder, commands) for commands in waiting]:
            chain.result()
    return {name: (built if name == "baseline" else reported)(folder / name) for name in NAMES}


# Records.

COLOURS = {"red": (200, 40, 40), "green": (40, 160, 60), "blue": (50, 70, 200), "yellow": (220, 200, 50)}
CORNERS = {"top left": (4, 4), "top right": (4, 26), "bottom left": (26, 4), "bottom right": (26, 26)}
SIZES = {"small": 8, "large": 16}
QUESTIONS = {
    "colour": "What colour is the square?",
    "corner": "Where is the square?",
    "size": "How large is the square?",
}
OTHER_WORDS = {
    "colour": "pls tell me colour of the box thing",
    "corner": "which corner is that box in???",
    "size": "box size?",
}


def write_records(folder: Path) -> None:
    """A baseline of 240 records and traffic of 200, the second half of it shifted; bad rows among both."""
    (folder / "media").mkdir()
    rows = [row(folder / "media", i, shifted=i >= 340) for i in range(440)]
    bad = [
        {"record_id": "blank", "query": "  "},
        {**rows[1], "record_id": "lost", "image": "nowhere.ppm"},
        {**rows[1], "record_id": "again"},
        {**rows[1], "record_id": "again"},
    ]
    for name, some in (("id", rows[:240] + bad), ("traffic", rows[240:] + bad[:2])):
        lines = [json.dumps(r) for r in some]
        lines.insert(20, "{no json")
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")


def row(media: Path, i: int, *, shifted: bool) -> dict[str, Any]:
    """A square on a background, a question about it, four answers of a model, and most often a reference."""
    rng = random.Random(1000 + i)
    about = rng.choice(("colour", "corner", "size") if not shifted else ("corner", "corner", "size"))
    truth = {
        "colour": rng.choice(list(COLOURS)),
        "corner": rng.choice(list(CORNERS)),
        "size": rng.choice(list(SIZES)),
    }
    wrong = [*COLOURS, *CORNERS, *SIZES, "I cannot tell."]
    right = 0.5 if shifted else 0.85
    answers = [truth[about] if rng.random() < right else rng.choice(wrong) for _ in range(4)]
    made: dict[str, Any] = {
        "record_id": f"r{i:03d}",
        "query": (OTHER_WORDS if shifted else QUESTIONS)[about],
        "responses": {"m": answers},
        "timestamp": f"2026-03-{1 + i // 20:02d}T12:{i % 20:02d}:00",
        "tags": [f"about:{about}", f"camera:{i % 2}"],
    }
    if i % 5:
        made["reference"] = f"It is {truth[about]}."
    picture = draw(truth, rng, shifted=shifted)
    if i % 2:
        (media / f"{i}.ppm").write_bytes(picture)
        made["image"] = f"{i}.ppm"
    else:
        made["image_bytes"] = base64.b64encode(picture).decode()
    return made


def draw(truth: Mapping[str, str], rng: random.Random, *, shifted: bool) -> bytes:
    """A picture in a format that no library's compression has a part in."""
    pixels = np.full((48, 48, 3), rng.randrange(150, 190), dtype=np.uint8)
    (y, x), side = CORNERS[truth["corner"]], SIZES[truth["size"]]
    pixels[y : y + side, x : x + side] = COLOURS[truth["colour"]]
    if shifted:
        pixels = pixels // 3
        pixels[rng.randrange(48), :] = 255
    return b"P6 48 48 255\n" + pixels.tobytes()


# What is compared.


def reported(out: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((out / "report.json").read_text())
    run = report["run"]
    for name in ("created", "versions", "config", "config_hash", "run_id", "executor", "seconds", "grader"):
        del run[name]
    run["encoders"], run["models"] = identities(run["encoders"]), identities(run["models"])
    return report


def built(out: Path) -> dict[str, Any]:
    """The manifest of a baseline, the digests of its files, and those of the arrays in them."""
    manifest: dict[str, Any] = json.loads((out / "baseline.json").read_text())
    for name in ("created", "versions", "config", "config_hash"):
        del manifest[name]
    manifest["encoders"] = identities(manifest["encoders"])
    files = {name: manifest.pop(name) for name in ("profile", "fitted", "critics", "digests")}
    arrays = {}
    for kind in ("profile", "fitted"):
        with np.load(out / files[kind], allow_pickle=False) as file:
            arrays[kind] = {name: array_digest(file[name]) for name in sorted(file.files)}
    for i, name in enumerate(files["critics"]):
        critic = load_file(out / name)
        arrays[f"critic-{i}"] = {part: array_digest(critic[part]) for part in sorted(critic)}
    return {"manifest": manifest, "files": files, "arrays": arrays}


def array_digest(array: np.ndarray[Any, Any]) -> str:
    return f"{array.dtype} {array.shape} {sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]}"


def identities(given: Mapping[str, str]) -> dict[str, Any]:
    """Identities without the versions of libraries in them."""
    found: dict[str, Any] = {}
    for name, identity in given.items():
        try:
            parts = json.loads(identity)
            found[name] = {key: parts[key] for key in parts if key not in ("torch", "engine")}
        except ValueError:
            found[name] = identity
    return found


def made_on() -> dict[str, str]:
    """What the last bits of a number depend on."""
    cpu = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = [line.split(":", 1)[1].strip() for line in cpu.splitlines() if line.startswith("model name")]
    return {
        "machine": platform.machine(),
        "processor": names[0] if names else platform.processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        **{name: version(name) for name in ("torch", "numpy", "scipy", "transformers", "pillow")},
    }


NEAR_LIMITS = {
    "p_value",
    "p_adjusted",
    "verdict",
    "status",
    "because",
    "label_free",
    "missing",
    "correlations",
    "Where the drift is",
    "rows",  # a digest of contents by their encoders' identities, torch's version among them
    "files",
    "arrays",
}
"""What is left out where numbers are not equal to the bit."""


def differences(golden: Any, found: Any, exact: bool, path: str = "") -> Iterator[str]:
    """A line for each place where they differ: where, what was frozen, what there is now."""
    if isinstance(golden, dict) and isinstance(found, dict):
        for name in sorted(golden.keys() | found.keys()):
            here = f"{path}.{name}" if path else name
            if not exact and name in NEAR_LIMITS:
                continue
            if name not in found:
                yield f"{here}: frozen {shown(golden[name])}, now not there"
            elif name not in golden:
                yield f"{here}: frozen without it, now {shown(found[name])}"
            else:
                yield from differences(golden[name], found[name], exact, here)
    elif isinstance(golden, list) and isinstance(found, list) and len(golden) == len(found):
        for i, (old, new) in enumerate(zip(golden, found, strict=True)):
            yield from differences(old, new, exact, f"{path}[{place(old, i)}]")
    elif not exact and is_number(golden) and is_number(found) and float in (type(golden), type(found)):
        if abs(golden - found) > TOLERANCE:
            yield f"{path}: frozen {golden!r}, now {found!r} (may differ by {TOLERANCE})"
    elif type(golden) is not type(found) or golden != found:
        yield f"{path}: frozen {shown(golden)}, now {shown(found)}"


def is_number(value: Any) -> bool:
    return type(value) in (int, float)


def place(value: Any, i: int) -> str:
    """A row of a report by its names, anything else by its number."""
    if isinstance(value, dict) and "scenario" in value:
        return f"{i}: {value['scenario']} {value.get('model') or ''}".strip()
    return str(i)


def shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else f"{text[:200]}..."


# The tests.


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run_all(tmp_path_factory.mktemp("golden"))


@pytest.mark.timeout(1200)  # the first one makes all four: some twenty processes that load torch
@pytest.mark.parametrize("name", NAMES)
def test_a_result_is_what_it_was(name: str, results: dict[str, Any]) -> None:
    exact = made_on() == read(MADE_ON)
    found = list(differences(read(name), results[name], exact))
    how = "to the bit" if exact else f"within {TOLERANCE}: this is another processor or library"
    assert not found, f"{name}: {len(found)} places differ ({how})\n" + "\n".join(found)


def test_every_difference_is_named() -> None:
    old = {"a": [{"scenario": "s", "model": None, "emi": 0.1, "n": 3}], "p_value": 0.01, "gone": 1}
    new = {"a": [{"scenario": "s", "model": None, "emi": 0.1000001, "n": 4}], "p_value": 0.02, "new": None}
    assert list(differences(old, new, exact=True)) == [
        "a[0: s].emi: frozen 0.1, now 0.1000001",
        "a[0: s].n: frozen 3, now 4",
        "gone: frozen 1, now not there",
        "new: frozen without it, now null",
        "p_value: frozen 0.01, now 0.02",
    ]
    near = list(differences(old, new, exact=False))
    assert [line.split(":")[0] for line in near] == ["a[0", "gone", "new"]
    assert list(differences({"x": 1.0}, {"x": 1.03}, exact=False))
    assert list(differences({"x": 1.0}, {"x": None}, exact=False))


def read(name: str) -> Any:
    return json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))


def freeze() -> None:
    GOLDEN.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        results = run_all(Path(folder)) | {MADE_ON: made_on()}
    for name, result in results.items():
        text = json.dumps(result, indent=1, sort_keys=True, ensure_ascii=False)
        (GOLDEN / f"{name}.json").write_text(text + "\n", encoding="utf-8")
        print(f"frozen: {GOLDEN / name}.json")


if __name__ == "__main__":
    freeze()
