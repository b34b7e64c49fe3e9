"""This drawing shows EMI and quality side by side: the strengths of one shift stand together, from the
mildest to the most severe."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise

from markupsafe import Markup

from auditor.report import words
from auditor.report.legend import Legend
from auditor.report.numbers import interval, number
from auditor.report.svg import axis_over, drawing, el, group, line, mark, text, tick_label
from schemas.report import Interval, Row

LEFT, RIGHT, TOP, PANEL, GAP = 62.0, 16.0, 30.0, 170.0, 26.0
LONGEST = 24
"""Characters of a scenario's name that are shown."""

_STRENGTH = re.compile(r"[-_ ]?(\d+|easy|normal|hard)$")

Value = Callable[[Row], float | None]
Limits = Callable[[Row], Interval | None]
Panel = tuple[str, Value, Limits]

_PANELS: tuple[Panel, ...] = (
    ("EMI (nats)", lambda row: row.emi, lambda row: row.intervals.emi),
    ("Accuracy", lambda row: row.accuracy, lambda row: row.intervals.accuracy),
    ("Win rate", lambda row: row.win_rate, lambda row: None),
)


def profile(rows: Sequence[Row], legend: Legend) -> Markup | None:
    """Draw a panel a measure over a shared row of scenarios. None where there is no EMI or only one
    scenario."""
    panels = [panel for panel in _PANELS if any(panel[1](row) is not None for row in rows)]
    order = _order(rows)
    if not panels or panels[0][0] != "EMI (nats)" or len(order) < 2:
        return None
    step = min(70.0, max(17.0, 1002.0 / len(order)))
    centres = {scenario: LEFT + step * (i + 0.5) for i, scenario in enumerate(order)}
    right = LEFT + step * len(order)
    bottom = TOP + len(panels) * (PANEL + GAP) - GAP
    by_model: dict[str | None, list[Row]] = {}
    for row in sorted(rows, key=lambda row: centres[row.scenario]):
        by_model.setdefault(row.model, []).append(row)

    parts = [_families(order, centres, step, bottom)]
    for i, panel in enumerate(panels):
        top = TOP + i * (PANEL + GAP)
        parts.append(_panel(panel, by_model, centres, top, right, legend))
    labels = {scenario: _cut(legend.scenario_names[scenario]) for scenario in order}
    for scenario, cut in labels.items():
        transform = f"translate({centres[scenario] + 4:.1f},{bottom + 14:.1f}) rotate(-50)"
        parts.append(
            el("text", el("title", scenario), cut, transform=transform, class_="tick", text_anchor="end")
        )
    return drawing(
        right + RIGHT,
        bottom + 26 + 5.4 * max(map(len, labels.values())),
        f"EMI and quality of {len(order)} scenarios, by severity",
        group(parts),
    )


def severity(row: Row) -> float:
    """Return how far the inputs moved: √D over the input modalities (RJSD's excess, else its value)."""
    total = 0.0
    for name in ("image", "text"):
        divergence = row.divergences.get(name)
        if divergence is not None:
            distance = divergence.excess if divergence.excess is not None else divergence.value
            total += max(distance or 0.0, 0.0) ** 0.5
    return total


def series(row: Row) -> tuple[str | None, str]:
    """Return the series of a row's scenario. Scenarios of one series are one shift at several strengths: they
    share a family and, but for a number (or easy, normal, hard) at its end, their name."""
    return row.family, _STRENGTH.sub("", row.scenario)


def _cut(name: str) -> str:
    return name if len(name) <= LONGEST else name[: LONGEST // 2 - 1] + "…" + name[-LONGEST // 2 :]


def _order(rows: Sequence[Row]) -> dict[str, str | None]:
    """Return scenario -> family: families and series in their order (the ID rows first), then by severity."""
    first: dict[str, Row] = {}
    for row in rows:
        first.setdefault(row.scenario, row)
    families = list(dict.fromkeys(row.family for row in first.values()))
    together = list(dict.fromkeys(series(row) for row in first.values()))
    ordered = sorted(
        first.values(),
        key=lambda row: (
            row.family != "id",
            families.index(row.family),
            together.index(series(row)),
            severity(row),
        ),
    )
    return {row.scenario: row.family for row in ordered}


def _families(order: dict[str, str | None], centres: dict[str, float], step: float, bottom: float) -> Markup:
    """Draw a band and a name for every other family."""
    parts: list[Markup] = []
    for i, family in enumerate(dict.fromkeys(order.values())):
        places = [centres[scenario] for scenario, kind in order.items() if kind == family]
        left, width = min(places) - step / 2, max(places) - min(places) + step
        if i % 2 == 0:
            parts.append(el("rect", x=left, y=TOP - 22, width=width, height=bottom - TOP + 22, class_="band"))
        name = words.family(family) if width > 100 else "ID" if family == "id" else (family or "other")
        parts.append(text(left + width / 2, TOP - 9, name if width > 40 or len(name) < 5 else "", "label"))
    return group(parts)


def _panel(
    panel: Panel,
    by_model: dict[str | None, list[Row]],
    centres: dict[str, float],
    top: float,
    right: float,
    legend: Legend,
) -> Markup:
    label, value, limits = panel
    rows = [row for model_rows in by_model.values() for row in model_rows]
    values = [v for row in rows if (v := value(row)) is not None]
    up = axis_over([*values, *(v for row in rows for v in limits(row) or ())], top + PANEL, top)
    parts: list[Markup] = []
    for tick in up.ticks(4):
        parts += [
            line(LEFT, up(tick), right, up(tick), "grid"),
            text(LEFT - 8, up(tick) + 4, tick_label(tick), anchor="end"),
        ]
    transform = f"translate(14,{top + PANEL / 2:.0f}) rotate(-90)"
    parts.append(el("text", label, transform=transform, class_="axis", text_anchor="middle"))
    models = len(by_model)
    room = (right - LEFT) / len(centres)
    for j, (model, model_rows) in enumerate(by_model.items()):
        offset = (j - (models - 1) / 2) * min(6.0, room / (models + 1))
        colour = legend.models[model]
        points = [(centres[row.scenario] + offset, value(row), row) for row in model_rows]
        known = [(x, v, row) for x, v, row in points if v is not None]
        for (x1, v1, row1), (x2, v2, row2) in pairwise(known):
            if series(row1) == series(row2):
                parts.append(line(x1, up(v1), x2, up(v2), f"link {colour}"))
        for x, v, row in known:
            if (around := limits(row)) is not None:
                parts.append(line(x, up(around[0]), x, up(around[1]), f"whisker thin {colour}"))
            tooltip = f"{legend.title(row)}\n{label}: {number(v)} {interval(limits(row))}"
            parts.append(mark(legend.families[row.family], x, up(v), f"dot small {colour}", tooltip))
    return group(parts)
