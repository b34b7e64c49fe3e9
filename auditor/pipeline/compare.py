"""Is one model no worse than another by more than a margin? The report of a finished audit tells."""

from __future__ import annotations

from pathlib import Path

from auditor.measures import models
from auditor.report.store import Store
from schemas.report import Verdict


def compare(
    out: Path, new: str, current: str | None, *, margin: float, scenario: str | None, level: float
) -> Verdict:
    """Return the verdict on the latest run of the store in `out`: `margin` in nats, `level` one-sided,
    `current` the run's own if None, `scenario` the mean over all if None. Raises `BadInput` where the report
    lacks it."""
    report = Store(out).load_report()
    return models.compare(report, new, current, margin=margin, scenario=scenario, level=level)
