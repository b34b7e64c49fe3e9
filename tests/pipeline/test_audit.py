"""The main job on a small lab, on a real local Ray: equal to the bit whoever does the work and however often
it is cut off; bad input is one line or a quarantined row, with the public exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from PIL import Image

from jobs.run.settings import load_config
from schemas.config import AuditConfig

LAB = """
data:
  reader: lab
  n: 60
  scenarios:
    blur-5: {shifts: [{shift: blur, severity: 5}]}
    german: {language: de}
    wild: {pool: natural, partition: true}
encoders: {image: {name: lab}, text: {name: lab}}
models: [{name: weak, generator: transformers, path: "lab:mllm-weak", max_new_tokens: 4, batch: 16}]
critic: {hidden: 16, steps: 40, batch: 64, seeds: 2}
shards: {generate: 32, embed: 32, stream: 25}
"""


@pytest.fixture(scope="module")
def cluster(quiet_ray: Callable[[int], None]) -> Iterator[None]:
    """One local Ray for all runs: a job uses the connection that its process has."""
    quiet_ray(3)
    yield
    ray.shutdown()


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    path = tmp_path / "lab.yaml"
    path.write_text(LAB)
    return path


def numbers(out: Path) -> dict[str, Any]:
    """A report without what tells when and where it was made, and how long that took."""
    report = json.loads((out / "report.json").read_text())
    for name in ("created", "config", "executor", "seconds"):
        report["run"].pop(name)
    return report


def test_numbers_do_not_depend_on_the_workers_or_on_a_second_run(
    cluster: None, lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., int]
) -> None:
    """In this process and on three workers of a cluster; `test_executors` has the other numbers of them."""
    found = []
    for executor, workers in (("serial", 1), ("ray", 3)):
        out, how = tmp_path / f"out-{workers}", f"workers={{executor: {executor}, cpu: {workers}}}"
        assert run(monkeypatch, "audit", "-c", lab, "--set", how, "-o", out) == 0
        found.append(numbers(out))
    assert found[1] == found[0]
    serial = ("--set", "workers={executor: serial, cpu: 1}")
    shards = {p: p.stat().st_mtime_ns for p in (tmp_path / "out-1" / "run").rglob("*.*")}
    assert run(monkeypatch, "audit", "-c", lab, *serial, "-o", tmp_path / "out-1") == 0
    assert numbers(tmp_path / "out-1") == found[0]
    for path, when in shards.items():
        if "responses" in path.parts or "embeddings" in path.parts:
            assert path.stat().st_mtime_ns == when

    rows = {row["scenario"]: row for row in found[0]["scenarios"]}
    assert list(rows) == ["id", "blur-5", "german", "wild-easy", "wild-normal", "wild-hard"]
    assert rows["blur-5"]["divergences"]["image"]["p_value"] < 0.01
    assert rows["blur-5"]["divergences"]["text"]["value"] == pytest.approx(0.0, abs=1e-6)
    assert rows["german"]["divergences"]["text"]["p_value"] < 0.01
    assert rows["wild-easy"]["n"] == rows["wild-hard"]["n"] == 30
    assert rows["id"]["emid"] is None
    assert rows["blur-5"]["emid"] == pytest.approx(rows["id"]["emi"] - rows["blur-5"]["emi"], abs=1e-9)
    assert rows["id"]["accuracy"] > rows["blur-5"]["accuracy"]

    # Inputs are shared out once a scenario, responses for each model.
    lines = found[0]["tables"]["Where the drift is"]
    moved = {(line["scenario"], line["modality"], line["model"]) for line in lines}
    assert {("blur-5", "image", None), ("german", "text", None)} <= moved
    assert ("blur-5", "text", None) not in moved and "truth:" not in str(lines)
    for line in lines:
        assert line["excess"] > 0 and (line["model"] == "weak") == (line["modality"] == "response")
    assert "language:de" not in {line["name"] for line in lines}  # of every row: no slice of the scenario

    # Another batch is another arithmetic: equal to rounding.
    out = tmp_path / "out-batch"
    changed = [
        "--set",
        "encoders.image={name: lab, batch: 8}",
        "--set",
        "encoders.text={name: lab, batch: 8}",
    ]
    assert run(monkeypatch, "audit", "-c", lab, *serial, *changed, "-o", out) == 0
    for mine, other in zip(found[0]["scenarios"], numbers(out)["scenarios"], strict=True):
        assert mine["emi"] == pytest.approx(other["emi"], abs=1e-3)
        assert mine["accuracy"] == other["accuracy"]

    # Both reports again, from the store alone.
    before = (tmp_path / "out-1" / "report.json").read_bytes()
    (tmp_path / "out-1" / "report.json").unlink()
    assert run(monkeypatch, "report", "-o", tmp_path / "out-1") == 0
    assert (tmp_path / "out-1" / "report.json").read_bytes() == before

    # Another critic for each fold of base ids: trained and evaluated anew, on the same embeddings.
    out = tmp_path / "out-1"
    assert run(monkeypatch, "audit", "-c", lab, *serial, "--set", "critic.cross_fit=2", "-o", out) == 0
    folded = numbers(out)
    assert "cross-fitted over 2 folds" in folded["run"]["critic"]
    assert len(list((out / "run").rglob("critic-*-without-[01].safetensors"))) == 4
    other = {row["scenario"]: row["emi"] for row in folded["scenarios"]}
    assert all(other[name] != row["emi"] for name, row in rows.items())


def test_a_killed_run_goes_on_to_the_same_numbers(
    cluster: None, lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., int]
) -> None:
    """Ctrl-C, then kill -9 of the driver of a cluster, in the middle; without one it then ends as an
    undisturbed run."""
    serial = ("--set", "workers={executor: serial}")
    assert run(monkeypatch, "audit", "-c", lab, *serial, "-o", tmp_path / "whole") == 0
    out = tmp_path / "cut"
    command = [sys.executable, "-m", "jobs.audit", "-c", str(lab), "-o", str(out)]
    command += ["--set", "workers={executor: ray, cpu: 2}"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    environment.pop("RAY_ADDRESS", None)
    for wanted, how in ((1, signal.SIGINT), (3, signal.SIGKILL)):
        driver = subprocess.Popen(
            command,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            # A shell's background job ignores Ctrl-C, and its children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        deadline = time.monotonic() + 240
        while len(list(out.glob("run/responses/*/*.parquet"))) < wanted and time.monotonic() < deadline:
            assert driver.poll() is None, driver.communicate()[1]
            time.sleep(0.05)
        driver.send_signal(how)
        _, said = driver.communicate(timeout=120)
        assert driver.returncode == (3 if how == signal.SIGINT else -signal.SIGKILL)
        assert "Traceback" not in said
    assert not (out / "report.json").exists()
    assert run(monkeypatch, "audit", "-c", lab, *serial, "-o", out) == 0
    assert numbers(out) == numbers(tmp_path / "whole")


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """Good rows with every kind of bad one among them, under a media root."""
    media = tmp_path / "media"
    media.mkdir()
    rng = np.random.default_rng(0)
    for i in range(12):
        Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(media / f"{i}.png")
    (media / "corrupt.png").write_bytes((media / "0.png").read_bytes()[:80])
    Image.new("1", (20_000, 20_000)).save(media / "huge.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "outside.png")
    good = [
        {
            "record_id": f"r{i}",
            "image": f"{i}.png",
            "query": f"what is in picture {i}?",
            "responses": {"m": f"noise number {i}"},
            "reference": f"noise {i}",
        }
        for i in range(12)
    ]
    bad: list[dict[str, Any]] = [
        {**good[0], "record_id": "none", "image": "nowhere.png"},
        {**good[0], "record_id": "broken", "image": "corrupt.png"},
        {**good[0], "record_id": "huge", "image": "huge.png"},
        {**good[0], "record_id": "out", "image": "../outside.png"},
        {"record_id": "empty", "query": "  "},
        {**good[0]},
    ]
    lines = [json.dumps(row).encode() for row in (*good, *bad)] + [b'{"record_id": "\xff"}', b"[1, 2]"]
    (tmp_path / "id.jsonl").write_bytes(b"\n".join(lines))
    (tmp_path / "q.jsonl").write_text("\n".join(json.dumps({**r, "query": r["query"].upper()}) for r in good))
    return tmp_path


def test_bad_rows_are_set_aside_and_counted(
    cluster: None, records: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., int]
) -> None:
    config = records / "audit.yaml"
    config.write_text(
        "data: {id: id.jsonl, scenarios: {q: q.jsonl}, media_root: media}\n"
        "encoders: {image: lab, text: lab}\nmodels: [m]\n"
        "critic: {hidden: 8, steps: 5, seeds: 1}\nthresholds: {emid: 0.5}\n"
    )
    out = records / "out"
    assert run(monkeypatch, "audit", "-c", config, "-o", out) == 4  # 12 rows: undecided
    report = json.loads((out / "report.json").read_text())
    assert report["quarantine"] == {
        "unreadable_line": 1,
        "not_an_object": 1,
        "duplicate_id": 1,
        "missing_input": 1,
        "image_missing": 1,
        "image_outside_root": 1,
        "image_truncated": 1,
        "image_too_large": 1,
    }
    assert {row["scenario"]: row["n"] for row in report["scenarios"]} == {"id": 12, "q": 12}
    assert report["verdict"]["status"] == "undecided"


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("data: {id: nowhere.jsonl, scenarios: {}}\nmodels: [m]", "no such file"),
        (
            "data: {id: id.jsonl, scenarios: {q: q.jsonl}, media_root: media}\nmodels: [other]",
            "no recorded responses of other",
        ),
        ("data: {id: bad.jsonl, scenarios: {q: q.jsonl}}\nmodels: [m]", "nothing to audit"),
        (
            "data: {id: id.jsonl, scenarios: {q: {shifts: [{shift: fog}]}}}\nmodels: [m]",
            "unknown shift 'fog'",
        ),
        ("data: {id: id.jsonl, scenarios: {q: {language: de}}}\nmodels: [m]", "only the lab has it"),
        ("data: {id: id.jsonl, scenarios: {}, media_root: missing}\nmodels: [m]", "media_root"),
        ("data: {id: id.jsonl, sceanrios: {}}\nmodels: [m]", "did you mean scenarios?"),
    ],
)
def test_what_cannot_be_audited_is_one_line_and_code_2(
    records: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    config: str,
    said: str,
    run: Callable[..., int],
) -> None:
    (records / "bad.jsonl").write_text("[]\n[]\n")
    (records / "audit.yaml").write_text(config + "\nencoders: {image: lab, text: lab}\n")
    assert run(monkeypatch, "audit", "-c", records / "audit.yaml", "-o", records / "out") == 2
    told = capsys.readouterr().err
    assert said in told
    assert "Traceback" not in told
    assert len([line for line in told.splitlines() if line.startswith("error:")]) == 1


def test_usage_errors_are_code_2(monkeypatch: pytest.MonkeyPatch, run: Callable[..., int]) -> None:
    assert run(monkeypatch, "audit") == 2
    assert run(monkeypatch, "audit", "--nonsense") == 2
    assert run(monkeypatch, "report", "--out", "/nowhere") == 2


@pytest.mark.parametrize("name", ["lab.yaml", "llavabench.yaml"])
def test_the_examples_are_valid(name: str) -> None:
    config = load_config(AuditConfig, Path(__file__).parents[2] / "examples" / name)
    assert config.models
