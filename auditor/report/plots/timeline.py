"""This drawing shows windows over time: verdicts, how far each modality moved, p-values against the
threshold, and EMID."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from markupsafe import Markup

from auditor.report import words
from auditor.report.numbers import interval, number, p_value
from auditor.report.svg import Axis, axis_over, drawing, el, group, line, mark, text, tick_label
from schemas.report import Row

LEFT, RIGHT, TOP, STRIP, GAP = 84.0, 18.0, 8.0, 22.0, 26.0
BARS, POINTS, LABELS = 92.0, 150.0, 64.0
LEAST_P = 1e-4


def timeline(rows: Sequence[Row], p_threshold: float | None, emid_threshold: float | None) -> Markup:
    """Draw all windows of one model, in their order."""
    step = min(84.0, max(9.0, 960.0 / len(rows)))
    right = LEFT + max(step * len(rows), 560.0)
    centres = [LEFT + step * (i + 0.5) for i in range(len(rows))]
    modalities = [m for m in words.MODALITY if any(m in row.divergences for row in rows)]
    dependences = [t for t in words.DEPENDENCE if any(t in row.divergences for row in rows)]
    colours = {name: f"m{i}" for i, name in enumerate([*modalities, *dependences])}
    parts = [_strip(rows, centres, step)]
    top = TOP + STRIP + GAP
    # One scale for all modalities, and one for all dependences: their bars are to be compared.
    for names, measure in ((modalities, EXCESS), (dependences, SCORE)):
        scale = [v for row in rows for name in names if (v := measure.of(row, name)) is not None]
        for name in names:
            parts.append(_bars(rows, centres, step, right, top, name, colours[name], measure, scale))
            top += BARS + GAP
    top += 8
    if any(d.p_adjusted is not None for row in rows for d in row.divergences.values()):
        parts.append(_p_values(rows, centres, right, top, colours, p_threshold))
        top += POINTS + GAP
    if any(row.variation is not None for row in rows):
        parts.append(_distances(rows, centres, step, right, top))
        top += POINTS + GAP
        parts.append(_evidence(rows, centres, right, top))
        top += POINTS + GAP
    if any(row.emid is not None and row.reliable is not False for row in rows):
        parts.append(_emid(rows, centres, right, top, emid_threshold))
        top += POINTS + GAP
    parts.append(_labels(rows, centres, step, top - GAP))
    return drawing(right + RIGHT, top - GAP + LABELS, f"{len(rows)} windows over time", group(parts))


class Measure(NamedTuple):
    """A measure of how far a window moved: what bars show."""

    title: str
    word: str
    field: Literal["excess", "score"]
    least: float
    """The axis reaches at least so far."""

    def of(self, row: Row, name: str) -> float | None:
        """Return the value of the window's test of this name; None where there is none."""
        divergence = row.divergences.get(name)
        return None if divergence is None else getattr(divergence, self.field)


EXCESS = Measure("excess divergence", "excess", "excess", 0.02)
SCORE = Measure("mean score, in standard deviations", "mean score", "score", 0.2)


def _window(row: Row) -> str:
    when = f"\n{row.start} to {row.end}" if row.start and row.end else ""
    return f"{row.scenario}{when}\n{row.n:,} rows"


def _strip(rows: Sequence[Row], centres: Sequence[float], step: float) -> Markup:
    parts = [text(LEFT - 10, TOP + 15, "Verdict", "label", "end")]
    width = max(step - 2, 4.0)
    for row, x in zip(rows, centres, strict=True):
        status = row.verdict.status
        tooltip = el("title", f"{_window(row)}\n{words.STATUS[status]}: {row.verdict.because}")
        parts.append(
            el(
                "rect",
                tooltip,
                x=x - width / 2,
                y=TOP,
                width=width,
                height=STRIP,
                rx=3,
                class_=f"cell s-{status}",
            )
        )
        if width >= 12:
            parts.append(text(x, TOP + 15.5, words.STATUS_SIGN[status], "sign"))
    return group(parts)


def _bars(
    rows: Sequence[Row],
    centres: Sequence[float],
    step: float,
    right: float,
    top: float,
    name: str,
    colour: str,
    measure: Measure,
    scale: Sequence[float],
) -> Markup:
    up = axis_over([*scale, measure.least], top + BARS, top, zero=True)
    parts = [_title(f"{words.TESTED[name]}: {measure.title}", top), *_lines(up, right, 3)]
    width = min(max(step * 0.7, 3.0), 46.0)
    for row, x in zip(rows, centres, strict=True):
        value = measure.of(row, name)
        if value is None:
            parts.append(text(x, top + BARS - 4, "–", "tick"))
            continue
        tooltip = (
            f"{_window(row)}\n{words.TESTED[name]}: {measure.word} {number(value)}, adjusted p "
            f"{p_value(row.divergences[name].p_adjusted)}"
        )
        y, zero = up(value), up(0.0)
        box = el(
            "rect",
            el("title", tooltip),
            x=x - width / 2,
            y=min(y, zero),
            width=width,
            height=max(abs(y - zero), 1.0),
            class_=f"bar {colour}",
        )
        parts.append(box)
    return group(parts)


def _p_values(
    rows: Sequence[Row],
    centres: Sequence[float],
    right: float,
    top: float,
    colours: Mapping[str, str],
    threshold: float | None,
) -> Markup:
    up = Axis(LEAST_P, 1.0, top + POINTS, top, log=True)
    parts = [_title("Adjusted p-value (lower: surer that it moved)", top), *_lines(up, right)]
    if threshold is not None:
        parts += _threshold(up(threshold), right, threshold)
    for i, (name, colour) in enumerate(colours.items()):
        offset = (i - (len(colours) - 1) / 2) * min(
            5.0, (centres[1] - centres[0]) / 6 if len(centres) > 1 else 5.0
        )
        for row, x in zip(rows, centres, strict=True):
            divergence = row.divergences.get(name)
            if divergence is not None and divergence.p_adjusted is not None:
                tooltip = f"{_window(row)}\n{words.TESTED[name]}: adjusted p {p_value(divergence.p_adjusted)}"
                parts.append(
                    mark("circle", x + offset, up(divergence.p_adjusted), f"dot small {colour}", tooltip)
                )
    return group(parts)


def _distances(
    rows: Sequence[Row], centres: Sequence[float], step: float, right: float, top: float
) -> Markup:
    """Draw how far each window lies from the others, over the band of the baseline's own windows."""
    places = [(row, x, row.variation.distance) for row, x in zip(rows, centres, strict=True) if row.variation]
    ends = [v for _, _, place in places for v in (place.value, *(place.band or ()))]
    up = axis_over(ends, top + POINTS, top, zero=True)
    parts = [_title("Distance from the other windows (band: nine tenths of the baseline's own)", top)]
    for _, x, place in places:
        if place.band is not None:
            low, high = up(place.band[0]), up(place.band[1])
            parts.append(
                el("rect", x=x - step / 2, y=high, width=step, height=max(low - high, 1.0), class_="band")
            )
    parts += _lines(up, right, 4)
    for row, x, place in places:
        tooltip = (
            f"{_window(row)}\ndistance {number(place.value)}: rank {place.rank} of {place.of} windows, 1 the "
            "farthest"
        )
        parts.append(mark("circle", x, up(place.value), "dot small m7", tooltip))
    return group(parts)


def _evidence(rows: Sequence[Row], centres: Sequence[float], right: float, top: float) -> Markup:
    """Draw the evidence of a change, against that at which an alarm begins."""
    variations = [(row, x, row.variation) for row, x in zip(rows, centres, strict=True) if row.variation]
    budget = variations[0][2].budget
    most = max(v.evidence for _, _, v in variations)
    up = Axis(0.1, 10 * max(budget, most), top + POINTS, top, log=True)
    parts = [_title("Evidence of a change, in windows", top), *_lines(up, right)]
    parts += _threshold(up(budget), right, budget)
    for row, x, variation in variations:
        alarm = f"\nalarm: a change began with {variation.since}" if variation.since else ""
        tooltip = (
            f"{_window(row)}\nevidence {number(variation.evidence)}, an alarm begins at {budget:g}{alarm}"
        )
        parts.append(mark("diamond", x, up(variation.evidence), "dot small m7", tooltip))
    return group(parts)


def _emid(
    rows: Sequence[Row], centres: Sequence[float], right: float, top: float, threshold: float | None
) -> Markup:
    rows = [row.model_copy(update={"emid": None}) if row.reliable is False else row for row in rows]
    values = [v for row in rows if row.emid is not None for v in (row.emid, *(row.intervals.emid or ()))]
    up = axis_over([*values, *([threshold] if threshold is not None else [])], top + POINTS, top, zero=True)
    parts = [_title("EMID (nats): relevance lost", top), *_lines(up, right, 4)]
    if threshold is not None:
        parts += _threshold(up(threshold), right, threshold)
    for row, x in zip(rows, centres, strict=True):
        if row.emid is None:
            continue
        if row.intervals.emid is not None:
            low, high = row.intervals.emid
            parts.append(line(x, up(low), x, up(high), "whisker m7"))
        tooltip = f"{_window(row)}\nEMID {number(row.emid)} {interval(row.intervals.emid)}"
        parts.append(mark("diamond", x, up(row.emid), "dot small m7", tooltip))
    return group(parts)


def _labels(rows: Sequence[Row], centres: Sequence[float], step: float, bottom: float) -> Markup:
    """Write the start of every so many windows, so that labels do not touch."""
    stride = max(1, -(-30 // int(step)))
    parts: list[Markup] = []
    for i in range(0, len(rows), stride):
        row = rows[i]
        transform = f"translate({centres[i] + 4:.1f},{bottom + 14:.1f}) rotate(-40)"
        label = row.start[:10] if row.start else row.scenario[:14]
        parts.append(
            el(
                "text",
                el("title", _window(row)),
                label,
                transform=transform,
                class_="tick",
                text_anchor="end",
            )
        )
    return group(parts)


def _title(words_: str, top: float) -> Markup:
    return text(LEFT, top - 10, words_, "label", "start")


def _lines(up: Axis, right: float, about: int = 5) -> list[Markup]:
    parts: list[Markup] = []
    for value in up.ticks(about):
        style = "zero" if abs(value) < 1e-12 else "grid"
        parts += [
            line(LEFT, up(value), right, up(value), style),
            text(LEFT - 8, up(value) + 4, tick_label(value), anchor="end"),
        ]
    return parts


def _threshold(y: float, right: float, value: float) -> list[Markup]:
    return [
        line(LEFT, y, right, y, "threshold"),
        text(right, y - 4, f"threshold {tick_label(value)}", "threshold-label", "end"),
    ]
