"""From what was measured to reports of audits and of traffic, without a cluster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auditor.estimators import CLUB
from auditor.estimators.crossfit import CrossFitted
from auditor.measures.answers import answer_codebook
from auditor.measures.assessment import (
    Assessment,
    Current,
    Reference,
    Settings,
    assess,
    assess_reference,
    nothing,
)
from auditor.measures.bounds import FORMS
from auditor.measures.census import Standard
from auditor.measures.divergences import Divergences
from auditor.measures.families import MODALITIES
from auditor.measures.judgement import of_scenarios, of_windows
from auditor.measures.relevance import relevance
from auditor.measures.verdict import LossRule
from auditor.profiles.answer_sample import AnswerSample, RecordAnswers
from auditor.profiles.baseline import Baseline, Manifest, coverage
from auditor.profiles.profile import GroupKey, Profile
from auditor.profiles.row_sums import sketch_rows
from auditor.records import FileRows, Quarantine, RecordWriter
from auditor.report.build import Audited, Drifted, audit_report, drift_report
from auditor.report.provenance import Provenance
from auditor.scenarios import Grouping, Scenario
from auditor.scenarios.reading import Reading
from auditor.scenarios.row_ranges import Part, survey
from auditor.scenarios.windows import Clock, by_time
from auditor.storage.embedding_store import Embeddings, normalise
from schemas.config import AuditConfig, BaselineConfig, BoundsConfig, DriftConfig
from schemas.record import Quarantined, Reason, Record
from schemas.report import WHERE, Distance, Divergence, Variation
from tests.measures.test_assessment import D, rows

N = 120
FACTS = {"n": N, "answered": N, "query_chars": N, "response_chars": N, "with_image": 0}
FILE = FileRows("f.jsonl", 4, {"bad_timestamp": 1}, bytes=9, sha256="ab")
READ = Reading("read", (("timestamp", "taken as UTC", 4),), (FILE,))
READ_FILE = {
    **{"scenario": "read", "file": "f.jsonl", "rows": 4, "used": 3, "left_out": {"bad_timestamp": 1}},
    **{"bytes": 9, "sha256": "ab", "changed": "", "broken": False, "format": ""},
}
READ_NOTE = "`timestamp` was taken as UTC: 4 in read"
NOISE = {"id": 0.2, "far": 1.5}
MADE = Provenance("hash", "content", {"text": "{}"}, {"m": "recorded responses"}, "CLUB")


def sums(seed: int, noise: float, critic: CLUB) -> Profile:
    found = sketch_rows(rows(seed, noise=noise, n=N), np.ones((N, 4), np.float32), [critic], 500)
    marks = np.arange(5, dtype=np.uint64)
    return replace(found, facts=FACTS, scores=np.linspace(0, 1, 5), score_groups=marks)


def trained() -> CLUB:
    rng = np.random.default_rng(9)
    x = normalise(rng.normal(size=(400, D))).rows
    return CLUB(hidden=16, steps=60, batch=64).fit(x, normalise(x + 0.2 * rng.normal(size=x.shape)).rows)


def config(**given: Any) -> AuditConfig:
    data = {"id": "id.jsonl", "scenarios": {"far": "far.jsonl", "none": "none.jsonl"}}
    encoders = {"image": None, "text": "lab"}
    return AuditConfig.model_validate({"data": data, "encoders": encoders, "models": ["m"], **given})


def assessed(
    p: Profile, q: Profile, critic: CLUB, divergences: Divergences, conditional: bool = False
) -> dict[str, Assessment]:
    """Of the reference rows, and of others held against them."""
    settings = Settings(0.9, BoundsConfig(), conditional)
    reference = Reference.of(p, [CrossFitted((critic,))], answer_codebook([p], 8, 0))
    current = Current(q, divergences, scenario="far")
    return {
        "id": assess_reference(reference, settings, seed=0),
        "far": assess(reference, current, settings, seed=0, seed_of_inputs=0),
    }


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Audited:
    """Answers to `far` are worse than to `id`; no row of `none` is usable."""
    root = tmp_path_factory.mktemp("audited")
    scenarios = []
    for name in ("id", "far", "none"):
        with RecordWriter(root / f"{name}.parquet") as writer:
            writer.write(Record(name, name, query=f"what is {name}?"))
        family, notes = ("id", ()) if name == "id" else ("natural", (f"note on {name}", "the same note"))
        scenarios.append(Scenario(name, family, root / f"{name}.parquet", 1, notes=notes, reading=READ))
    critic = trained()
    profiles = {GroupKey(name, "m"): sums(i, noise, critic) for i, (name, noise) in enumerate(NOISE.items())}
    p, q = profiles.values()
    profiles[GroupKey("none", "m")] = Profile(facts=FACTS)
    found = Divergences({"text": Divergence(value=0.1, p_adjusted=0.3)}, {"divergences.image": "no image"})
    aside = Quarantine(
        Quarantined("f", i, Reason.IMAGE_MISSING, "", f"{i}", scenario, model)
        for i, (scenario, model) in enumerate([("far", ""), ("far", "m"), ("far", "k"), ("none", "")])
    )
    return Audited(
        config(),
        scenarios,
        profiles,
        {GroupKey("far", "m"): found},
        {GroupKey(name, "m"): each for name, each in assessed(p, q, critic, found).items()},
        of_scenarios(config().thresholds, 0),
        aside,
        [],
        Grouping("base ids", ("a note on groups",)),
    )


def test_a_row_for_every_scenario(audited: Audited) -> None:
    got = audit_report(audited, MADE)
    first, far, none = got.scenarios
    p, q = (audited.profiles[GroupKey(name, "m")] for name in ("id", "far"))
    found = relevance(p, q, seed=0, level=0.9)
    assert found is not None
    assert (far.emid, far.emi, far.intervals.emid) == (found.emid, found.emi, found.emid_interval)
    assert found.emid > 0.1
    assert first.emid is None and first.emi is not None and first.verdict.status == "pass"
    assert first.accuracy == far.accuracy == 0.5 and set(far.bounds) == set(FORMS)
    assert far.divergences == audited.divergences[GroupKey("far", "m")].found
    assert far.missing["divergences.image"] == "no image"
    assert (first.quarantined, far.quarantined, none.quarantined) == (0, 2, 1)
    assert (none.n, none.verdict.status) == (0, "fail")
    assert none.verdict.because.startswith("In none nothing was usable: 1 row came (image_missing 1)")
    assert far.census is not None and (far.census.rows_in, far.census.used) == (N + 1, N)
    assert far.census.left_out == far.census.lost_answers == {"image_missing": 1}
    lacking = {"emi", "emid", "mi_model", "label_free", *(f"divergences.{m}" for m in MODALITIES)}
    assert none.missing == dict.fromkeys(lacking, "no usable row")
    assert got.quarantine == {"image_missing": 4}
    assert got.missing == {"divergences.image": "encoders.image is null: image terms are left out"}


def test_verdicts_are_of_the_shifted_rows_alone(audited: Audited) -> None:
    strict = config(thresholds={"emid": 0.01})
    at = audit_report(replace(audited, config=strict, judgement=of_scenarios(strict.thresholds, 0)), MADE)
    assert [row.verdict.status for row in at.scenarios] == ["pass", "fail", "fail"]
    assert at.verdict.status == "fail" and "far / m" in at.verdict.because
    assert at.verdict.because.startswith("2 fail")  # not the in-distribution one's pass


def test_notes_are_said_once(audited: Audited) -> None:
    got = audit_report(audited, MADE)
    assert got.scenarios[1].notes == ["note on far", "the same note"]
    assert got.notes[0].startswith("as in the paper, the critic is trained on the pool")
    assert [n for n in got.notes if "note" in n] == [
        "note on far",
        "the same note",
        "note on none",
        "a note on groups",
    ]
    assert got.run.groups == "base ids" and got.notes[-2] == READ_NOTE
    folded = audit_report(replace(audited, config=config(critic={"cross_fit": 3})), MADE)
    assert folded.notes[0].startswith("the critic is cross-fitted")


def test_tables_are_there_where_there_is_something_in_them(audited: Audited) -> None:
    assert audit_report(audited, MADE).tables == {"sources": [READ_FILE]}
    lines = [{"scenario": "far", "name": "a slice"}]
    two = config(models=["m", "k"], bounds={"conditional": True})
    p, q = (audited.profiles[GroupKey(name, "m")] for name in ("id", "far"))
    each = assessed(p, q, trained(), audited.divergences[GroupKey("far", "m")], conditional=True)
    of = replace(
        audited,
        config=two,
        slices=lines,
        profiles=audited.profiles | {GroupKey(s.name, "k"): Profile(facts=FACTS) for s in audited.scenarios},
        assessments={GroupKey(name, "m"): found for name, found in each.items()},
    )
    got = audit_report(of, MADE)
    assert got.tables[WHERE] == lines and list(got.tables) == [WHERE, "Conditional divergences", "sources"]
    assert {line["scenario"] for line in got.tables["Conditional divergences"]} == {"far"}
    assert "comparison" in got.missing and [row.n for row in got.scenarios] == [N, N, 0, 0, 0, 0]


def test_a_sample_of_answers_is_noted(audited: Audited) -> None:
    """Where there are more than are kept."""

    def sampled(seen: int) -> Audited:
        texts = Embeddings([], np.zeros((0, D), np.float32), [])
        records = [RecordAnswers(i, f"r{i}", f"r{i}", (-1.0,), ()) for i in range(20)]
        kept = AnswerSample.from_records(records, seen, texts, 20)
        return replace(
            audited, profiles={key: replace(each, answers=kept) for key, each in audited.profiles.items()}
        )

    def notes(of: Audited) -> list[str]:
        return [note for note in audit_report(of, MADE).notes if "sampled answers" in note]

    assert notes(audited) == notes(sampled(20)) == []
    assert notes(sampled(1_000)) == [
        "entropies of sampled answers are of 60 of the 3,000 records that have any: at most 2,000 "
        "(row_sample) a scenario and model are kept"
    ]


# Traffic.

DAY = datetime(2026, 3, 1, tzinfo=UTC)


def traffic(root: Path) -> tuple[Scenario, list[Part]]:
    """Three records a day on the first, the second and the fifth of March."""
    with RecordWriter(root / "traffic.parquet") as writer:
        for day in (0, 1, 4):
            for i in range(3):
                at = DAY + timedelta(days=day, hours=i)
                writer.write(Record(f"{day}-{i}", f"{day}-{i}", query="what?", timestamp=at))
    Quarantine().write(root / "traffic.quarantine.parquet")
    (root / "windows").mkdir()
    found = survey(root / "traffic.parquet", by_time(Clock(timedelta(days=1))), root / "windows", 10)
    return Scenario("traffic", "window", root / "traffic.parquet", 9, reading=READ), list(found.parts)


@pytest.fixture
def drifted(tmp_path: Path) -> Callable[..., Drifted]:
    """The first day is as the baseline, the second one's texts moved, of the fifth no row is usable."""
    critic = trained()
    p, q = (sums(i, noise, critic) for i, noise in enumerate(NOISE.values()))
    scenario, parts = traffic(tmp_path)
    quiet, moved = (
        Divergences({"text": Divergence(value=0.1, p_value=p, p_adjusted=p, excess=0.01, paired=p == 0.3)})
        for p in (0.3, 0.001)
    )
    aside = Quarantined("w", 3, Reason.MODEL_FAILED, "no", "r3", parts[1].window.name)
    far = assessed(p, q, critic, moved)["far"]
    near = assessed(p, sums(7, 0.2, critic), critic, quiet)["far"]
    of = [
        near,
        far.model_copy(update={"set_aside": [aside]}),
        nothing(Profile(facts=FACTS), MODALITIES),
    ]
    keys = [GroupKey(part.window.name, "m") for part in parts]
    encoders = {"image": None, "text": "minilm"}
    built = BaselineConfig(data={"id": "id.jsonl"}, encoders=encoders, critic={"cross_fit": 0})
    manifest = Manifest(
        created="2026-03-01T00:00:00+00:00",
        versions={},
        config=built,
        config_hash="c",
        rows="r",
        encoders={"text": "t"},
        model="m",
        n=N,
        coverage=coverage(p),
        descriptors={"query_chars": 3.5},
        quarantine={},
        chars_per_token=4.0,
        groups="base ids",
        pairs=90,
        critics=("c",),
    )

    def make(**given: Any) -> Drifted:
        model, variations = given.pop("model", "m"), given.pop("variations", {})
        asked = DriftConfig.model_validate(
            {"baseline": "b", "data": {"traffic": "traffic.jsonl"}, "window": "1d", **given}
        )
        return Drifted(
            asked,
            Baseline(tmp_path, manifest, p),
            scenario,
            model,
            parts,
            dict(
                zip([key._replace(model=model) for key in keys], (quiet, moved, Divergences()), strict=True)
            ),
            dict(zip([key._replace(model=model) for key in keys], of, strict=True)),
            of_windows(asked.thresholds, asked.seed, LossRule(False)),
            variations,
            None if variations else "the baseline keeps no windows",
            [],
            {parts[0].window.name: 4.1, parts[1].window.name: 1.0},
            {"text": "t"},
            None,
            Grouping("base ids", ("a note on groups",)),
            {},
            Standard.of("the baseline", p),
        )

    return make


def test_a_row_for_every_window(drifted: Callable[..., Drifted]) -> None:
    of = drifted()
    got = drift_report(of, "content", "in this process", {"embed": 1.0})
    _, second, third = got.windows
    assert [row.start for row in got.windows] == [(DAY + timedelta(days=d)).isoformat() for d in (0, 1, 4)]
    assert [row.verdict.status for row in got.windows] == ["pass", "fail", "undecided"]
    assert second.verdict.because.startswith("text moved") and got.verdict.status == "fail"
    assert third.verdict.because == third.missing["emi"] == "no usable row" and third.notes == []
    assert [row.quarantined for row in got.windows] == [0, 1, 0] and got.quarantine == {"model_failed": 1}
    assert second.emid == of.assessments[GroupKey(second.scenario, "m")].measures.emid is not None
    assert {row.family for row in got.windows} == {"window"} and {row.model for row in got.windows} == {"m"}
    assert got.run.job == "drift" and got.run.executor == "in this process"
    assert got.run.seconds == {"embed": 1.0}
    assert got.tables["baseline"] == [{"rows": N, "model": "m", "query_chars": 3.5}]


def test_windows_beside_those_of_the_baseline(drifted: Callable[..., Drifted]) -> None:
    """The second day moved by chance among rows; it fails under an alarm alone."""
    days = [(DAY + timedelta(days=d)).date().isoformat() for d in (0, 1)]

    def variation(rank: int, since: str | None = None) -> Variation:
        place = Distance(value=1.0, band=(-1.0, 1.0), rank=rank, of=13, p_value=rank / 13)
        return Variation(
            distance=place,
            modalities={"text": place},
            baseline_windows=12,
            evidence=50,
            budget=30,
            alarm=since is not None,
            since=since,
        )

    calm = drift_report(drifted(variations={day: variation(5) for day in days}), "content", "", {})
    assert [row.verdict.status for row in calm.windows] == ["pass", "pass", "undecided"]
    notes = " | ".join(calm.notes)
    assert "compared with the 12 windows of the baseline" in notes and "at least 30 windows apart" in notes
    assert "would fail by chance" not in notes and "a change began" not in notes
    assert [row.variation is None for row in calm.windows] == [False, False, True]
    alarm = {day: variation(1, days[1] if day == days[1] else None) for day in days}
    got = drift_report(drifted(variations=alarm), "content", "", {})
    assert [row.verdict.status for row in got.windows] == ["pass", "fail", "undecided"]
    assert f"a change began with {days[1]}: 1 window under alarm since it was noticed" in got.notes


def test_notes_on_traffic(drifted: Callable[..., Drifted]) -> None:
    got = drift_report(drifted(), "content", "", {})
    notes = " | ".join(got.notes)
    assert f"the baseline has {N} rows, fewer than 10 times the window's {N}" in notes
    assert "3 windows are tested at 0.01 each: about 0.03 would fail by chance" in notes
    (gap,) = got.feed
    assert gap.kind == "gap" and "(2 windows), between others that have some" in gap.because
    assert "the critic was trained on the baseline's own rows" in notes
    assert got.run.groups == "base ids" and got.notes[-1] == "a note on groups"
    assert got.notes[-2] == READ_NOTE
    assert "the baseline keeps no windows" in notes
    assert "compares two models" not in notes
    first, second, _ = got.windows
    assert any("they are compared within pairs" in note for note in first.notes)
    assert not any("does not know these queries" in note for note in first.notes)
    (unknown,) = [note for note in second.notes if "does not know these queries" in note]
    assert "text encoder minilm" in unknown and "0.25 of the baseline's characters per token" in unknown
    other = drift_report(drifted(model="k"), "content", "", {})
    assert any("the responses are of k, the baseline's of m" in note for note in other.notes)
    others = replace(drifted(), grouping=Grouping("pictures", ()))
    assert any(
        "are taken from pictures; in the baseline from base ids" in note
        for note in drift_report(others, "content", "", {}).notes
    )


def test_all_that_was_set_aside_is_of_the_one_window_there_is(drifted: Callable[..., Drifted]) -> None:
    of = drifted(window=None)
    got = drift_report(replace(of, parts=of.parts[1:2]), "content", "", {})
    (row,) = got.windows
    assert row.quarantined == sum(got.quarantine.values()) == 1
