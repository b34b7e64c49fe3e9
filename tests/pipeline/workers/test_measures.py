"""Measures as units of work: what a worker writes is what a call gives, to the bit."""

import json
from dataclasses import replace

import numpy as np
import pytest

from auditor.attribution.slices import leading, side, slices, table
from auditor.estimators import CLUB
from auditor.estimators.crossfit import CrossFitted
from auditor.measures.answers import answer_codebook
from auditor.measures.assessment import (
    Current,
    Reference,
    Settings,
    assess,
    assess_reference,
    nothing,
    read_assessment,
)
from auditor.measures.divergences import Measured, divergence, read_measured
from auditor.measures.families import MODALITIES, by_modality
from auditor.pipeline.workers import measures
from auditor.pipeline.workers.measures import (
    AssessmentItem,
    AssessmentSettings,
    AssessmentWorker,
    DivergenceItem,
    DivergenceSettings,
    DivergenceWorker,
    SlicesItem,
    SlicesSettings,
    SlicesWorker,
)
from auditor.profiles.profile import Profile, write_profile
from auditor.profiles.row_sums import sketch_rows
from auditor.profiles.rows import Rows, joined
from auditor.records import RecordWriter
from auditor.scenarios import Scenario
from auditor.storage.npz import write_arrays
from auditor.storage.work_units import Shard
from schemas.config import BoundsConfig
from schemas.record import Quarantined, Reason, Record

N, D = 300, 5
FACTS = {"n": N, "answered": N, "query_chars": 3 * N, "response_chars": 2 * N, "with_image": N}


def sums(seed, shift=0.0, n=N, images=True, critics=()):
    rng = np.random.default_rng(seed)
    vectors = {name: rng.normal(size=(n, D)) + shift for name in ("image", "text", "response", "reference")}
    vectors = {k: (z / np.linalg.norm(z, axis=1)[:, None]).astype(np.float32) for k, z in vectors.items()}
    has = {name: np.ones(n, bool) for name in vectors}
    if not images:
        vectors["image"] = np.zeros((n, D), np.float32)
        has["image"] = np.zeros(n, bool)
    ids = tuple(f"{seed}-{i}" for i in range(n))
    x = joined(vectors["image"], vectors["text"], has["image"], has["text"])
    of = (vectors[name] for name in ("response", "reference"))
    rows = Rows(ids, ids, ids, vectors["image"], vectors["text"], x, *of, has)
    return sketch_rows(rows, np.ones((n, 4), np.float32), critics, 1000)


@pytest.fixture(scope="module")
def critic():
    x, y = np.random.default_rng(5).normal(size=(2, 60, D))
    return CLUB(hidden=4, steps=5, batch=16).fit(x, y)


@pytest.fixture
def files(tmp_path, critic):
    """P as a baseline's file; Q in two files, as units of work leave them."""
    p = replace(sums(0, critics=[critic]), facts=FACTS)
    q = (sums(1, 0.3, critics=[critic]), sums(2, 0.3, n=100, critics=[critic]))
    write_profile(tmp_path / "p.npz", p)
    for i, part in enumerate(q):
        write_profile(tmp_path / f"q{i}.npz", replace(part, facts=FACTS))
    return (
        p,
        replace(q[0].merge(q[1]), facts={name: 2 * n for name, n in FACTS.items()}),
        (tmp_path / "p.npz",),
        (tmp_path / "q0.npz", tmp_path / "q1.npz"),
    )


@pytest.fixture
def read(monkeypatch):
    """The files that workers read, in their order."""
    found, folded = [], measures.folded

    def watched(paths):
        found.append(tuple(path.name for path in paths))
        return folded(paths)

    monkeypatch.setattr(measures, "folded", watched)
    return found


# Divergences.


def measured(tmp_path, p, q, modality):
    worker = DivergenceWorker(DivergenceSettings(tmp_path, 0.9, 1))
    worker.run(Shard("it", (DivergenceItem("it", p, q, modality, 7),)))
    return read_measured(tmp_path / "it.json")


@pytest.mark.parametrize("modality", MODALITIES)
def test_a_divergence_is_that_of_the_call(tmp_path, files, modality):
    p, q, of_p, of_q = files
    truth = divergence(p, q, modality, seed=7, level=0.9)
    assert truth.divergence.p_value is not None and truth.left is not None
    assert measured(tmp_path, of_p, of_q, modality) == truth


def test_one_worker_keeps_its_sides_apart(tmp_path, files, read):
    _, _, of_p, of_q = files
    worker = DivergenceWorker(DivergenceSettings(tmp_path, 0.9, 1))
    for name, side_q in (("a", of_q), ("b", of_p), ("c", of_q)):
        worker.run(Shard(name, (DivergenceItem(name, of_p, side_q, "text", 1),)))
    a, b, c = (read_measured(tmp_path / f"{name}.json") for name in "abc")
    assert a == c != b and b.divergence.value == pytest.approx(0.0, abs=1e-12)
    assert read == [("p.npz",), ("q0.npz", "q1.npz"), ("p.npz",), ("q0.npz", "q1.npz")]  # of P once


def test_what_cannot_be_measured_says_why(tmp_path, files):
    _, _, of_p, _ = files
    write_profile(tmp_path / "none.npz", Profile(facts={"n": 3}))
    write_profile(tmp_path / "bare.npz", sums(3, images=False))
    assert measured(tmp_path, of_p, (tmp_path / "none.npz",), "text") == Measured(None, "no usable row")
    found = measured(tmp_path, of_p, (tmp_path / "bare.npz", tmp_path / "none.npz"), "image")
    assert found == Measured(None, "no row has an image")


# Assessments.


@pytest.fixture
def world(tmp_path, files, critic):
    """A worker's settings, what calls need of P, the divergences by modality and their files."""
    p, q, of_p, of_q = files
    critic.save(tmp_path / "c.safetensors")
    codebook = answer_codebook([p], 8, 0)
    write_arrays(tmp_path / "codebook.npz", {"codebook": codebook})
    settings = Settings(0.9, BoundsConfig(), conditional=True)
    of = AssessmentSettings(
        tmp_path, ((tmp_path / "c.safetensors",),), tmp_path / "codebook.npz", settings, 1
    )
    worker = DivergenceWorker(DivergenceSettings(tmp_path, 0.9, 1))
    for modality in MODALITIES:
        worker.run(Shard(modality, (DivergenceItem(modality, of_p, of_q, modality, 7),)))
    places = tuple(tmp_path / f"{modality}.json" for modality in MODALITIES)
    measured = by_modality({m: divergence(p, q, m, seed=7, level=0.9) for m in MODALITIES})
    return of, Reference.of(p, [CrossFitted((critic,))], codebook), measured, places


def item(name, p, q, divergences=(), scenario="far"):
    return Shard(name, (AssessmentItem(name, scenario, p, q, divergences, 3, 4, None),))


def test_an_assessment_is_that_of_the_call(tmp_path, files, world):
    _, q, of_p, of_q = files
    of, reference, measured, places = world
    worker = AssessmentWorker(of)
    result = worker.run(item("far", of_p, of_q, places))
    truth = assess(reference, Current(q, measured, None, "far"), of.settings, seed=3, seed_of_inputs=4)
    assert (result.shard, result.rows, result.errors) == ("far", 1, 0)
    assert read_assessment(tmp_path / "far.json") == truth
    assert truth.measures.emid is not None and len(truth.conditional) == 3
    worker.run(item("itself", of_p, None))
    assert read_assessment(tmp_path / "itself.json") == assess_reference(reference, of.settings, seed=3)


def test_what_is_made_of_the_reference_rows_is_made_once(tmp_path, files, world, read, monkeypatch):
    _, _, of_p, of_q = files
    of, _, _, places = world
    made, make = [], Reference.of.__func__

    def watched(cls, *given):
        made.append(given)
        return make(cls, *given)

    monkeypatch.setattr(measures.Reference, "of", classmethod(watched))
    worker = AssessmentWorker(of)
    worker.run(item("itself", of_p, None))
    for name, side_q in (("a", of_q), ("b", of_q[:1]), ("c", of_q[1:])):
        worker.run(item(name, of_p, side_q, places))
    assert len(made) == 1 and [names[0] for names in read] == ["p.npz", "q0.npz", "q0.npz", "q1.npz"]
    worker.run(item("other", of_q[:1], of_q[1:], places))
    assert len(made) == 2


def test_of_no_usable_row_nothing_is_said(tmp_path, files, world):
    _, _, of_p, _ = files
    aside = (Quarantined("w", 3, Reason.MODEL_FAILED, "no", "r3", "w"),)
    none = Profile(facts={"n": 3}, set_aside=aside)
    write_profile(tmp_path / "none.npz", none)
    AssessmentWorker(world[0]).run(item("none", of_p, (tmp_path / "none.npz",), world[3]))
    found = read_assessment(tmp_path / "none.json")
    assert found == nothing(none, MODALITIES) and found.set_aside == list(aside)


# Slices.


def odd(name, seed, count, n=60):
    """The first `count` texts are of another law."""
    rng = np.random.default_rng(seed)
    text = rng.normal(size=(n, 8)) + 1
    text[:count] = 0.2 * rng.normal(size=(count, 8)) - 5 * np.eye(8)[0]
    text = (text / np.linalg.norm(text, axis=1)[:, None]).astype(np.float32)
    everywhere, ids = np.ones(n, bool), tuple(f"{name}{i}" for i in range(n))
    has = {"image": ~everywhere, "text": everywhere, "response": everywhere, "reference": ~everywhere}
    rows = Rows(ids, ids, ids, np.zeros((n, 0), np.float32), text, text, text, text, has)
    return sketch_rows(rows, np.ones((n, 4), np.float32), [], 500)


def scenario(tmp_path, name, count, n=60):
    with RecordWriter(tmp_path / f"{name}.parquet") as writer:
        for i in range(n):
            tags = (f"half:{i % 2}", *(("topic:odd",) if i < count else ()))
            writer.write(Record(f"{name}{i}", f"{name}{i}", query="q", tags=tags))
    return Scenario(name, "text", tmp_path / f"{name}.parquet", n)


def test_slices_of_what_moved(tmp_path):
    sides, scenarios = {}, {}
    for seed, (name, count) in enumerate({"id": 0, "loud": 12}.items()):
        sides[name], scenarios[name] = odd(name, seed, count), scenario(tmp_path, name, count)
        write_profile(tmp_path / f"{name}.npz", sides[name])
    p, q = (tmp_path / "id.npz",), (tmp_path / "loud.npz",)
    worker = SlicesWorker(SlicesSettings(tmp_path, 1))
    for name, model, modality, tags_p in (
        ("a", None, "text", scenarios["id"]),
        ("b", "k", "response", scenarios["id"]),
        ("c", None, "text", None),  # a baseline keeps no tags
    ):
        one = SlicesItem(name, "loud", model, modality, p, q, tags_p, scenarios["loud"], 0)
        worker.run(Shard(name, (one,)))
    texts, responses, bare = (json.loads((tmp_path / f"{name}.json").read_text()) for name in "abc")
    assert {(line["scenario"], line["model"], line["modality"]) for line in texts} == {("loud", None, "text")}
    assert {(line["model"], line["modality"]) for line in responses} == {("k", "response")}
    tags = [line for line in texts if line["slice"] == "tag"]
    assert tags[0]["name"] == "topic:odd" and tags[0]["rows"] == 12 and tags[0]["share_of_id_rows"] == 0
    assert {line["share_of_id_rows"] for line in bare if line["slice"] == "tag"} == {None}
    of_p, of_q = (
        side(sides[name].sample, "text", scenarios[name].tags(set(sides[name].sample.ids.tolist())))
        for name in ("id", "loud")
    )
    assert texts == table("loud", None, "text", leading(slices(of_p, of_q, seed=0)))
