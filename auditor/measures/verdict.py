"""This module reaches verdicts: pass, warn, fail or undecided, each with the sentence that says why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from auditor.measures.families import DEPENDENCES, INPUTS
from schemas.config import AuditThresholds, DriftThresholds, ThresholdsConfig
from schemas.report import Divergence, Finding, Interval, Measures, RowCounts, Status, Variation, Verdict

_SEVERITY: tuple[Status, ...] = ("pass", "warn", "undecided", "fail")


def scenario_verdict(
    n: int,
    emid: float | None,
    interval: Interval | None,
    partial_bound: float | None,
    thresholds: AuditThresholds,
    rows: RowCounts | None = None,
    unreliable: str | None = None,
) -> Verdict:
    """Reach the verdict of one scenario under one model.

    Fail where the whole interval of EMID lies above `thresholds.emid`, warn where only the estimate does;
    the partial bound, which needs no references, is held against `thresholds.partial_bound`. Undecided where
    there are too few rows (`too_few_rows`), where a threshold is set and its measure is missing, or where
    EMID is not reliable (`unreliable`: why).
    """
    if thresholds.emid is None and thresholds.partial_bound is None:
        return Verdict(status="pass", because=f"no threshold is set; n={n}")
    if (few := too_few_rows(n, rows, thresholds.min_rows)) is not None:
        return Verdict(status="undecided", because=few)
    verdicts: list[Verdict] = []
    if thresholds.emid is not None:
        verdicts.append(
            _emid(n, emid, interval, thresholds.emid)
            if unreliable is None
            else Verdict(
                status="undecided",
                because=f"EMID is not reliable: {unreliable} (threshold {thresholds.emid:g}, config)",
            )
        )
    if thresholds.partial_bound is not None:
        verdicts.append(_partial(n, partial_bound, thresholds.partial_bound))
    return worst(verdicts)


def _emid(n: int, emid: float | None, interval: Interval | None, threshold: float) -> Verdict:
    if emid is None:
        return Verdict(
            status="undecided", because=f"EMID could not be computed (threshold {threshold:g}, config)"
        )
    facts = f"EMID {emid:.3f}" + (f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else "")
    facts += f" nats, n={n}, threshold {threshold:g} (config)"
    if interval is not None and interval[0] > threshold:
        return Verdict(status="fail", because=f"{facts}: the whole interval is above the threshold")
    if emid > threshold:
        why = "the interval reaches below it" if interval else "no interval"
        return Verdict(status="warn", because=f"{facts}: above the threshold, but {why}")
    return Verdict(status="pass", because=f"{facts}: not above the threshold")


def _partial(n: int, value: float | None, threshold: float) -> Verdict:
    if value is None:
        return Verdict(
            status="undecided",
            because=f"the partial bound could not be computed (threshold {threshold:g}, config)",
        )
    status: Status = "fail" if value > threshold else "pass"
    word = "above" if value > threshold else "not above"
    return Verdict(
        status=status,
        because=f"label-free partial bound {value:.3f}, n={n}: {word} the threshold {threshold:g} (config)",
    )


def too_few_rows(n: int, rows: RowCounts | None, least: int) -> str | None:
    """Return the sentence that says why n rows are too few for a verdict, None where they are enough. Rows
    that belong together count as the independent rows that tell as much (`RowCounts.effective_n`)."""
    if n < least:
        return f"n={n} rows, fewer than the {least} that a verdict needs"
    if rows is not None and rows.effective_n < least:
        return (
            f"n={n} rows in {rows.groups} groups tell as much as {rows.effective_n:.0f} independent rows, "
            f"fewer than the {least} that a verdict needs"
        )
    return None


def window_verdict(
    n: int,
    divergences: Mapping[str, Divergence],
    thresholds: ThresholdsConfig,
    rows: RowCounts | None = None,
    variation: Variation | None = None,
) -> Verdict:
    """Reach the verdict of one window of traffic: fail where a modality's Holm-adjusted p-value is at or
    below `thresholds.p_value`; undecided where there are too few rows (`too_few_rows`), or nothing could be
    tested.

    With `variation`, how far the window lies from the service's other windows, a fail needs an alarm of the
    windows, too. Warn where there is an alarm and the window's rows alone do not show it, and where its rows
    moved and it lies farther off than any other, which is no alarm yet.
    """
    if (few := too_few_rows(n, rows, thresholds.min_rows)) is not None:
        return Verdict(status="undecided", because=few)
    tested = {name: d for name, d in divergences.items() if d.p_adjusted is not None}
    if not tested:
        groups = f" in {rows.groups} groups" if rows is not None and rows.groups < n else ""
        return Verdict(status="undecided", because=f"n={n}{groups}: no modality could be tested")
    moved = sorted(
        (d.p_adjusted, name)
        for name, d in tested.items()
        if d.p_adjusted is not None and d.p_adjusted <= thresholds.p_value
    )
    facts = ", ".join(f"{name} p={d.p_adjusted:.4g}" + _size(d) for name, d in tested.items())
    rule = f"n={n}, Holm-adjusted over {len(tested)} tests, threshold {thresholds.p_value:g} (config)"
    names = [name for _, name in moved]
    if variation is not None:
        return _beside_others(names, f"{facts}; {rule}", variation)
    if names:
        return Verdict(
            status="fail", because=f"{', '.join(names)} moved: {what_moved(names)}; {facts}; {rule}"
        )
    return Verdict(status="pass", because=f"no modality moved: {facts}; {rule}")


def what_moved(names: Sequence[str]) -> str:
    """Say which of traffic, model and correct answers moved, from the tests that show a change.

    Answers that moved while no input did are the model's doing. Where inputs moved, other answers are to be
    expected; answers that go otherwise with what they answer may then be the model's doing or, of a new mix
    of inputs, that of the mix (`benchmarks/bench_dependence.py`).
    """
    traffic = [name for name in names if name in (*INPUTS, "text_given_image")]
    movers = []
    if "response_given_input" in names or ("response" in names and not traffic):
        movers.append("the model")
    if "reference_given_input" in names:
        movers.append("what is correct")
    if not traffic:
        return f"it is {' and '.join(movers)} that moved"
    return "it is the traffic that moved" + (f", and perhaps {' and '.join(movers)}" if movers else "")


@dataclass(frozen=True)
class LossRule:
    """By this rule a window is warned of that has lost relevance."""

    cross_fitted: bool
    """Whether critics are: others know the baseline's rows, and of quiet windows EMID is above zero, too."""
    level: float = 0.9
    """Of the intervals."""
    budget: float = 365.0
    """Of so many quiet windows one may be warned of. (Above the interval's lower end lie one in twenty of
    them, and a month of days nearly always had a warning.)"""

    def above_zero(self, emid: float, low: float) -> bool:
        """Return whether EMID with the interval's lower end `low` is further above zero than chance takes one
        quiet window in `budget`: the interval's lower half is stretched as a normal distribution is."""
        quantile = NormalDist().inv_cdf
        stretch = quantile(1 - 1 / self.budget) / quantile((1 + self.level) / 2)
        return self.cross_fitted and emid - stretch * (emid - low) > 0


def with_loss(verdict: Verdict, measures: Measures, thresholds: DriftThresholds, rule: LossRule) -> Verdict:
    """Turn the verdict of a window into a failure where all of EMID's interval lies above `thresholds.emid`,
    and a passing one into a warning where it lies above zero by `rule`. EMID that is not reliable says
    nothing."""
    interval = measures.intervals.emid
    if measures.emid is None or interval is None or measures.reliable is False:
        return verdict
    low, high = interval
    fact = f"relevance was lost, EMID {measures.emid:.3f} nats, interval [{low:.3f}, {high:.3f}]"
    if thresholds.emid is not None and low > thresholds.emid and verdict.status in ("pass", "warn"):
        limit = f"above the threshold {thresholds.emid:g} (config)"
        return Verdict(status="fail", because=f"{fact}, {limit}; {verdict.because}")
    if verdict.status == "pass" and rule.above_zero(measures.emid, low):
        beside = f"further above zero than in one quiet window of {rule.budget:g}"
        return Verdict(status="warn", because=f"{fact}, {beside}; {verdict.because}")
    return verdict


def _size(divergence: Divergence) -> str:
    if divergence.excess is not None:
        return f" (excess RJSD {divergence.excess:+.4f})"
    if divergence.score is not None:
        return f" (mean score {divergence.score:+.2f} standard deviations)"
    return ""


def _beside_others(moved: Sequence[str], facts: str, variation: Variation) -> Verdict:
    """Reach the verdict of a window of which `moved` moved by more than chance among rows, beside the other
    windows. How pairs go together is not compared from window to window: such a change alone is a warning."""
    names = ", ".join(moved)
    if moved:
        facts = f"{what_moved(moved)}; {facts}"
    place = variation.distance
    windows = f"rank {place.rank} of {place.of} windows by distance from the others"
    evidence = f"evidence of a change {variation.evidence:.3g}, an alarm begins at {variation.budget:g}"
    if variation.alarm and names:
        return Verdict(
            status="fail",
            because=f"{names} moved by more than chance among rows, and by more than this service varies "
            f"from window to window, since {variation.since}: {windows}; {evidence}; {facts}",
        )
    if variation.alarm:
        return Verdict(
            status="warn",
            because=f"the windows since {variation.since} together lie farther off than this service varies "
            f"from window to window, but no modality moved by more than chance among this window's rows: "
            f"{windows}; {evidence}; {facts}",
        )
    if names and place.rank == 1:
        return Verdict(
            status="warn",
            because=f"{names} moved by more than chance among rows, and this window lies farther off than "
            f"any other, which is not yet enough for an alarm: {windows}; {evidence}; {facts}",
        )
    if names:
        return Verdict(
            status="warn" if set(moved) & set(DEPENDENCES) else "pass",
            because=f"{names} moved by more than chance among rows, but not by more than this service varies "
            f"from window to window: {windows}; {evidence}; {facts}",
        )
    return Verdict(status="pass", because=f"no modality moved: {facts}; {windows}; {evidence}")


def with_findings(verdict: Verdict, findings: Sequence[Finding]) -> Verdict:
    """Let a verdict heed what is missing or spoilt: the tests of what is there say nothing of it. A failing
    finding fails, a warning makes a warning of a pass; either way the verdict names it first."""
    if not findings:
        return verdict
    facts = "; ".join(finding.because for finding in findings)
    status: Status = "fail" if any(finding.status == "fail" for finding in findings) else "warn"
    status = max(status, verdict.status, key=_SEVERITY.index)
    return Verdict(status=status, because=f"{facts}; {verdict.because}")


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the verdict that decides: fail before undecided before warn before pass; the first of its
    kind."""
    return max(verdicts, key=lambda v: _SEVERITY.index(v.status)) if verdicts else _NOTHING


def overall(verdicts: Mapping[str, Verdict]) -> Verdict:
    """Return one verdict for a report: the worst of its rows, saying how many there are of each kind."""
    if not verdicts:
        return _NOTHING
    decisive = worst(list(verdicts.values()))
    count = {s: sum(v.status == s for v in verdicts.values()) for s in _SEVERITY}
    tally = ", ".join(f"{count[s]} {s}" for s in reversed(_SEVERITY) if count[s])
    if decisive.status == "pass":
        return Verdict(status="pass", because=tally)
    name = next(name for name, v in verdicts.items() if v is decisive)
    return Verdict(status=decisive.status, because=f"{tally}. First: {name}: {decisive.because}")


def with_feed(verdict: Verdict, feed: Sequence[Finding]) -> Verdict:
    """Let the verdict of a report heed what is missing of the whole feed."""
    if not feed:
        return verdict
    more = f" (and {len(feed) - 1} more)" if len(feed) > 1 else ""
    decisive = next((f for f in feed if f.status == "fail"), feed[0])
    status = max(decisive.status, verdict.status, key=_SEVERITY.index)
    return Verdict(status=status, because=f"{verdict.because}. Missing: {decisive.because}{more}")


_NOTHING = Verdict(status="undecided", because="there was nothing to judge")

EXIT_CODES: dict[Status, int] = {"pass": 0, "warn": 0, "fail": 1, "undecided": 4}
"""Exit code of a finished job by its verdict; 2 and 3 belong to `auditor.errors`."""
