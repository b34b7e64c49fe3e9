"""Verdicts: which status, and what it says."""

from __future__ import annotations

import pytest

from auditor.measures.verdict import (
    EXIT_CODES,
    overall,
    scenario_verdict,
    what_moved,
    window_verdict,
    with_feed,
    with_findings,
    worst,
)
from schemas.config import AuditThresholds, ThresholdsConfig
from schemas.report import Distance, Divergence, Finding, RowCounts, Variation, Verdict

AT = AuditThresholds(emid=0.2)


@pytest.mark.parametrize(
    ("n", "emid", "interval", "status"),
    [
        (400, 0.3, (0.25, 0.35), "fail"),
        (400, 0.3, (0.15, 0.45), "warn"),
        (400, 0.3, None, "warn"),
        (400, 0.1, (0.0, 0.3), "pass"),
        (400, None, None, "undecided"),
        (49, 0.9, (0.8, 1.0), "undecided"),
    ],
)
def test_a_threshold_on_emid(
    n: int, emid: float | None, interval: tuple[float, float] | None, status: str
) -> None:
    verdict = scenario_verdict(n, emid, interval, None, AT)
    assert verdict.status == status
    assert f"n={n}" in verdict.because or emid is None


def test_without_a_threshold_nothing_fails() -> None:
    assert scenario_verdict(3, 9.0, (8.0, 10.0), 9.0, AuditThresholds()).status == "pass"


def test_the_partial_bound_needs_no_references() -> None:
    at = AuditThresholds(partial_bound=0.5)
    assert scenario_verdict(400, None, None, 0.6, at).status == "fail"
    assert scenario_verdict(400, None, None, 0.4, at).status == "pass"
    assert scenario_verdict(400, None, None, None, at).status == "undecided"


def test_a_window_fails_where_one_modality_moved() -> None:
    at = AuditThresholds()
    quiet, moved = (
        Divergence(p_value=0.4, p_adjusted=0.8),
        Divergence(p_value=0.001, p_adjusted=0.002, excess=0.1),
    )
    verdict = window_verdict(700, {"image": quiet, "text": moved}, at)
    assert verdict.status == "fail"
    assert verdict.because.startswith("text moved")
    assert window_verdict(700, {"image": quiet}, at).status == "pass"
    assert window_verdict(49, {"text": moved}, at).status == "undecided"
    assert window_verdict(700, {"image": Divergence()}, at).status == "undecided"


def variation(rank: int, evidence: float, since: str | None = None) -> Variation:
    place = Distance(value=2.0, band=(-1.0, 1.5), rank=rank, of=31, p_value=rank / 31)
    return Variation(
        distance=place,
        modalities={"text": place},
        baseline_windows=20,
        evidence=evidence,
        budget=365,
        alarm=since is not None,
        since=since,
    )


@pytest.mark.parametrize(
    ("moved", "beside", "status", "words"),
    [
        (True, variation(1, 400, "monday"), "fail", "and by more than this service varies"),
        (False, variation(2, 400, "monday"), "warn", "the windows since monday together"),
        (True, variation(1, 40), "warn", "not yet enough for an alarm"),
        (True, variation(2, 40), "pass", "but not by more than this service varies"),
        (False, variation(1, 40), "pass", "no modality moved"),
    ],
)
def test_a_window_fails_by_both_measures_where_the_baseline_keeps_windows(
    moved: bool, beside: Variation, status: str, words: str
) -> None:
    p_value = 0.0005 if moved else 0.5
    found = {"text": Divergence(p_value=p_value, p_adjusted=p_value)}
    verdict = window_verdict(700, found, AuditThresholds(), variation=beside)
    assert verdict.status == status and words in verdict.because
    place, evidence = beside.distance, beside.evidence
    assert f"rank {place.rank} of 31 windows" in verdict.because
    assert f"evidence of a change {evidence:.3g}, an alarm begins at 365" in verdict.because
    assert window_verdict(49, found, AuditThresholds(), variation=beside).status == "undecided"
    assert window_verdict(700, {}, AuditThresholds(), variation=beside).status == "undecided"


def test_the_worst_decides_and_the_exit_codes_are_the_public_ones() -> None:
    made = {s: Verdict(status=s, because=s) for s in ("pass", "warn", "undecided", "fail")}  # type: ignore[arg-type]
    assert worst(list(made.values())).status == "fail"
    assert worst([made["pass"], made["undecided"], made["warn"]]).status == "undecided"
    told = overall({"a": made["pass"], "b": made["fail"], "c": made["fail"]})
    assert told.status == "fail"
    assert told.because == "2 fail, 1 pass. First: b: fail"
    assert overall({}).status == "undecided"
    assert EXIT_CODES == {"pass": 0, "warn": 0, "fail": 1, "undecided": 4}


def test_a_verdict_names_what_is_missing_first():
    lost = Finding(where="d", kind="share", status="warn", because="On d 4 rows have an image")
    gone = Finding(where="d", kind="nothing", status="fail", because="On d no row has an answer")
    for before, found, after in (
        ("pass", [lost], "warn"),
        ("warn", [lost], "warn"),
        ("undecided", [lost], "undecided"),
        ("undecided", [lost, gone], "fail"),
        ("pass", [gone], "fail"),
        ("fail", [lost], "fail"),
    ):
        told = with_findings(Verdict(status=before, because="so it is"), found)
        assert told.status == after and told.because.startswith("On d ") and told.because.endswith("so it is")
    passing = Verdict(status="pass", because="3 pass")
    assert with_findings(passing, []) is passing and with_feed(passing, []) is passing
    told = with_feed(passing, [lost, gone])
    assert (told.status, told.because) == ("fail", f"3 pass. Missing: {gone.because} (and 1 more)")
    assert with_feed(Verdict(status="fail", because="1 fail"), [lost]).status == "fail"


def test_rows_that_belong_together_count_for_less() -> None:
    """300 rows of 20 groups may tell less than 50 independent ones."""
    few = RowCounts(used=300, groups=20, effective_n=34.4)
    told = "n=300 rows in 20 groups tell as much as 34 independent rows, fewer than the 50"
    window = window_verdict(300, {}, ThresholdsConfig(), few)
    scenario = scenario_verdict(300, 0.5, (0.4, 0.6), None, AuditThresholds(emid=0.2), few)
    for verdict in (window, scenario):
        assert verdict.status == "undecided" and verdict.because.startswith(told)
    enough = RowCounts(used=300, groups=100, effective_n=120.0)
    assert scenario_verdict(300, 0.5, (0.4, 0.6), None, AuditThresholds(emid=0.2), enough).status == "fail"
    assert "n=300 in 100 groups: no modality" in window_verdict(300, {}, ThresholdsConfig(), enough).because


def test_what_is_not_reliable_decides_nothing() -> None:
    verdict = scenario_verdict(
        400, 0.9, (0.8, 1.0), None, AT, unreliable="the encoders do not show the answers"
    )
    assert verdict.status == "undecided" and "not reliable: the encoders" in verdict.because
    both = AuditThresholds(emid=0.2, partial_bound=0.5)
    assert (
        scenario_verdict(400, 0.9, (0.8, 1.0), 0.6, both, unreliable="why").status == "fail"
    )  # by the bound


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["text", "response"], "the traffic that moved"),
        (["response"], "the model that moved"),
        (["response_given_input"], "the model that moved"),
        (["text_given_image"], "the traffic that moved"),
        (["image", "response", "response_given_input"], "the traffic that moved, and perhaps the model"),
        (["reference_given_input"], "what is correct that moved"),
    ],
)
def test_who_moved_is_named(names, told) -> None:
    assert what_moved(names) == f"it is {told}"
    found = {name: Divergence(p_value=0.0, p_adjusted=0.0, score=-0.5) for name in names}
    verdict = window_verdict(700, found, ThresholdsConfig())
    assert verdict.status == "fail" and told in verdict.because and "-0.50 standard dev" in verdict.because
