"""How jobs judge: the seeds, the families of tests, the rule of the verdict."""

from __future__ import annotations

from auditor.measures.census import Rules
from auditor.measures.families import over_modalities, over_scenarios
from auditor.measures.judgement import of_scenarios, of_windows
from auditor.measures.verdict import LossRule, scenario_verdict, window_verdict
from schemas.config import AuditThresholds, DriftThresholds
from schemas.report import Bound, Divergence, Finding, Intervals, Measures

MOVED = {"text": Divergence(p_value=0.001, p_adjusted=0.001, excess=0.1)}
QUIET = {"text": Divergence(p_value=0.4, p_adjusted=0.4)}
SAME: list[Finding] = []
LOST = [Finding(where="june", kind="share", status="warn", because="In june 4 of 40 rows have an image")]


def measures(emid: float | None, partial: float | None = None) -> Measures:
    interval = None if emid is None else (emid - 0.01, emid + 0.01)
    bounds = {} if partial is None else {"partial": Bound(value=partial, terms=["d_v"], complete=True)}
    return Measures(n=400, emid=emid, intervals=Intervals(emid=interval), bounds=bounds)


def test_an_audit_judges_by_emid_and_has_one_seed() -> None:
    thresholds = AuditThresholds(emid=0.2)
    judgement = of_scenarios(thresholds, 7)
    assert judgement.seed("far", "text") == judgement.seed("near", "emi") == 7
    assert judgement.family is over_scenarios
    for emid, status in ((0.3, "fail"), (0.1, "pass"), (None, "undecided")):
        found = judgement.rule(measures(emid), MOVED, SAME)  # whatever moved
        interval = measures(emid).intervals.emid
        assert found == scenario_verdict(400, emid, interval, None, thresholds) and found.status == status
    assert judgement.rule(measures(0.1), MOVED, LOST).status == "warn"
    assert judgement.missing == Rules(thresholds.p_value, 0.2, 50, scripts=False)
    by_bound = of_scenarios(AuditThresholds(partial_bound=0.5), 7)
    assert by_bound.rule(measures(None, 0.6), QUIET, SAME).status == "fail"
    assert by_bound.rule(measures(None, None), QUIET, SAME).status == "undecided"


def test_traffic_is_judged_by_p_values_and_shares_and_each_window_has_its_seeds() -> None:
    thresholds = DriftThresholds()
    judgement = of_windows(thresholds, 7, LossRule(False))
    assert judgement.family is over_modalities
    found = judgement.rule(measures(9.0, 9.0), QUIET, SAME)
    assert found == window_verdict(400, QUIET, thresholds) and found.status == "pass"
    assert judgement.rule(measures(None), MOVED, SAME).status == "fail"
    assert judgement.rule(measures(None), QUIET, LOST).status == "warn"
    assert of_windows(DriftThresholds(max_left_out=0.4), 7, LossRule(False)).missing == Rules(0.01, 0.4, 50)
    seeds = [judgement.seed(window, what) for window in ("june", "july") for what in ("text", "emi")]
    assert len(set(seeds)) == 4 and seeds == [
        of_windows(DriftThresholds(p_value=0.5), 7, LossRule(False)).seed(window, what)
        for window in ("june", "july")
        for what in ("text", "emi")
    ]
    assert of_windows(thresholds, 8, LossRule(False)).seed("june", "text") != seeds[0]
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_a_loss_is_measured_against_the_budget() -> None:
    """Of a 90% interval the lower half is 1.645 standard errors, of one window in a year 2.777."""
    rule = LossRule(True)
    assert rule.above_zero(0.3, 0.3 - 0.17) and not rule.above_zero(0.3, 0.3 - 0.19)
    assert LossRule(True, 0.9, 20).above_zero(0.3, 0.001) and not LossRule(False).above_zero(0.3, 0.29)
    assert LossRule(True, 0.99, 200).above_zero(0.3, 0.001) and not LossRule(True, 0.99, 201).above_zero(
        0.3, 0
    )


def test_a_loss_of_relevance_is_heard() -> None:
    """Above zero a warning, where critics do not know the rows they are compared with; above the threshold a
    failure; not where EMI is not reliable."""
    lost = measures(0.3)
    assert of_windows(DriftThresholds(), 0, LossRule(True)).rule(lost, QUIET, SAME).status == "warn"
    assert of_windows(DriftThresholds(), 0, LossRule(False)).rule(lost, QUIET, SAME).status == "pass"
    at = DriftThresholds(emid=0.2)
    failed = of_windows(at, 0, LossRule(False)).rule(lost, QUIET, SAME)
    assert failed.status == "fail" and failed.because.startswith("relevance was lost, EMID 0.300")
    assert of_windows(DriftThresholds(emid=0.295), 0, LossRule(True)).rule(lost, QUIET, SAME).status == "warn"
    blind = lost.model_copy(update={"reliable": False})
    assert of_windows(at, 0, LossRule(True)).rule(blind, QUIET, SAME).status == "pass"
    assert of_windows(at, 0, LossRule(True)).rule(measures(-0.1), QUIET, SAME).status == "pass"
