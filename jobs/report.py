"""Make report.html and report.json again from a store.

python -m jobs.report --out DIR
"""

from __future__ import annotations

from pathlib import Path

from auditor.report import write_reports
from auditor.report.store import Store
from schemas.report import Report


def report(out: Path, run_id: str | None = None) -> Report:
    """Both reports of a run (default: the latest) of the store in `out`. Raises `BadInput` where there is no
    store, or no such run."""
    store = Store(out)
    chosen = store.load_report(run_id)
    write_reports(chosen, out, store.load_examples(chosen.run.run_id))
    return chosen


if __name__ == "__main__":
    from jobs.cli import run_job

    run_job("report")
