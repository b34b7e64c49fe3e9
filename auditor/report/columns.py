"""The results of a report become a flat table, with a row a scenario (or window) and model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from auditor.report.words import MODALITY
from schemas.report import Divergence, Interval, LabelFree, Report, Row

FORMS = ("partial", "scaled")
"""Bounds that have a column."""

_PLAIN = (
    *("scenario", "model", "family", "start", "end"),
    *("n", "n_labelled", "n_emi", "quarantined", "accuracy", "win_rate"),
)
_DIVERGENCE = ("value", "excess", "p_adjusted")
COLUMNS = pa.schema(
    [
        ("scenario", pa.string()),
        ("model", pa.string()),
        ("family", pa.string()),
        ("start", pa.string()),
        ("end", pa.string()),
        *((name, pa.int64()) for name in ("n", "n_labelled", "n_emi", "quarantined")),
        *((name + end, pa.float64()) for name in ("emi", "emid") for end in ("", "_low", "_high")),
        ("reliable", pa.bool_()),
        *((f"{modality}_{name}", pa.float64()) for modality in MODALITY for name in _DIVERGENCE),
        *((f"bound_{form}", pa.float64()) for form in FORMS),
        *((f"label_free{end}", pa.float64()) for end in ("", "_low", "_high")),
        ("label_free_estimate", pa.string()),
        ("accuracy", pa.float64()),
        ("win_rate", pa.float64()),
        ("verdict", pa.string()),
        ("because", pa.string()),
    ]
)
"""In nats where a measure has a unit; what a report does not have is null. `label_free_estimate`: which of
the estimates without references is reported."""


def flat(report: Report) -> pa.Table:
    """Return the table, scenarios first, in the order of the report."""
    return pa.Table.from_pylist([_line(row) for row in (*report.scenarios, *report.windows)], schema=COLUMNS)


def _line(row: Row) -> dict[str, Any]:
    label_free = row.label_free or LabelFree()
    return {
        **{name: getattr(row, name) for name in _PLAIN},
        **_bounded("emi", row.emi, row.intervals.emi),
        **_bounded("emid", row.emid, row.intervals.emid),
        "reliable": row.reliable,
        **dict(_divergences(row)),
        **{f"bound_{form}": row.bounds[form].value for form in FORMS if form in row.bounds},
        "label_free": label_free.estimate,
        "label_free_low": label_free.low,
        "label_free_high": label_free.high,
        "label_free_estimate": label_free.voice,
        "verdict": row.verdict.status,
        "because": row.verdict.because,
    }


def _bounded(name: str, value: float | None, interval: Interval | None) -> dict[str, float | None]:
    low, high = interval or (None, None)
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def _divergences(row: Row) -> Iterable[tuple[str, float | None]]:
    for modality in MODALITY:
        divergence = row.divergences.get(modality, Divergence())
        for name in _DIVERGENCE:
            yield f"{modality}_{name}", getattr(divergence, name)
