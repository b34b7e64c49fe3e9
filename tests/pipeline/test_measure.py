"""Measures of many groups: the same bits from this process and from workers, kept, and made again only where
rows have changed."""

import json
from dataclasses import replace

import numpy as np
import pytest
import ray

from actors import executor
from auditor.attribution.what_moved import what_moved
from auditor.errors import AuditError
from auditor.measures.assessment import Settings
from auditor.measures.divergences import Divergences
from auditor.measures.families import DEPENDENCES, INPUTS, MODALITIES
from auditor.measures.judgement import of_scenarios, of_windows
from auditor.measures.verdict import LossRule
from auditor.pipeline.measure import (
    Comparison,
    Measuring,
    _seconds,
    assessments,
    codebook_file,
    divergences,
    slice_rows,
)
from auditor.pipeline.progress import Silent
from auditor.pipeline.workers.measures import read_codebook
from auditor.profiles.profile import GroupKey, Profile, read_profile, write_profile
from auditor.storage.run_dir import RunDir
from schemas.config import BoundsConfig, DriftThresholds, ShardConfig, WorkersConfig
from schemas.report import Divergence
from tests.conftest import workplace_at
from tests.pipeline.workers.test_measures import FACTS, N, scenario, sums

P = "id"

TESTS = (*MODALITIES, *DEPENDENCES)


class Stages(Silent):
    """Stage -> units of work done of it."""

    def __init__(self):
        self.of = {}

    def update(self, tally):
        self.of[tally.stage] = tally.total


@pytest.fixture
def run(tmp_path):
    found = RunDir(tmp_path)
    found.open()
    for i, name in enumerate((P, "a", "b", "c")):
        marks = np.arange(4, dtype=np.uint64)
        profile = replace(sums(i, 0.1 * i), facts=FACTS, scores=np.linspace(0, 1, 4), score_groups=marks)
        write_profile(found.profiles("test") / f"{name}.npz", profile)
    return found


def file(run, name):
    return (run.profiles("test") / f"{name}.npz",)


def compared(run, *names, models=("m",)):
    dims = {"image": 5, "text": 5, "x": 5, "response": 5}
    return [
        Comparison(GroupKey(name, model), file(run, P), file(run, name), 2 * N, dims)
        for name in names
        for model in models
    ]


def measuring(at, judgement=None):
    p = read_profile(file(at.run, P)[0])
    judgement = judgement or of_windows(DriftThresholds(), 0, LossRule(False))
    return Measuring(judgement, Settings(0.9, BoundsConfig()), (), codebook_file(at, [p], 8, 0))


def all_of(at, comparisons, with_reference=True):
    """What is measured of these groups, and of the reference rows."""
    of = measuring(at)
    measured = divergences(at, comparisons, of)
    references = {GroupKey(P, "m"): file(at.run, P)} if with_reference else {}
    return measured, assessments(at, comparisons, references, measured, of)


def files(run):
    """Of kept measures, and when each was written."""
    return {
        path: path.stat().st_mtime_ns
        for path in run.root.glob("measures/*/*.json")
        if path.name != "identity.json"
    }


def serial(run, stages=None):
    return workplace_at(run, "serial", WorkersConfig(cpu=1), ShardConfig(), stages)


def test_measures_are_kept(run):
    """A second call makes nothing; one more window is measured alone."""
    stages = Stages()
    with serial(run, stages) as at:
        first = all_of(at, compared(run, "a", "b"))
        assert stages.of == {"divergences": 2 * len(TESTS), "measures": 3}
        made = files(run)
        assert len(made) == 2 * len(TESTS) + 3
        stages.of.clear()
        assert all_of(at, compared(run, "a", "b")) == first
        assert stages.of == {} and files(run) == made

        more = all_of(at, compared(run, "a", "b", "c"))
        assert stages.of == {"divergences": len(TESTS), "measures": 1}
        after = files(run)
        assert len(after) == len(made) + len(TESTS) + 1 and made.items() <= after.items()
        for before, now in zip(first, more, strict=True):
            of_before, of_now = (x.by_group if hasattr(x, "by_group") else x for x in (before, now))
            assert all(of_now[key] == found for key, found in of_before.items())
        (new,) = set(more[1]) - set(first[1])
        assert new == GroupKey("c", "m")
    stages.of.clear()
    with serial(run, stages) as at:  # another job in the same folder, and groups in another order
        again = all_of(at, compared(run, "c", "a", "b"))
        assert stages.of == {} and again[1] == more[1] and next(iter(again[0].by_group)) == GroupKey("c", "m")


def test_rows_that_failed_and_are_done_now_are_measured_anew(run):
    """Their file keeps its name."""
    stages = Stages()
    path = file(run, "a")[0]
    whole = read_profile(path)
    write_profile(path, replace(sums(1, 0.1, n=N - 20), facts=FACTS, again=tuple(range(20))))
    with serial(run, stages) as at:
        few = all_of(at, compared(run, "a", "b"))
        assert few[1][GroupKey("a", "m")].measures.n == N - 20
        write_profile(path, whole)
        stages.of.clear()
        all_now = all_of(at, compared(run, "a", "b"))
        assert stages.of == {"divergences": len(TESTS), "measures": 1}
        key = GroupKey("a", "m")
        assert all_now[1][key].measures.n == N and all_now[0].by_group[key] != few[0].by_group[key]
        assert all_now[1][GroupKey("b", "m")] == few[1][GroupKey("b", "m")]


def test_what_a_measure_depends_on_makes_another_one(run):
    stages = Stages()
    with serial(run, stages) as at:
        one = all_of(at, compared(run, "a"))
        for change in (
            {"level": 0.8},
            {"bounds": BoundsConfig(entropy_reference=1.0)},
            {"no_critic": "none"},
        ):
            stages.of.clear()
            of = measuring(at)
            of = replace(of, settings=replace(of.settings, **change))
            found = divergences(at, compared(run, "a"), of)
            assert assessments(at, compared(run, "a"), {}, found, of) != one[1]
            assert stages.of["measures"] == 1 and ("divergences" in stages.of) == ("level" in change)
        stages.of.clear()
        other = measuring(
            at, of_windows(DriftThresholds(p_value=0.5), 1, LossRule(False))
        )  # the seed alone counts
        found = divergences(at, compared(run, "a"), other)
        assert stages.of == {"divergences": len(TESTS)} and found.by_group != one[0].by_group


def test_inputs_are_measured_once_whatever_the_number_of_models(run):
    """Of the first model's file: all models have the same ones."""
    stages = Stages()
    m, k = compared(run, "a", models=("m", "k"))
    k = replace(k, q=file(run, "b"))
    with serial(run, stages) as at:
        found = divergences(at, [m, k], measuring(at))
        assert stages.of == {"divergences": len(TESTS) + 3}  # of responses and correct answers
        one, other = (found.by_group[each.key].found for each in (m, k))
        assert one["response"] != other["response"]
        assert {name: one[name] for name in INPUTS} == {name: other[name] for name in INPUTS}
        assert found.files[m.key][:3] == found.files[k.key][:3]
        alone = divergences(at, [k], measuring(at)).by_group[k.key].found
        assert alone["response"] == other["response"] and alone["text"] != other["text"]


def test_holm_is_over_the_family_and_leaves_the_kept_as_they_are(run):
    with serial(run) as at:
        of = measuring(at, of_scenarios(DriftThresholds(), 0))
        found = divergences(at, compared(run, "a", "b", "c"), of)
        judged = found.judged(of.judgement.family)
        for modality in MODALITIES:
            raw = [found.by_group[key].found[modality].p_value for key in judged]
            adjusted = [judged[key].found[modality].p_adjusted for key in judged]
            assert min(adjusted) == pytest.approx(min(1.0, 3 * min(raw)))
        assert all(d.p_adjusted is None for each in found.by_group.values() for d in each.found.values())


def test_a_damaged_measure_is_named(run):
    with serial(run) as at:
        measured, _ = all_of(at, compared(run, "a"))
        (place_of,) = {path.parent for path in files(run)} - {measured.files[GroupKey("a", "m")][0].parent}
        damaged = min(path for path in place_of.glob("*.json") if path.name != "identity.json")
        damaged.write_text('{"measures": ')
        with pytest.raises(AuditError, match=rf"{damaged.name}: not readable .*; delete it and run again"):
            all_of(at, compared(run, "a"))
        damaged.unlink()
        all_of(at, compared(run, "a"))


def test_one_codebook_for_a_job(run):
    with serial(run) as at:
        p = read_profile(file(run, P)[0])
        path = codebook_file(at, [p, Profile()], 8, 0)
        assert read_codebook(path).shape == (8, 5) and codebook_file(at, [p], 8, 0) == path
        assert codebook_file(at, [p], 7, 0) != path
        assert codebook_file(at, [Profile()], 8, 0) is None


def test_slices_are_kept_until_rows_or_tags_change(run, tmp_path):
    stages = Stages()
    gone = Divergences({"text": Divergence(p_adjusted=0.001), "response": Divergence(p_adjusted=0.001)})
    found = {GroupKey(name, model): gone for name in ("a", "b") for model in ("m", "k")}
    moved = list(what_moved(found, 0.01))
    assert len(moved) == 6
    tags = {name: scenario(tmp_path, name, 12, n=N) for name in ("a", "b")}
    with serial(run, stages) as at:
        of, groups = measuring(at), compared(run, "a", "b", models=("m", "k"))

        def lines():
            stages.of.clear()
            return slice_rows(at, moved, groups, None, tags, of)

        first = lines()
        assert stages.of == {"where the drift is": 6}
        order = list(dict.fromkeys((line["scenario"], line["model"], line["modality"]) for line in first))
        assert order == [(key.scenario, model, modality) for key, model, modality in moved]
        assert lines() == first and stages.of == {}
        tags["b"] = scenario(tmp_path, "b", 13, n=N)
        lines()
        assert stages.of == {"where the drift is": 3}
        (damaged,) = [path for path in files(run) if json.loads(path.read_text())[:1] == first[:1]]
        damaged.write_text("[")
        with pytest.raises(AuditError, match=rf"{damaged.name}: not readable"):
            lines()


def test_workers_and_this_process_agree_to_the_bit(run, quiet_ray, monkeypatch):
    comparisons = compared(run, "a", "b")
    with serial(run) as at:
        here = all_of(at, comparisons)
        kept = {path.name: path.read_bytes() for path in files(run)}
    quiet_ray(2)
    try:
        stages = Stages()
        with workplace_at(run, "ray", WorkersConfig(cpu=2), ShardConfig(), stages) as at:
            assert all_of(at, comparisons) == here and stages.of == {}  # all were done
            monkeypatch.setattr(executor, "WORTH_SECONDS", 0.0)
            for path in files(run):
                path.unlink()
            assert all_of(at, comparisons) == here
            assert stages.of == {"divergences": 2 * len(TESTS), "measures": 3}
            assert {path.name: path.read_bytes() for path in files(run)} == kept
    finally:
        ray.shutdown()


def test_about_how_long_a_divergence_takes():
    one = Comparison(GroupKey("a", "m"), (), (), 240, {"text": 384, "x": 896})
    assert _seconds(one, "text") < 1 < _seconds(replace(one, rows=12_000, dims={"text": 768}), "text")
    assert _seconds(one, "joint") > _seconds(one, "text") > _seconds(one, "image") == 0
