"""Rows held against others: an assessment says what each measure finds, nothing is held against itself, and
what was written down comes back to the bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from auditor.bounds import NULL_CENTRED
from auditor.errors import AuditError
from auditor.estimators import CLUB
from auditor.estimators.crossfit import CrossFitted
from auditor.measures.answers import answer_codebook, response_gap
from auditor.measures.assessment import (
    Accuracy,
    Assessment,
    Current,
    Reference,
    Settings,
    accuracy,
    assess,
    assess_reference,
    nothing,
    read_assessment,
    write_assessment,
)
from auditor.measures.bounds import FORMS
from auditor.measures.contents import contents
from auditor.measures.divergences import Divergences, divergence, input_divergence
from auditor.measures.families import MODALITIES, by_modality
from auditor.measures.relevance import model_information, relevance
from auditor.profiles.answer_sample import AnswerSample, RecordAnswers
from auditor.profiles.profile import Profile
from auditor.profiles.row_sums import sketch_rows
from auditor.profiles.rows import Rows, joined
from auditor.storage.embedding_store import Embeddings, normalise
from auditor.storage.work_units import text_key
from schemas.config import BoundsConfig
from schemas.record import Quarantined, Reason
from schemas.report import Divergence

D, N, LEVEL = 8, 150, 0.9
FACTS = {"n": N, "answered": N, "query_chars": 3 * N, "response_chars": 2 * N, "with_image": 0}
SETTINGS = Settings(LEVEL, BoundsConfig())
SCORED: dict[str, Any] = {
    "scores": np.array([1.0, 0.5, 1.0, 0.0]),
    "score_groups": np.arange(4, dtype=np.uint64),
}
ASIDE = (Quarantined("f", 3, Reason.IMAGE_MISSING, "no", "r3", "far"),)
SEEDS = {"seed": 0, "seed_of_inputs": 0}


def rows(seed: int, *, noise: float, move: float = 0.0, n: int = N) -> Rows:
    """Answers follow the query less the more `noise`; `move` shifts the queries."""
    rng = np.random.default_rng(seed)
    everywhere, image = np.ones(n, dtype=bool), np.zeros((n, 0), np.float32)
    text = normalise(rng.normal(size=(n, D)) + move).rows
    ids = tuple(f"{seed}-{i}" for i in range(n))
    return Rows(
        ids,
        ids,
        ids,
        image,
        text,
        joined(image, text, ~everywhere, everywhere),
        normalise(text + noise * rng.normal(size=(n, D))).rows,
        normalise(text + 0.2 * rng.normal(size=(n, D))).rows,
        {"image": ~everywhere, "text": everywhere, "response": everywhere, "reference": everywhere},
    )


@pytest.fixture(scope="module")
def critic() -> CLUB:
    pool = rows(9, noise=0.2)
    return CLUB(hidden=16, steps=60, batch=64).fit(pool.x, pool.reference)


def profiled(of: Rows, *critics: CLUB) -> Profile:
    sums = sketch_rows(of, np.ones((len(of), 4), np.float32), critics, 500)
    return replace(sums, facts=FACTS, set_aside=ASIDE, **SCORED)


def reference(p: Profile, *critics: CLUB) -> Reference:
    return Reference.of(p, [CrossFitted((c,)) for c in critics], answer_codebook([p], 8, 0))


def current(p: Profile, q: Profile) -> Current:
    measured = {modality: divergence(p, q, modality, seed=0, level=LEVEL) for modality in MODALITIES}
    return Current(q, by_modality(measured), scenario="far")


def test_an_assessment_says_what_was_found(critic: CLUB) -> None:
    p, q = profiled(rows(1, noise=0.2), critic), profiled(rows(2, noise=1.5, move=0.5), critic)
    of = assess(reference(p, critic), current(p, q), SETTINGS, **SEEDS)
    found, measures = relevance(p, q, seed=0, level=LEVEL), of.measures
    assert found is not None and found.emid > 0
    assert (measures.emi, measures.emid) == (found.emi, found.emid)
    assert (measures.emi_spread, measures.emid_spread) == (found.emi_spread, found.emid_spread)
    assert measures.intervals.emi == found.emi_interval and measures.intervals.emid == found.emid_interval
    graded = accuracy(q.scores, LEVEL)
    assert (measures.accuracy, measures.intervals.accuracy) == (graded.value, graded.interval)
    assert measures.mi_model == model_information(q) and measures.mi_reference == found.mi_reference
    assert (measures.n, measures.n_labelled, measures.n_emi) == (N, N, N)
    gap = response_gap(q)
    assert gap is not None and measures.delta == gap.value
    assert {form.removesuffix(NULL_CENTRED) for form in measures.bounds} == set(
        FORMS
    ) and measures.label_free is not None
    assert measures.descriptors["query_chars"] == 3 and measures.descriptors["text_norm"] == 1
    assert of.contents == contents(q) and of.set_aside == list(ASIDE) and of.conditional == []
    assert not {"emi", "emid", "delta", "label_free", "mi_model"} & set(measures.missing)


def test_the_reference_rows_have_no_emid_and_no_bounds(critic: CLUB) -> None:
    p = profiled(rows(1, noise=0.2), critic)
    of = assess_reference(reference(p, critic), SETTINGS, seed=0)
    found, measures = relevance(p, p, seed=0, level=LEVEL), of.measures
    assert found is not None and (measures.emi, measures.intervals.emi) == (found.emi, found.emi_interval)
    assert measures.emid is measures.emid_spread is measures.intervals.emid is None
    assert not measures.bounds and measures.label_free is None and measures.delta is not None
    assert of.contents == contents(p) and of.set_aside == list(ASIDE)


def test_without_critics_there_is_no_emi_and_the_other_estimates_are_there(critic: CLUB) -> None:
    """Those of P may be of some where those of Q are of none: a baseline's critic that does not fit."""
    p, q = profiled(rows(1, noise=0.2), critic), profiled(rows(2, noise=0.2))
    settings = replace(SETTINGS, no_critic="the traffic lacks a modality")
    measures = assess(reference(p), current(p, q), settings, **SEEDS).measures
    assert measures.emi is measures.emid is measures.mi_model is None
    assert {measures.missing[name] for name in ("emi", "emid", "mi_reference", "mi_model")} == {
        "the traffic lacks a modality"
    }
    assert measures.label_free is not None and measures.label_free.voice != "reweighted"
    assert {form.removesuffix(NULL_CENTRED) for form in measures.bounds} == set(FORMS)
    itself = assess_reference(reference(p), settings, seed=0).measures
    assert itself.emi is None and itself.missing["emi"] == "the traffic lacks a modality"


def test_what_is_missing_says_why(critic: CLUB) -> None:
    """Rows without answers and references, and truths that are not known."""
    bare = rows(2, noise=0.2)
    for name in ("response", "reference"):
        bare.has[name] = np.zeros(N, bool)
    p, q = (
        profiled(rows(1, noise=0.2), critic),
        replace(profiled(bare, critic), **{name: of[:0] for name, of in SCORED.items()}),
    )
    measures = assess(reference(p, critic), current(p, q), SETTINGS, **SEEDS).measures
    assert (
        measures.missing["emi"] == measures.missing["emid"] == "no row has a query, an answer and a reference"
    )
    assert measures.missing["mi_model"] == "no row has a query and a response"
    assert measures.missing["delta"] == "no row has a response and a reference"
    assert measures.missing["accuracy"] == SETTINGS.ungraded
    assert "label_free" in measures.missing and "bounds.scaled" in measures.missing
    few = profiled(rows(3, noise=0.2, n=4), critic)
    measures = assess(reference(p, critic), current(p, few), SETTINGS, **SEEDS).measures
    assert measures.missing["intervals.emid"] == "too few hash blocks with rows"


def test_of_no_usable_row_nothing_is_said() -> None:
    of = nothing(Profile(set_aside=ASIDE), MODALITIES)
    assert of.measures.n == 0 and of.set_aside == list(ASIDE) and of.contents.rows == 0
    assert set(of.measures.missing.values()) == {"no usable row"}
    assert {"emi", "emid", "mi_model", "label_free", "divergences.joint"} <= set(of.measures.missing)
    assert "divergences.text" not in nothing(Profile(), ()).measures.missing


def test_the_inputs_divergence_is_the_measured_joint_one_or_made_here(critic: CLUB) -> None:
    p, q = profiled(rows(1, noise=0.2), critic), profiled(rows(2, noise=0.2, move=0.5), critic)
    d_x = input_divergence(p, q, seed=0)
    assert d_x is not None and d_x > 0

    def bound(joint: float | None) -> float:
        measured = Divergences({} if joint is None else {"joint": Divergence(value=joint)})
        here = Current(q, measured)
        value = assess(reference(p), here, SETTINGS, **SEEDS).measures.bounds["sound"].value
        assert value is not None
        return value

    assert bound(None) == bound(d_x) < bound(4 * d_x)


def answered(profile: Profile, seed: int, spread: int) -> Profile:
    """With four sampled answers a record, of `spread` different ones, and their log-probabilities."""
    rng = np.random.default_rng(seed)
    words = [f"word {i}" for i in range(spread)]
    texts = Embeddings(list(map(text_key, words)), rng.normal(size=(spread, D)), [None] * spread)
    records = [
        RecordAnswers(i, f"r{i}", f"r{i}", tuple(-rng.random(4)), tuple(rng.choice(words, 4)))
        for i in range(60)
    ]
    return replace(profile, answers=AnswerSample.from_records(records, 60, texts, 100))


def test_entropies_come_from_sampled_answers(critic: CLUB) -> None:
    """From log-probabilities where the answers were drawn, from their cells in any case; or as given."""
    p = answered(profiled(rows(1, noise=0.2), critic), 1, 2)
    q = answered(profiled(rows(2, noise=0.2), critic), 2, 30)
    of, here = reference(p, critic), current(p, q)

    def source(current: Current, settings: Settings = SETTINGS) -> dict[str, str]:
        found = assess(of, current, settings, **SEEDS).measures.bounds
        return {name: bound.entropy_source or "" for name, bound in found.items()}

    drawn = source(replace(here, temperature=1.0))
    assert "log-probabilities of sampled answers" in drawn["theorem_4_5"]
    assert "cells of sampled answers" in drawn["sound"]
    recorded = source(here)
    assert "log-probabilities" not in recorded["theorem_4_5"] and recorded["sound"] == drawn["sound"]
    none = source(replace(here, q=replace(q, answers=None), temperature=1.0))
    assert not any("sampled answers" in text for text in none.values())
    given = source(here, replace(SETTINGS, bounds=BoundsConfig(entropy_reference=1.0, entropy_model=1.0)))
    assert given["theorem_4_5"] == "references: given; model: given"


@pytest.mark.parametrize("conditional", [False, True])
def test_what_was_written_comes_back_to_the_bit(critic: CLUB, tmp_path: Path, conditional: bool) -> None:
    p = answered(profiled(rows(1, noise=0.2), critic), 1, 2)
    q = answered(profiled(rows(2, noise=1.5, move=0.5), critic), 2, 30)
    settings = replace(SETTINGS, conditional=conditional)
    of = reference(p, critic)
    here = replace(current(p, q), temperature=0.7)
    for found in (
        assess(of, here, settings, **SEEDS),
        assess_reference(of, settings, seed=0),
        nothing(q, MODALITIES),
    ):
        write_assessment(tmp_path / "a.json", found)
        back = read_assessment(tmp_path / "a.json")
        assert back == found and repr(back) == repr(found)
    lines = assess(of, here, settings, **SEEDS).conditional
    assert len(lines) == 3 * conditional and all(line["scenario"] == "far" for line in lines)


def test_a_damaged_assessment_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_assessment(path, nothing(Profile(set_aside=ASIDE), MODALITIES))
    for damaged in (path.read_text()[:-9], "", "[]", '{"measures": 3}'):
        path.write_text(damaged)
        with pytest.raises(AuditError, match=r"x\.json: not readable .*; delete it and run again") as error:
            read_assessment(path)
        assert "\n" not in str(error.value)
    assert not Assessment.model_fields.keys() - {
        "measures",
        "contents",
        "conditional",
        "set_aside",
        "unreliable",
    }


def test_accuracy_has_a_t_interval_within_its_range() -> None:
    scores = np.array([1.0, 0.5, 1.0, 0.0])
    value, interval = accuracy(scores, 0.8)
    assert value == 0.625 and interval is not None
    expected = stats.t.interval(0.8, 3, loc=0.625, scale=stats.sem(scores))
    assert interval == pytest.approx((expected[0], min(1.0, expected[1])))
    assert accuracy(np.zeros(0), 0.9) == Accuracy(None, None)
    assert accuracy(np.ones(1), 0.9) == (1.0, None)


def test_the_accuracy_of_answers_that_belong_together() -> None:
    """Five answers of each group are all right or all wrong: they tell as much as one."""
    ones = np.random.default_rng(0).integers(0, 2, 60).astype(float)
    value, interval = accuracy(ones, 0.9)
    groups = np.repeat(np.arange(60), 5).astype(np.uint64)
    same, wide = accuracy(np.repeat(ones, 5), 0.9, groups)
    assert same == value and interval is not None and wide is not None
    assert wide[1] - wide[0] == pytest.approx(interval[1] - interval[0], rel=0.01)
    assert accuracy(ones, 0.9, np.arange(60, dtype=np.uint64)) == (value, interval)
    assert accuracy(ones, 0.9, np.zeros(60, np.uint64)) == (value, None)
