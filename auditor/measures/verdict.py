"""This module reaches verdicts: pass, warn, fail or undecided, each with the sentence that says why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from auditor.measures.divergences import article
from auditor.measures.shares import Share
from schemas.config import AuditThresholds, ThresholdsConfig
from schemas.report import Divergence, Interval, Status, Verdict

_SEVERITY: tuple[Status, ...] = ("pass", "warn", "undecided", "fail")


def scenario_verdict(
    n: int,
    emid: float | None,
    interval: Interval | None,
    partial_bound: float | None,
    thresholds: AuditThresholds,
    unreliable: str | None = None,
) -> Verdict:
    """Reach the verdict of one scenario under one model.

    Fail where the whole interval of EMID lies above `thresholds.emid`, warn where only the estimate does;
    the partial bound, which needs no references, is held against `thresholds.partial_bound`. Undecided below
    `thresholds.min_rows`, or where a threshold is set and its measure is missing, or EMID is not reliable
    (`unreliable`: why).
    """
    if thresholds.emid is None and thresholds.partial_bound is None:
        return Verdict(status="pass", because=f"no threshold is set; n={n}")
    if n < thresholds.min_rows:
        return Verdict(
            status="undecided",
            because=f"n={n} rows, fewer than the {thresholds.min_rows} that a verdict needs",
        )
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


def window_verdict(n: int, divergences: Mapping[str, Divergence], thresholds: ThresholdsConfig) -> Verdict:
    """Reach the verdict of one window of traffic: fail where a modality's Holm-adjusted p-value is at or
    below `thresholds.p_value`; undecided below `thresholds.min_rows`."""
    if n < thresholds.min_rows:
        return Verdict(
            status="undecided",
            because=f"n={n} rows, fewer than the {thresholds.min_rows} that a verdict needs",
        )
    tested = {name: d for name, d in divergences.items() if d.p_adjusted is not None}
    if not tested:
        return Verdict(status="undecided", because=f"n={n}: no modality could be tested")
    moved = sorted(
        (d.p_adjusted, name)
        for name, d in tested.items()
        if d.p_adjusted is not None and d.p_adjusted <= thresholds.p_value
    )
    facts = ", ".join(
        f"{name} p={d.p_adjusted:.4g}" + (f" (excess RJSD {d.excess:+.4f})" if d.excess is not None else "")
        for name, d in tested.items()
    )
    rule = f"n={n}, Holm-adjusted over {len(tested)} modalities, threshold {thresholds.p_value:g} (config)"
    if moved:
        names = ", ".join(name for _, name in moved)
        return Verdict(status="fail", because=f"{names} moved: {facts}; {rule}")
    return Verdict(status="pass", because=f"no modality moved: {facts}; {rule}")


def with_shares(verdict: Verdict, shares: Sequence[Share], thresholds: ThresholdsConfig) -> Verdict:
    """Turn a passing verdict of a window into a warning where another share of its rows than in the baseline
    has an image, or a text: the modalities' own tests are of the rows that have it."""
    moved = [s for s in shares if s.p_value <= thresholds.p_value]
    if verdict.status != "pass" or not moved:
        return verdict
    facts = ", ".join(
        f"{s.q:.0%} of the rows have {article(s.content)} ({s.p:.0%} in the baseline, p={s.p_value:.2g})"
        for s in moved
    )
    return Verdict(status="warn", because=f"{facts}; {verdict.because}")


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


_NOTHING = Verdict(status="undecided", because="there was nothing to judge")

EXIT_CODES: dict[Status, int] = {"pass": 0, "warn": 0, "fail": 1, "undecided": 4}
"""Exit code of a finished job by its verdict; 2 and 3 belong to `auditor.errors`."""
