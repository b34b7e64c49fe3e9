"""This drawing shows an estimate by the value of one hyperparameter: Figure 7's panels, with nats for want of
a win rate."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from markupsafe import Markup

from auditor.report.numbers import number, plural
from auditor.report.svg import Axis, axis_over, drawing, group, line, mark, text, tick_label

WIDTH, LEFT, RIGHT, TOP, PANEL, LABELS = 440.0, 62.0, 12.0, 12.0, 170.0, 30.0


class Point(NamedTuple):
    """A point is the estimate (nats) at one value of a setting, with its standard deviation over the
    seeds."""

    value: float
    estimate: float
    spread: float
    seeds: int
    base: bool


def common_axis(points: Sequence[Point]) -> Axis:
    """Return one scale for all panels, so that they can be compared."""
    ends = [end for p in points for end in (p.estimate - p.spread, p.estimate + p.spread)]
    return axis_over(ends, TOP + PANEL, TOP)


def sensitivity(points: Sequence[Point], up: Axis, measure: str, label: str) -> Markup:
    """Draw a panel, in the order of the points: whiskers over the seeds, a diamond and a line at the base."""
    step = (WIDTH - LEFT - RIGHT) / max(len(points), 1)
    centres = [LEFT + step * (i + 0.5) for i in range(len(points))]
    parts: list[Markup] = []
    for tick in up.ticks(4):
        parts += [
            line(LEFT, up(tick), WIDTH - RIGHT, up(tick), "grid"),
            text(LEFT - 8, up(tick) + 4, tick_label(tick), anchor="end"),
        ]
    parts += [line(LEFT, up(p.estimate), WIDTH - RIGHT, up(p.estimate), "trend") for p in points if p.base]
    for (x1, first), (x2, second) in pairwise(zip(centres, points, strict=True)):
        parts.append(line(x1, up(first.estimate), x2, up(second.estimate), "link m0"))
    for x, p in zip(centres, points, strict=True):
        colour = "m1" if p.base else "m0"
        if p.seeds > 1:
            parts.append(
                line(x, up(p.estimate - p.spread), x, up(p.estimate + p.spread), f"whisker {colour}")
            )
        tooltip = f"{label} {p.value:g}{' (base)' if p.base else ''}\n{measure} {number(p.estimate)} nats"
        if p.seeds > 1:
            tooltip += f" ± {number(p.spread)} over {plural(p.seeds, 'seed')}"
        parts.append(mark("diamond" if p.base else "circle", x, up(p.estimate), f"dot {colour}", tooltip))
        parts.append(text(x, TOP + PANEL + 18, f"{p.value:g}", "label" if p.base else "tick"))
    return drawing(WIDTH, TOP + PANEL + LABELS, f"{measure} by {label}", group(parts))
