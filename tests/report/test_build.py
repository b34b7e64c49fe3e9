"""From what was measured to the report of an audit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from auditor.estimators import CLUB
from auditor.estimators.crossfit import CrossFitted
from auditor.measures.answers import answer_codebook
from auditor.measures.assessment import Current, Reference, Settings, assess, assess_reference
from auditor.measures.bounds import FORMS
from auditor.measures.divergences import Divergences
from auditor.measures.judgement import of_scenarios
from auditor.measures.relevance import relevance
from auditor.profiles.profile import GroupKey, Profile
from auditor.profiles.row_sums import sketch_rows
from auditor.records import Quarantine, RecordWriter
from auditor.report.build import Audited, audit_report
from auditor.report.provenance import Made
from auditor.scenarios import Scenario
from auditor.storage.embedding_store import normalise
from schemas.config import AuditConfig, BoundsConfig
from schemas.record import Quarantined, Reason, Record
from schemas.report import WHERE, Divergence
from tests.measures.test_assessment import D, rows

N = 120
FACTS = {"n": N, "answered": N, "query_chars": N, "response_chars": N, "with_image": 0}
NOISE = {"id": 0.2, "far": 1.5}
MADE = Made("hash", "content", {"text": "{}"}, {"m": "recorded responses"}, "CLUB")


def profiled(seed: int, noise: float, critic: CLUB) -> Profile:
    sums = sketch_rows(rows(seed, noise=noise, n=N), np.ones((N, 4), np.float32), [critic], 500)
    return replace(sums, facts=FACTS, scores=np.linspace(0, 1, 5))


def config(**given: Any) -> AuditConfig:
    data = {"id": "id.jsonl", "scenarios": {"far": "far.jsonl", "none": "none.jsonl"}}
    encoders = {"image": None, "text": "lab"}
    return AuditConfig.model_validate({"data": data, "encoders": encoders, "models": ["m"], **given})


def judged(of: Audited, **given: Any) -> Audited:
    settings = config(**given)
    return replace(of, config=settings, judgement=of_scenarios(settings.thresholds, settings.seed))


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Audited:
    """Answers to `far` are worse than to `id`; no row of `none` is usable."""
    root = tmp_path_factory.mktemp("audited")
    scenarios = []
    for name in ("id", "far", "none"):
        with RecordWriter(root / f"{name}.parquet") as writer:
            writer.write(Record(name, name, query=f"what is {name}?"))
        family, notes = ("id", ()) if name == "id" else ("natural", (f"note on {name}", "the same note"))
        scenarios.append(Scenario(name, family, root / f"{name}.parquet", 1, 2, notes=notes))
    rng = np.random.default_rng(9)
    x = normalise(rng.normal(size=(400, D))).rows
    critic = CLUB(hidden=16, steps=60, batch=64).fit(x, normalise(x + 0.2 * rng.normal(size=x.shape)).rows)
    profiles = {
        GroupKey(name, "m"): profiled(i, noise, critic) for i, (name, noise) in enumerate(NOISE.items())
    }
    profiles[GroupKey("none", "m")] = Profile.empty()
    p, q = profiles[GroupKey("id", "m")], profiles[GroupKey("far", "m")]
    reference = Reference.of(p, [CrossFitted((critic,))], answer_codebook([p], 8, 0))
    found = Divergences({"text": Divergence(value=0.1, p_adjusted=0.3)})
    settings = Settings(0.9, BoundsConfig(), conditional=True)
    far = assess(reference, Current(q, found, scenario="far"), settings, seed=0, seed_of_inputs=0)
    assessments = {
        GroupKey("id", "m"): assess_reference(reference, settings, seed=0),
        GroupKey("far", "m"): far,
    }
    aside = Quarantine(
        Quarantined("f", i, Reason.IMAGE_MISSING, "", f"{i}", scenario, model)
        for i, (scenario, model) in enumerate([("far", ""), ("far", "m"), ("far", "k"), ("none", "")])
    )
    judgement = of_scenarios(config().thresholds, 0)
    divergences = {GroupKey("far", "m"): found}
    return Audited(config(), scenarios, profiles, divergences, assessments, judgement, aside, [])


def test_a_row_for_every_scenario(audited: Audited) -> None:
    got = audit_report(audited, MADE)
    first, far, none = got.scenarios
    p, q = (audited.profiles[GroupKey(name, "m")] for name in ("id", "far"))
    found = relevance(p, q, seed=0, level=0.9)
    assert found is not None
    assert (far.emid, far.emi, far.intervals.emid) == (found.emid, found.emi, found.emid_interval)
    assert found.emid > 0.1
    assert first.emid is None and first.emi is not None and first.verdict.status == "pass"
    assert first.accuracy == far.accuracy == 0.5 and set(far.bounds) == {*FORMS, "theorem_4_6"}
    assert far.divergences == audited.divergences[GroupKey("far", "m")].found
    assert (first.quarantined, far.quarantined, none.quarantined) == (0, 2, 1)
    assert (none.n, none.verdict.status, none.missing["emi"]) == (0, "undecided", "no usable row")
    assert none.missing["divergences.joint"] == "no usable row" and "divergences.image" not in first.missing
    assert got.quarantine == {"image_missing": 4}
    assert got.missing == {"divergences.image": "encoders.image is null: image terms are left out"}


def test_verdicts_are_of_the_shifted_rows_alone(audited: Audited) -> None:
    at = audit_report(judged(audited, thresholds={"emid": 0.01}), MADE)
    assert [row.verdict.status for row in at.scenarios] == ["pass", "fail", "undecided"]
    assert at.verdict.status == "fail" and "far / m" in at.verdict.because
    assert "1 fail, 1 undecided" in at.verdict.because  # not the in-distribution one's pass


def test_notes_are_said_once(audited: Audited) -> None:
    got = audit_report(audited, MADE)
    assert got.scenarios[1].notes == ["note on far", "the same note"]
    assert got.notes[0].startswith("as in the paper, the critic is trained on the pool")
    assert [n for n in got.notes if "note" in n] == ["note on far", "the same note", "note on none"]
    assert got.notes[-1] == "6 timestamps had no zone and were taken as UTC"
    folded = audit_report(judged(audited, critic={"cross_fit": 3}), MADE)
    assert folded.notes[0].startswith("the critic is cross-fitted")


def test_tables_are_there_where_there_is_something_in_them(audited: Audited) -> None:
    assert list(audit_report(audited, MADE).tables) == ["Conditional divergences"]
    lines = [{"scenario": "far", "name": "a slice"}]
    two = judged(audited, models=["m", "k"])
    of = {GroupKey(s.name, "k"): audited.profiles[GroupKey(s.name, "m")] for s in audited.scenarios}
    empty = {key: Profile.empty() for key in of}
    got = audit_report(replace(two, profiles={**audited.profiles, **empty}, where=lines), MADE)
    assert got.tables[WHERE] == lines and list(got.tables) == [WHERE, "Conditional divergences"]
    assert {line["scenario"] for line in got.tables["Conditional divergences"]} == {"far"}
    assert "comparison" in got.missing and [row.n for row in got.scenarios] == [N, N, 0, 0, 0, 0]
