"""`sweep.html` shows how much the critic's hyperparameters matter, as a page of the report's kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from markupsafe import Markup

from auditor import __version__
from auditor.estimators.sweep import Summary
from auditor.report.html import asset, environment, policy
from auditor.report.numbers import number, plural
from auditor.report.plots.sensitivity import Point, common_axis, sensitivity
from auditor.report.tiles import Tile

LABEL = {"lr": "learning rate", "batch": "batch size", "hidden": "hidden units"}


class Panel(NamedTuple):
    title: str
    drawing: Markup


def sweep_html(lines: Sequence[Summary], budget: str, facts: Mapping[str, str]) -> str:
    """Return the page of a sweep's summary. `budget` is what was said before it started, `facts` what made
    it. The page is escaped and under the same policy as `report.html`."""
    css, js = asset("report.css"), asset("report.js")
    measure = "EMI" if any(line.emi is not None for line in lines) else "MI"
    points = {line: point for line in lines if (point := _point(line, measure)) is not None}
    up = common_axis(list(points.values()))
    panels = [
        Panel(
            LABEL.get(setting, setting),
            sensitivity([points[line] for line in chosen], up, measure, LABEL.get(setting, setting)),
        )
        for setting in dict.fromkeys(line.setting for line in points)
        if (chosen := [line for line in points if line.setting == setting])
    ]
    return (
        environment()
        .get_template("sweep.html.j2")
        .render(
            lines=lines,
            labels=LABEL,
            measure=measure,
            tiles=_tiles(list(points.values()), measure),
            panels=panels,
            budget=budget,
            facts=facts,
            version=__version__,
            css=css,
            js=js,
            policy=policy(css, js),
        )
    )


def _point(line: Summary, measure: str) -> Point | None:
    estimate, spread = (line.emi, line.emi_spread) if measure == "EMI" else (line.mi, line.mi_spread)
    return None if estimate is None else Point(line.value, estimate, spread or 0.0, line.seeds, line.default)


def _tiles(points: Sequence[Point], measure: str) -> list[Tile]:
    if not points:
        return []
    low, high = (end(p.estimate for p in points) for end in (min, max))
    tiles = [Tile(f"{measure}, all settings", f"{number(low)} to {number(high)}", "nats, held-out base ids")]
    base = next((p for p in points if p.base), None)
    if base is not None:
        spread = f"±{number(base.spread)} over {plural(base.seeds, 'seed')}" if base.seeds > 1 else "one seed"
        furthest = max(abs(p.estimate - base.estimate) for p in points)
        tiles = [
            Tile(f"{measure}, base setting", f"{number(base.estimate)} nats", spread),
            *tiles,
            Tile("Furthest from the base", f"{number(furthest)} nats", "one setting moved alone"),
        ]
    return tiles
