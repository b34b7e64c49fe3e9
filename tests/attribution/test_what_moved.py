"""Where an audit's drift is: only what moved, inputs once a scenario, responses for each model."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from auditor.attribution.what_moved import what_moved
from auditor.measures.divergences import Divergences
from auditor.profiles.profile import Profile
from auditor.profiles.row_sums import sketch_rows
from auditor.profiles.rows import Rows
from auditor.records import RecordWriter
from auditor.scenarios import Scenario
from auditor.storage.embedding_store import normalise
from schemas.record import Record
from schemas.report import Divergence

N, D = 60, 8


def sums(name: str, seed: int, odd: int) -> Profile:
    """The first `odd` texts are of another law."""
    rng = np.random.default_rng(seed)
    text = rng.normal(size=(N, D)) + 1
    text[:odd] = 0.2 * rng.normal(size=(odd, D)) - 5 * np.eye(D)[0]
    text, everywhere = normalise(text).rows, np.ones(N, dtype=bool)
    ids = tuple(f"{name}{i}" for i in range(N))
    has = {"image": ~everywhere, "text": everywhere, "response": everywhere, "reference": ~everywhere}
    rows = Rows(ids, ids, np.zeros((N, 0), np.float32), text, text, text, text, has)
    return sketch_rows(rows, np.ones((N, 4), np.float32), [], 500)


def scenario(tmp_path: Path, name: str, odd: int) -> Scenario:
    with RecordWriter(tmp_path / f"{name}.parquet") as writer:
        for i in range(N):
            tags = (f"half:{i % 2}", *(("topic:odd",) if i < odd else ()))
            writer.write(Record(f"{name}{i}", f"{name}{i}", query="q", tags=tags))
    return Scenario(name, "text", tmp_path / f"{name}.parquet", N, 0)


def test_only_what_moved_is_cut_into_slices(tmp_path: Path) -> None:
    odd = {"id": 0, "quiet": 0, "loud": 12}
    scenarios = [scenario(tmp_path, name, n) for name, n in odd.items()]
    sets = {
        (name, model): sums(name, seed, n)
        for seed, (name, n) in enumerate(odd.items())
        for model in ("m", "k")
    }
    still, gone = Divergence(p_adjusted=0.4), Divergence(p_adjusted=0.001)
    found = {
        ("quiet", "m"): Divergences({"text": still, "response": Divergence()}),
        ("quiet", "k"): Divergences({"text": still}),
        ("loud", "m"): Divergences({"text": gone, "response": still, "joint": gone}),
        ("loud", "k"): Divergences({"text": gone, "response": gone}),
    }
    (only,) = what_moved(scenarios, sets, found, 0.05)
    assert only.scenario.name == "loud" and list(only.samples) == [(None, "text"), ("k", "response")]
    lines = only.lines(seed=0)
    assert {(line["model"], line["modality"]) for line in lines} == {(None, "text"), ("k", "response")}
    tags = [line for line in lines if line["slice"] == "tag"]
    assert tags[0]["name"] == "topic:odd" and tags[0]["rows"] == 12 and tags[0]["share_of_id_rows"] == 0
    assert what_moved(scenarios, sets, found, 0.0001) == []
