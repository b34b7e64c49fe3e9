"""This drawing shows a model's EMI less the current one's: the mean over the scenarios, then a line each, the
worst first."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from auditor.measures.models import Pair
from auditor.report.legend import Legend
from auditor.report.numbers import interval, p_value, signed
from auditor.report.plots.forest import BOTTOM, FIRST, RIGHT, WIDTH, Forest, frame, limit, room
from auditor.report.svg import Axis, axis_over, drawing, el, group, line, mark, tick_label
from schemas.report import ComparedRow

MEAN = "Mean"
HEIGHT = 22.0


def differences(pair: Pair, legend: Legend) -> Forest | None:
    """Draw the differences of a pair of models; None where no scenario has a value."""
    if pair.mean.value is None:
        return None
    rows = [pair.mean, *sorted(pair.measured, key=_position)]
    margin = None if pair.mean.margin is None else -pair.mean.margin
    values = [v for row in rows for v in (_position(row), row.low, row.high, margin) if v is not None]
    axis = axis_over(values, room([_name(row, legend) for row in rows]), WIDTH - RIGHT, zero=True)
    head, tail = rows[: FIRST + 1], rows[FIRST + 1 :]
    return Forest(
        _draw(head, axis, margin, legend), _draw(tail, axis, margin, legend) if tail else None, len(tail)
    )


def _position(row: ComparedRow) -> float:
    """Return where the row's point is: the middle of the interval, where there is one."""
    return row.corrected if row.corrected is not None else row.value or 0.0


def _name(row: ComparedRow, legend: Legend) -> str:
    return MEAN if row.scenario is None else legend.scenario_names.get(row.scenario, row.scenario)


def _draw(rows: Sequence[ComparedRow], axis: Axis, margin: float | None, legend: Legend) -> Markup:
    names = [(_name(row, legend), row.scenario or "Mean over the scenarios") for row in rows]
    caption = f"EMI of {rows[0].new} less EMI of {rows[0].current} (nats): better to the right"
    parts, centres, bottom = frame(axis, names, [HEIGHT] * len(rows), caption)
    for row, y in zip(rows, centres, strict=True):
        colour = legend.models.get(row.new, "m7")
        estimate = f"{signed(_position(row))} {interval(row.interval)}"
        tooltip = f"{row.scenario or MEAN}\n{estimate}\np {p_value(row.p_value)}"
        if row.scenario is not None:
            tooltip += f", adjusted {p_value(row.p_adjusted)}"
        whisker = (
            [line(axis(row.low), y, axis(row.high), y, f"whisker {colour}")]
            if row.low is not None and row.high is not None
            else []
        )
        shape = "diamond" if row.scenario is None else "circle"
        parts.append(el("g", *whisker, mark(shape, axis(_position(row)), y, f"dot {colour}", tooltip)))
    if margin is not None:
        parts += limit(axis, margin, f"margin {tick_label(-margin)}", bottom)
    label = f"Differences of EMI of {rows[0].new} and {rows[0].current} with intervals"
    return drawing(WIDTH, bottom + BOTTOM, label, group(parts))
