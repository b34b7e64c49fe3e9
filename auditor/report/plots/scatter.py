"""This drawing shows one measure against another, a point a scenario and model."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

from markupsafe import Markup

from auditor.report.legend import Legend
from auditor.report.numbers import number
from auditor.report.svg import Axis, axis_over, drawing, el, group, line, mark, text, tick_label
from schemas.report import Row

WIDTH, HEIGHT = 560.0, 380.0
LEFT, RIGHT, TOP, BOTTOM = 62.0, 14.0, 14.0, 48.0

Measure = Callable[[Row], float | None]


def scatter(
    rows: Sequence[Row], x: Measure, y: Measure, x_label: str, y_label: str, legend: Legend
) -> Markup | None:
    """Draw the points that have both measures, with the least-squares line through them; None below two."""
    points = [(a, b, row) for row in rows if (a := x(row)) is not None and (b := y(row)) is not None]
    if len(points) < 2:
        return None
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    across = axis_over(xs, LEFT, WIDTH - RIGHT)
    up = axis_over(ys, HEIGHT - BOTTOM, TOP)
    marks = [
        mark(
            legend.families[row.family],
            across(a),
            up(b),
            f"dot {legend.models[row.model]}",
            f"{legend.title(row)}\n{y_label}: {number(b)}\n{x_label}: {number(a)}",
        )
        for a, b, row in points
    ]
    return drawing(
        WIDTH,
        HEIGHT,
        f"{y_label} against {x_label}: {len(points)} points",
        frame(across, up, x_label, y_label),
        _trend(xs, ys, across, up),
        el("g", group(marks)),
    )


def frame(across: Axis, up: Axis, x_label: str, y_label: str) -> Markup:
    """Draw grid, ticks and labels."""
    parts: list[Markup] = []
    for value in across.ticks():
        parts += [
            line(across(value), up.start, across(value), up.end, "grid"),
            text(across(value), up.start + 17, tick_label(value)),
        ]
    for value in up.ticks():
        parts += [
            line(across.start, up(value), across.end, up(value), "zero" if abs(value) < 1e-12 else "grid"),
            text(across.start - 8, up(value) + 4, tick_label(value), anchor="end"),
        ]
    middle = (up.start + up.end) / 2
    parts += [
        text((across.start + across.end) / 2, up.start + 39, x_label, "axis"),
        el(
            "text",
            y_label,
            transform=f"translate(14,{middle:.0f}) rotate(-90)",
            class_="axis",
            text_anchor="middle",
        ),
    ]
    return group(parts)


def _trend(xs: Sequence[float], ys: Sequence[float], across: Axis, up: Axis) -> Markup:
    if len(xs) < 3 or len(set(xs)) < 2:
        return Markup("")
    slope, start = statistics.linear_regression(xs, ys)
    low, high = min(xs), max(xs)
    return line(across(low), up(start + slope * low), across(high), up(start + slope * high), "trend")
