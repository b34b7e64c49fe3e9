"""Is one model no worse than another by more than a margin? From the report of a finished audit."""

from __future__ import annotations

from pathlib import Path

from auditor.errors import BadInput
from auditor.measures.models import find, judge
from auditor.report.store import Store
from schemas.report import Verdict


def compare(
    out: Path, new: str, current: str | None, *, margin: float, scenario: str | None, level: float
) -> Verdict:
    """Verdict on the latest run of the store in `out`: `margin` in nats, `level` one-sided, `current` the
    run's own if None, `scenario` the mean over all if None. Raises `BadInput` where the report lacks it."""
    row = find(Store(out).load_report(), new, current, scenario)
    try:
        verdict = judge(row, margin, level)
    except ValueError as error:
        raise BadInput(f"--margin {margin:g} --level {level:g}: {error}") from error
    over = "mean over the scenarios" if row.scenario is None else row.scenario
    return Verdict(
        status=verdict.status, because=f"{row.new} against {row.current}, {over}: {verdict.because}"
    )
