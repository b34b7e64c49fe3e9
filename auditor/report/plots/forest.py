"""This drawing shows EMID with its interval, a line a scenario, the greatest loss first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from auditor.report import words
from auditor.report.legend import Legend
from auditor.report.numbers import interval, number
from auditor.report.svg import Axis, axis_over, drawing, el, group, line, mark, text, tick_label
from schemas.report import Row

WIDTH, RIGHT, TOP, BOTTOM = 1080.0, 20.0, 26.0, 40.0
FIRST = 24
"""Scenarios drawn before the rest, which is folded away."""


@dataclass(frozen=True, slots=True)
class Forest:
    first: Markup
    rest: Markup | None
    rest_count: int


def forest(rows: Sequence[Row], threshold: float | None, legend: Legend) -> Forest | None:
    """Draw the EMID of each row; None where no row has an EMID."""
    measured = [row for row in rows if row.emid is not None and row.family != "id"]
    if not measured:
        return None
    by_scenario: dict[str, list[Row]] = {}
    for row in measured:
        by_scenario.setdefault(row.scenario, []).append(row)
    ordered = sorted(by_scenario.values(), key=lambda group_: -max(row.emid or 0.0 for row in group_))
    values = [v for row in measured for v in (row.emid, *(row.intervals.emid or ())) if v is not None]
    left = room([legend.name(row) for row in measured])
    axis = axis_over(
        [*values, *([threshold] if threshold is not None else [])], left, WIDTH - RIGHT, zero=True
    )
    head, tail = ordered[:FIRST], ordered[FIRST:]
    return Forest(
        _draw(head, axis, threshold, legend),
        _draw(tail, axis, threshold, legend) if tail else None,
        len(tail),
    )


def _draw(scenarios: Sequence[Sequence[Row]], axis: Axis, threshold: float | None, legend: Legend) -> Markup:
    heights = [max(22.0, 9.0 * len(rows) + 9.0) for rows in scenarios]
    names = [(legend.name(rows[0]), rows[0].scenario) for rows in scenarios]
    parts, centres, bottom = frame(axis, names, heights, "EMID (nats): relevance lost")
    for rows, centre in zip(scenarios, centres, strict=True):
        for j, row in enumerate(rows):
            parts.append(_estimate(row, axis, centre + 9.0 * (j - (len(rows) - 1) / 2), legend))
    if threshold is not None:
        parts += limit(axis, threshold, f"threshold {tick_label(threshold)}", bottom)
    return drawing(WIDTH, bottom + BOTTOM, f"EMID with intervals of {len(scenarios)} scenarios", group(parts))


def frame(
    axis: Axis, names: Sequence[tuple[str, str]], heights: Sequence[float], caption: str
) -> tuple[list[Markup], list[float], float]:
    """Return the bands, grid and names (as shown, in full) of lines of these heights, the lines' centres, and
    their end."""
    bottom = TOP + sum(heights)
    edges = [TOP + sum(heights[:i]) for i in range(len(heights))]
    centres = [top + height / 2 for top, height in zip(edges, heights, strict=True)]
    parts = [
        el("rect", x=0, y=top, width=WIDTH, height=height, class_="band")
        for top, height in list(zip(edges, heights, strict=True))[::2]
    ]
    for value in axis.ticks(8):
        parts += [
            line(axis(value), TOP, axis(value), bottom, "zero" if abs(value) < 1e-12 else "grid"),
            text(axis(value), bottom + 17, tick_label(value)),
        ]
    for (name, full), centre in zip(names, centres, strict=True):
        label = text(axis.start - 12, centre + 4, _cut(name), "label", "end")
        parts.append(el("g", el("title", full), label))
    parts.append(text((axis.start + axis.end) / 2, bottom + 35, caption, "axis"))
    return parts, centres, bottom


def limit(axis: Axis, value: float, label: str, bottom: float) -> list[Markup]:
    """Draw a dashed line across all, with what it stands for."""
    return [
        line(axis(value), TOP - 6, axis(value), bottom, "threshold"),
        text(axis(value), TOP - 11, label, "threshold-label"),
    ]


def room(names: Sequence[str]) -> float:
    """Return the pixels that the longest name takes, as it is shown."""
    return 30.0 + 7.0 * max(len(_cut(name)) for name in names)


def _estimate(row: Row, axis: Axis, y: float, legend: Legend) -> Markup:
    colour = legend.models[row.model]
    parts: list[Markup] = []
    if row.intervals.emid is not None:
        low, high = row.intervals.emid
        parts.append(line(axis(low), y, axis(high), y, f"whisker {colour}"))
    tooltip = f"{legend.title(row)}\nEMID {number(row.emid)} {interval(row.intervals.emid)}\n"
    tooltip += f"{words.STATUS[row.verdict.status]}: {row.verdict.because}"
    parts.append(mark(legend.families[row.family], axis(row.emid or 0.0), y, f"dot {colour}", tooltip))
    return el("g", group(parts))


def _cut(name: str) -> str:
    return name if len(name) <= 36 else name[:17] + "…" + name[-18:]
