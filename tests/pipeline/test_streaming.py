"""Jobs that stream their records: the numbers of two passes, and no embedding left behind.

Shards are made in this process, one after the other; that a pool makes the same ones is `test_pool`'s and
`test_drift`'s business.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auditor.errors import BadInput
from auditor.lab.world import lab_items
from auditor.pipeline.audit import audit
from auditor.pipeline.bars import Bars
from auditor.pipeline.baseline import build
from auditor.pipeline.drift import drift
from auditor.pipeline.profile import pool_of, used_encoders
from auditor.profiles.baseline import load
from auditor.records import RecordWriter
from auditor.scenarios import Scenario, sampled
from auditor.scenarios.row_ranges import Survey
from auditor.storage.row_cache import ARROW
from auditor.storage.run_dir import RunDir
from jobs.run.settings import load_config
from schemas.config import AuditConfig, BaselineConfig, CriticConfig, DriftConfig, EncodersConfig
from schemas.record import Record

N = 30
LAB = """
data:
  reader: lab
  n: 30
  scenarios:
    blur-5: {shifts: [{shift: blur, severity: 5}]}
    german: {language: de}
encoders: {image: {name: lab}, text: {name: lab}}
models:
  - {name: weak, generator: transformers, path: "lab:mllm-weak", max_new_tokens: 4, batch: 16}
  - {name: terse, generator: transformers, path: "lab:mllm-weak", max_new_tokens: 1, batch: 16}
critic: {hidden: 16, steps: 20, batch: 64, seeds: 2, sample_rows: 90}
workers: {executor: serial, cpu: 1}
shards: {generate: 32, embed: 32, stream: 12}
"""
CRITIC = {"seeds": 1, "steps": 20, "hidden": 8, "batch": 64, "cross_fit": 0, "sample_rows": 60}
TEXT = {"image": None, "text": {"name": "lab", "layer": 0}}


def report(out: Path) -> dict[str, Any]:
    """All but what says how the work was done, and what the critic's pool is called."""
    found = json.loads((out / "report.json").read_text())
    for name in ("created", "config", "config_hash", "run_id", "critic", "executor", "seconds"):
        found["run"].pop(name)
    return found


def test_an_audit_in_one_pass_has_the_numbers_of_two(tmp_path: Path) -> None:
    """Where every record is in the sample the critics are the same, and with them everything else."""
    (tmp_path / "lab.yaml").write_text(LAB)
    found = {}
    for pool in ("pool", "sample"):
        config = load_config(AuditConfig, tmp_path / "lab.yaml", [f"critic.train_on={pool}"])
        audit(config, tmp_path / pool, Bars())
        found[pool] = report(tmp_path / pool)
    one, two = found["sample"], found["pool"]
    assert one.pop("notes") != two.pop("notes")
    assert one == two
    rows = {(row["scenario"], row["model"]): row for row in one["scenarios"]}
    assert len(rows) == 6 and rows["german", "weak"]["n"] == N and rows["german", "weak"]["emid"] is not None
    assert rows["blur-5", "weak"]["mi_model"] != rows["blur-5", "terse"]["mi_model"]


DRAWN = """
data: {reader: lab, n: 30, scenarios: {blur-5: {shifts: [{shift: blur, severity: 5}]}}}
encoders: {image: {name: lab}, text: {name: lab}}
models:
  - {name: weak, generator: transformers, path: "lab:mllm-weak", max_new_tokens: 4, batch: 16,
     temperature: 1, samples: 4}
critic: {hidden: 16, steps: 20, batch: 64, seeds: 1, sample_rows: 60}
workers: {executor: serial}
bounds: {symbols: 4, entropy_reference: 1.0}
shards: {generate: 32, embed: 32, stream: 12}
"""


def test_entropies_in_one_pass_are_those_of_two(tmp_path: Path) -> None:
    """Where the sample of answers holds all of them; whatever the units are."""
    (tmp_path / "drawn.yaml").write_text(DRAWN)
    found = {}
    for pool, stream in (("pool", 12), ("sample", 12), ("sample", 7)):
        settings = [f"critic.train_on={pool}", f"shards.stream={stream}"]
        result = audit(load_config(AuditConfig, tmp_path / "drawn.yaml", settings), tmp_path / "out", Bars())
        found[pool, stream] = result
    two, one, other = found.values()
    assert not any("sampled answers" in note for result in found.values() for note in result.notes)
    bounds = [result.scenarios[1].bounds for result in (two, one, other)]
    assert bounds[0] == bounds[1]
    for name, bound in bounds[0].items():
        assert bounds[2][name].value == pytest.approx(bound.value, rel=1e-5)  # other units, other rounding
        assert bounds[2][name].entropy == bound.entropy
        assert bounds[2][name].entropy_source == bound.entropy_source
    text, cells = bounds[0]["theorem_4_5"], bounds[0]["sound"]
    said = r"log-probabilities of sampled answers \(95% quantile over (\d+) queries"
    queries = re.search(said, text.entropy_source or "")
    assert queries is not None and 40 < int(queries[1]) <= 60, text.entropy_source
    assert "cells of sampled answers" in (cells.entropy_source or "")


def recorded(tmp_path: Path, n: int) -> Path:
    """Texts of the lab with four recorded answers each, and the same with more varied ones."""
    items = list(lab_items(n, seed=5))
    words = [item.reference for item in items]
    rng = np.random.default_rng(0)
    for name, spread in (("id", 2), ("wide", 40)):
        rows = [
            {
                "record_id": item.record_id,
                "query": item.query,
                "responses": {"m": [words[(i + k) % n] for k in rng.integers(0, spread, 4)]},
                "reference": item.reference,
            }
            for i, item in enumerate(items)
        ]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = tmp_path / "audit.yaml"
    path.write_text(
        f"""
data: {{id: {tmp_path}/id.jsonl, scenarios: {{wide: {tmp_path}/wide.jsonl}}}}
encoders: {{image: null, text: {{name: lab, layer: 0}}}}
models: [m]
critic: {{hidden: 8, steps: 10, batch: 64, seeds: 1, train_on: sample, sample_rows: 60}}
bounds: {{symbols: 8}}
row_sample: 50
"""
    )
    return path


def test_entropies_of_a_sample_of_answers(tmp_path: Path) -> None:
    """Of 50 records a side, the same ones from any units, and the report says so."""
    found = []
    for stream in (16, 64):
        config = load_config(AuditConfig, recorded(tmp_path, 130), [f"shards.stream={stream}"])
        found.append(audit(config, tmp_path / str(stream), Bars()))
    one, other = found
    assert any("of 100 of the 260 records that have any" in note for note in one.notes)
    bound = one.scenarios[1].bounds["measured"]
    assert bound.entropy_source is not None and "shift: cells of sampled answers" in bound.entropy_source
    assert {name: b.entropy_source for name, b in one.scenarios[1].bounds.items()} == {
        name: b.entropy_source for name, b in other.scenarios[1].bounds.items()
    }
    assert other.scenarios[1].bounds["measured"].value == pytest.approx(bound.value, rel=1e-5)


def test_a_smaller_sample_leaves_only_its_own_embeddings(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(LAB)
    settings = ["critic.train_on=sample", "critic.sample_rows=30"]
    result = audit(load_config(AuditConfig, tmp_path / "lab.yaml", settings), tmp_path / "out", Bars())
    assert all(row.n == N for row in result.scenarios) and "of 30 sampled records" in result.run.critic
    assert "the critic is trained on a sample" in result.notes[0]
    embedded = sum(
        len(np.unique([row["key"] for row in _embedded(folder)]))
        for folder in (tmp_path / "out" / "run" / "embeddings").iterdir()
    )
    assert 30 < embedded < 30 * 4  # of 90 images, as many questions, references and two models' answers


def _embedded(folder: Path) -> list[dict[str, Any]]:
    return [row for file in ARROW.files(folder) for row in ARROW.read(file).to_pylist()]


def test_a_partition_cannot_stream(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(LAB)
    settings = ["critic.train_on=sample", "data.scenarios={wild: {pool: natural, partition: true}}"]
    with pytest.raises(BadInput, match=r"wild\.partition needs every image .* critic\.train_on: pool"):
        audit(load_config(AuditConfig, tmp_path / "lab.yaml", settings), tmp_path / "out", Bars())


# Baselines and drift.


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts of the lab: 60 of the baseline, and 60 of three days of traffic, not in their order."""
    root = tmp_path_factory.mktemp("world")
    rows = [
        {
            "record_id": item.record_id,
            "query": item.query,
            "responses": {"m": item.reference if i % 3 else "I cannot tell."},
            "reference": item.reference,
            "timestamp": f"2026-03-0{1 + i % 3}T12:00:00",
        }
        for i, item in enumerate(lab_items(120, seed=5))
    ]
    for name, some in (("id", rows[:60]), ("traffic", rows[60:])):
        (root / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))
    return root


def baseline(root: Path, out: Path, **critic: Any) -> Any:
    config = {
        "data": {"id": str(root / "id.jsonl")},
        "encoders": TEXT,
        "critic": CRITIC | critic,
        "shards": {"stream": 16},
    }
    return build(BaselineConfig.model_validate(config), out, Bars())


def traffic(root: Path, out: Path, of: Path, **given: Any) -> Any:
    data = {"traffic": str(root / "traffic.jsonl")}
    config = {"baseline": str(of), "data": data, "window": "1d", **given}
    return drift(DriftConfig.model_validate(config), out, Bars())


def test_a_baseline_in_one_pass_has_the_sums_of_two(world: Path, tmp_path: Path) -> None:
    two = baseline(world, tmp_path / "two")
    one = baseline(world, tmp_path / "one", train_on="sample")
    assert one.manifest.pairs == two.manifest.pairs and one.manifest.descriptors == two.manifest.descriptors
    kept = one.profile.to_arrays()
    assert kept.keys() == two.profile.to_arrays().keys() and two.profile.sample.complete
    for name, array in two.profile.to_arrays().items():
        assert np.array_equal(array, kept[name]), name
    part = baseline(world, tmp_path / "part", train_on="sample", sample_rows=25)
    assert part.manifest.n == 60 and 25 <= part.manifest.pairs <= 50 < one.manifest.pairs
    assert load(tmp_path / "part").manifest.rows == one.manifest.rows


def test_drift_keeps_embeddings_only_where_told_to_and_resumes(world: Path, tmp_path: Path) -> None:
    of = tmp_path / "baseline"
    baseline(world, of)
    found = traffic(world, tmp_path / "out", of, report={"examples": 2})
    assert [row.n for row in found.windows] == [20, 20, 20] and found.windows[0].emi is not None
    run = tmp_path / "out" / "run"
    assert not (run / "embeddings").exists()
    (sums,) = (run / "profiles").iterdir()
    made = {path: path.stat().st_mtime_ns for path in sums.glob("*.npz")}
    assert len(made) == 6  # of three windows: the units of 16 that were folded, and the last one of 4
    assert traffic(world, tmp_path / "out", of, report={"examples": 2}).windows == found.windows
    assert {path: path.stat().st_mtime_ns for path in sums.glob("*.npz")} == made

    kept = traffic(world, tmp_path / "out", of, embeddings="keep")
    assert kept.windows == found.windows
    texts = {row["key"] for folder in (run / "embeddings").iterdir() for row in _embedded(folder)}
    assert len(texts) > 20


def test_a_day_more_leaves_the_days_before_as_they_are(world: Path, tmp_path: Path) -> None:
    of = tmp_path / "baseline"
    baseline(world, of)
    rows = (world / "traffic.jsonl").read_text().splitlines()
    (tmp_path / "traffic.jsonl").write_text("\n".join(row for row in rows if "03T12" not in row) + "\n")
    # Where the baseline is not graded either, `auto` goes by the references of all days.
    before = traffic(tmp_path, tmp_path / "out", of, grader="normalised")
    (sums,) = (tmp_path / "out" / "run" / "profiles").iterdir()
    made = {path: path.stat().st_mtime_ns for path in sums.glob("*.npz")}
    (tmp_path / "traffic.jsonl").write_text("\n".join(rows) + "\n")  # of all days, mixed
    after = traffic(tmp_path, tmp_path / "out", of, grader="normalised")
    assert len(before.windows) == 2 and after.windows[:2] == before.windows
    assert {path: path.stat().st_mtime_ns for path in made} == made


# Samples.


def scenario(tmp_path: Path, n: int, name: str = "s") -> Scenario:
    run = RunDir(tmp_path)
    run.open()
    path = run.records(name)
    with RecordWriter(path) as writer:
        for i in range(n):
            writer.write(Record(f"r{i}", f"r{i}", query=f"what is {i}?"))
    return Scenario(name, "id", path, n)


def ids(of: Scenario) -> list[str]:
    return [record.record_id for batch in of.batches() for record in batch]


def test_a_sample_is_seeded_and_keeps_the_order(tmp_path: Path) -> None:
    run, whole = RunDir(tmp_path), scenario(tmp_path, 3000)
    one = ids(sampled(whole, run, 100, 1))
    assert len(one) == 100 and one == sorted(one, key=lambda i: int(i[1:]))
    assert ids(sampled(whole, run, 100, 1)) == one != ids(sampled(whole, run, 100, 2))
    assert set(one) < set(ids(sampled(whole, run, 200, 1)))  # a larger sample has the smaller one
    assert ids(sampled(whole, run, 5000, 1)) == ids(whole)
    shares = np.array([int(i[1:]) for i in ids(sampled(whole, run, 1000, 3))])
    assert abs(shares.mean() - 1500) < 100  # from all over the file


def test_a_pool_takes_of_each_scenario_by_its_size(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    of = [scenario(tmp_path, n, name) for n, name in ((300, "a"), (100, "b"), (1, "c"), (0, "d"))]
    pool = pool_of(run, of, CriticConfig(sample_rows=40), 0)
    assert [s.n for s in pool] == [30, 10, 1, 0] and [s.name for s in pool] == ["a", "b", "c", "d"]


def test_a_modality_that_the_sample_lacks_is_refused() -> None:
    found = Survey((), (), images=True, texts=True)
    with pytest.raises(BadInput, match=r"critic\.sample_rows: some records have images"):
        used_encoders(None, EncodersConfig.model_validate({"image": "lab", "text": "lab"}), [found], None)  # type: ignore[arg-type]
