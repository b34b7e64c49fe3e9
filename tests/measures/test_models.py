"""Models against the current one: the table says what `compare_over` finds, and gives it back."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

from auditor.emi.comparison import Comparison, EmiSums, compare_over, non_inferiority
from auditor.errors import BadInput
from auditor.estimators import CLUB
from auditor.measures.models import OTHER_FORMS, TABLE, compare_models, find, judge, pairs
from auditor.profiles.profile import Profile
from auditor.profiles.row_sums import sketch_rows
from auditor.profiles.rows import Rows, joined
from auditor.storage.embedding_store import normalise
from schemas.report import ComparedRow, Report, Run, Verdict

D = 8
SCENARIOS = ("id", "far", "bare")
MODELS = ("old", "new", "copy")


def rows(seed: int, noise: float, *, n: int = 120, labelled: bool = True) -> Rows:
    """The same records for one seed; answers follow the query less the more `noise`."""
    rng = np.random.default_rng(seed)
    everywhere = np.ones(n, dtype=bool)
    text = normalise(rng.normal(size=(n, D))).rows
    reference = normalise(text + 0.3 * rng.normal(size=(n, D))).rows
    response = normalise(text + noise * rng.normal(size=(n, D))).rows
    image = np.zeros((n, 0), np.float32)
    return Rows(
        *[tuple(f"r{i}" for i in range(n))] * 3,
        image,
        text,
        joined(image, text, ~everywhere, everywhere),
        response,
        reference,
        {
            "image": ~everywhere,
            "text": everywhere,
            "response": everywhere,
            "reference": everywhere & labelled,
        },
    )


NOISE = {"old": 0.3, "new": 1.5, "copy": 0.3}


@pytest.fixture(scope="module")
def sets() -> dict[tuple[str, str], Profile]:
    """`new` is worse than `old`, `copy` is `old`; nobody labelled `bare`, and `new` did not answer it."""
    pool = rows(9, 0.3, n=400)
    critic = CLUB(hidden=16, steps=80, batch=128).fit(pool.x, pool.reference)
    return {
        (scenario, model): sketch_rows(
            rows(i, NOISE[model], labelled=scenario != "bare"), np.ones((120, 4), np.float32), [critic], 50
        )
        for i, scenario in enumerate(SCENARIOS)
        for model in MODELS
        if (scenario, model) != ("bare", "new")
    }


def directly(sets: dict[tuple[str, str], Profile], new: str, current: str) -> Comparison:
    def of(scenario: str, model: str) -> EmiSums:
        club = sets[scenario, model].critic_sums
        return EmiSums(club["emi_model"], club["emi_reference"])

    return compare_over({s: (of(s, new), of(s, current)) for s in ("id", "far")}, level=0.9, seed=3)


def compared(sets: dict[tuple[str, str], Profile], margin: float | None = None) -> list[ComparedRow]:
    return compare_models(sets, SCENARIOS, MODELS, "old", margin=margin, level=0.9, seed=3)


def report(rows: list[ComparedRow], missing: dict[str, str] | None = None) -> Report:
    run = Run(
        run_id="r1",
        job="audit",
        created="2026-01-01",
        seed=0,
        config_hash="",
        interval_level=0.9,
        config={},
        versions={},
    )
    tables = {TABLE: [row.model_dump() for row in rows]} if rows else {}
    return Report(
        run=run, tables=tables, missing=missing or {}, verdict=Verdict(status="pass", because="made up")
    )


def test_the_table_is_what_compare_over_finds(sets: dict[tuple[str, str], Profile]) -> None:
    by_key = {(row.new, row.scenario): row for row in compared(sets, margin=0.05)}
    assert list(by_key) == [(new, s) for new in ("new", "copy") for s in (None, *SCENARIOS)]
    for new in ("new", "copy"):
        expected = directly(sets, new, "old")
        for scenario, difference in {None: expected.mean, **expected.scenarios}.items():
            row = by_key[new, scenario]
            assert row.current == "old"
            expected_row = asdict(difference)
            if scenario is None:  # adjusted over the models
                assert row.p_adjusted is not None and expected_row.pop("p_adjusted") is None
            assert {name: getattr(row, name) for name in expected_row} == expected_row
        verdict = non_inferiority(expected.mean, 0.05, level=0.95)
        mean = by_key[new, None]
        assert (mean.status, mean.because, mean.margin) == (verdict.status, verdict.because, 0.05)
        assert (by_key[new, "id"].n_new, by_key[new, "id"].n_current) == (120, 120)
    assert by_key["new", None].status == "fail" and by_key["copy", None].status == "pass"


def test_a_copy_makes_no_difference(sets: dict[tuple[str, str], Profile]) -> None:
    _, copy = pairs(report(compared(sets)))
    for row in (copy.mean, *copy.measured):
        assert (row.value, row.corrected, row.low, row.high, row.p_value) == (0, 0, 0, 0, 1)
    assert (copy.better, copy.worse) == (0, 0)


def test_what_is_left_out_says_why(sets: dict[tuple[str, str], Profile]) -> None:
    pair = pairs(report(compared(sets)))[0]
    bare = pair.scenarios[-1]
    assert bare.scenario == "bare" and bare.value is None and bare.blocks == 0
    assert bare.reason == "no row with a query, an answer and a reference of new and old"
    assert [row.scenario for row in pair.measured] == ["id", "far"]
    assert pair.mean.margin is None and pair.mean.status is None
    assert (pair.better, pair.worse) == (0, 2) and pair.mean.n_new is None
    assert judge(bare, 0.1, 0.95).status == "undecided" and "no row with" in judge(bare, 0.1, 0.95).because


def test_no_table_where_nothing_can_be_compared(sets: dict[tuple[str, str], Profile]) -> None:
    assert compare_models(sets, ["bare"], MODELS, "old", margin=None, level=0.9, seed=0) == []
    assert compare_models(sets, SCENARIOS, ["old"], "old", margin=None, level=0.9, seed=0) == []
    only = compare_models(
        {key: s for key, s in sets.items() if key[1] != "new"},
        SCENARIOS,
        MODELS,
        "old",
        margin=0.1,
        level=0.9,
        seed=0,
    )
    lost = pairs(report(only))[0]
    assert lost.mean.value is None and lost.mean.reason is not None and lost.measured == []


def test_a_report_gives_the_difference_back(sets: dict[tuple[str, str], Profile]) -> None:
    found = report(compared(sets))
    expected = directly(sets, "new", "old")
    for scenario, difference in {None: expected.mean, "far": expected.scenarios["far"]}.items():
        for margin, level in ((0.01, 0.95), (5.0, 0.8)):
            verdict = non_inferiority(difference, margin, level=level)
            got = judge(find(found, "new", None, scenario), margin, level)
            assert (got.status, got.because) == (verdict.status, verdict.because)
    # The other way round is the mirror image.
    mirror = directly(sets, "old", "new").mean
    got = find(found, "old", "new", None)
    ignored = {"p_adjusted", "reason"}
    assert {k: getattr(got, k) for k in asdict(mirror) if k not in ignored} == {
        k: v for k, v in asdict(mirror).items() if k not in ignored
    }
    assert judge(got, 0.0, 0.95).status == "pass"


@pytest.mark.parametrize(
    ("new", "current", "scenario", "said"),
    [
        ("newest", None, None, "new: no model newest in the report; it has old, new, copy"),
        ("new", "elder", None, "current: no model elder in the report"),
        ("new", "new", None, "new and current are the same model, new"),
        ("old", None, None, "the same model, old; current can be another: new, copy"),
        ("new", "copy", None, "--set comparison.current=copy"),
        ("new", None, "nowhere", "scenario: nowhere is not in the report, which has id, far, bare"),
    ],
)
def test_what_a_report_does_not_hold(
    sets: dict[tuple[str, str], Profile], new: str, current: str | None, scenario: str | None, said: str
) -> None:
    with pytest.raises(BadInput, match=said):
        find(report(compared(sets)), new, current, scenario)


def test_a_report_without_the_table() -> None:
    with pytest.raises(BadInput, match="run r1 compares no models: that needs an audit of two or more"):
        find(report([]), "new", None, None)
    with pytest.raises(BadInput, match="compares no models: nobody labelled"):
        find(report([], {"comparison": "nobody labelled"}), "new", None, None)


def test_what_is_not_reliable_is_left_out(sets: dict[tuple[str, str], Profile]) -> None:
    def rows_without(*pairs_: tuple[str, str]) -> list[ComparedRow]:
        unreliable = dict.fromkeys(pairs_, "the encoders do not show the answers")
        return compare_models(
            sets, SCENARIOS, MODELS[:2], "old", margin=None, level=0.9, seed=3, unreliable=unreliable
        )

    by_scenario = {row.scenario: row for row in rows_without(("far", "new"))}
    far, mean = by_scenario["far"], by_scenario[None]
    assert far.value is None and far.reason is not None and far.reason.startswith("EMI is not reliable")
    assert mean.value == by_scenario["id"].value
    nothing = rows_without(("far", "new"), ("id", "old"))
    assert [row.value for row in nothing] == [None] * len(nothing)
    assert nothing[0].reason is not None and "not reliable in any scenario" in nothing[0].reason


def test_means_are_adjusted_over_the_models(sets: dict[tuple[str, str], Profile]) -> None:
    means = {row.new: row for row in compared(sets) if row.scenario is None}
    assert means["new"].p_value is not None and means["copy"].p_value == 1.0
    assert means["new"].p_adjusted == pytest.approx(2 * means["new"].p_value)


def test_a_difference_is_said_where_both_forms_show_it(sets: dict[tuple[str, str], Profile]) -> None:
    published = compared(sets)
    assert pairs(report(published))[0].worse == 2  # no other form in the report

    def with_other(sign: float) -> int:
        others = [
            row.model_copy(update={"form": "cross_fitted", "corrected": sign * (row.corrected or 0.0)})
            for row in published
        ]
        content = report(published)
        content.tables[OTHER_FORMS] = [row.model_dump() for row in others]
        pair = pairs(content)[0]
        assert pair.claims(pair.mean) == (sign > 0)
        return pair.worse

    assert with_other(1.0) == 2 and with_other(-1.0) == 0
