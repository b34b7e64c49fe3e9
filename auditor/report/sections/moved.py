"""This section shows how far each modality moved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from auditor.report import words
from auditor.report.legend import Legend
from auditor.report.numbers import interval, number, p_value, signed
from auditor.report.page import Page
from auditor.report.registry import section
from schemas.report import Divergence, Row

TEMPLATE = """\
<p class="lead">Excess divergence from the in-distribution records: 0 without a shift, whatever the number of rows. Bold with ● where the p-value is at most {{ view.heat.p_threshold }}. Hover for the rest.</p>
<div class="scroll tall card"><table class="heat sortable">
<thead><tr><th scope="col">{{ page.row_noun }}</th>{% for column in view.heat.columns %}<th scope="col" class="num">{{ column }}</th>{% endfor %}</tr></thead>
<tbody>
{% for line in view.heat.rows %}
<tr><th scope="row" title="{{ line.full }}">{{ line.name }}</th>
{% for cell in line.cells %}
{% if cell is none %}<td class="num" data-v="">–</td>{% else %}<td class="num h{{ cell.level }}" data-v="{{ cell.sort }}" title="{{ cell.title }}">{% if cell.moved %}<b>● {{ cell.text }}</b>{% else %}{{ cell.text }}{% endif %}</td>{% endif %}
{% endfor %}
</tr>
{% endfor %}
</tbody></table></div>
{% if view.descriptors %}
<details class="card"><summary>Plain facts of the rows (lengths, languages, image sizes)</summary>
<div class="scroll tall"><table class="sortable">
<thead><tr><th scope="col">{{ page.row_noun }}</th>{% if page.has_models %}<th scope="col">Model</th>{% endif %}{% for column in view.descriptors.columns %}<th scope="col" class="num">{{ column }}</th>{% endfor %}</tr></thead>
<tbody>
{% for scenario, model, values in view.descriptors.rows %}
<tr><th scope="row" title="{{ scenario }}">{{ names.scenario_names[scenario] }}</th>{% if page.has_models %}<td>{{ model or "–" }}</td>{% endif %}{% for value in values %}<td class="num">{{ value }}</td>{% endfor %}</tr>
{% endfor %}
</tbody></table></div></details>
{% endif %}
"""


class HeatCell(NamedTuple):
    text: str
    level: int
    """0 (no shift) to 8."""
    moved: bool
    title: str
    sort: str


class HeatRow(NamedTuple):
    name: str
    full: str
    cells: list[HeatCell | None]


class Heat(NamedTuple):
    columns: list[str]
    rows: list[HeatRow]
    p_threshold: float


class Descriptors(NamedTuple):
    columns: list[str]
    rows: list[tuple[str, str | None, list[str]]]


class Moved(NamedTuple):
    heat: Heat
    descriptors: Descriptors | None


@section("moved", order=50, title="What moved", template=TEMPLATE)
def moved(page: Page) -> Moved | None:
    """Return divergences as a table of colours, and plain facts of the rows."""
    heat = _heat(page.rows, page.names, page.report.run.thresholds.get("p_value", 0.01))
    return None if heat is None else Moved(heat, _descriptors(page.rows))


def _heat(rows: Sequence[Row], names: Legend, p_threshold: float) -> Heat | None:
    """Return a row a scenario; inputs once, since they do not depend on the model, responses once a model."""
    by_scenario: dict[str, list[Row]] = {}
    for row in rows:
        if row.divergences:
            by_scenario.setdefault(row.scenario, []).append(row)
    if not by_scenario:
        return None
    modalities = {name for row in rows for name in row.divergences}
    inputs = [name for name in ("image", "text", "joint") if name in modalities]
    models = [m for m in names.models if any(r.model == m and "response" in r.divergences for r in rows)]
    many = len(models) > 1
    columns = [words.MODALITY[name] for name in inputs]
    columns += [f"Responses of {names.model_names[m]}" if many else "Responses" for m in models]
    dependences = [name for name in words.DEPENDENCE if name in modalities]
    columns += [words.DEPENDENCE[name] for name in dependences]
    excesses = [d.excess or 0.0 for row in rows for d in row.divergences.values()]
    top = max(0.05, *excesses)  # at least 0.05, or noise alone would glow
    lines = []
    for scenario, scenario_rows in by_scenario.items():
        by_model = {row.model: row.divergences.get("response") for row in scenario_rows}
        all_cells = [scenario_rows[0].divergences.get(name) for name in inputs] + [
            by_model.get(model) for model in models
        ]
        # Windows, which alone are tested for these, have one model.
        all_cells += [scenario_rows[0].divergences.get(name) for name in dependences]
        cells = [
            None if d is None else _heat_cell(d, top, p_threshold, f"{scenario}: {column}")
            for d, column in zip(all_cells, columns, strict=True)
        ]
        lines.append(HeatRow(names.scenario_names[scenario], scenario, cells))
    return Heat(columns, lines, p_threshold)


def _heat_cell(divergence: Divergence, top: float, threshold: float, head: str) -> HeatCell:
    p = divergence.p_adjusted if divergence.p_adjusted is not None else divergence.p_value
    value = divergence.excess if divergence.excess is not None else divergence.value
    if divergence.score is not None:
        return _score_cell(divergence, p, threshold, head)
    share = max(divergence.excess or 0.0, 0.0) / top
    lines = [
        head,
        f"excess {number(divergence.excess)}, raw value {number(divergence.value)}",
        f"without a shift: {number(divergence.null_mean)} ± {number(divergence.null_std)}",
        f"corrected {number(divergence.corrected)} {interval(divergence.interval)}",
        f"p {p_value(divergence.p_value)}, adjusted {p_value(divergence.p_adjusted)}",
    ]
    if divergence.n is not None and divergence.n_id is not None:
        copies = ", paired" if divergence.paired else ""
        if divergence.n_copies and not divergence.paired:
            copies = f", {divergence.n_copies:,} of them copies of each other"
        lines.append(f"{divergence.n:,} rows against {divergence.n_id:,}{copies}")
    return HeatCell(
        number(value) + ("" if divergence.excess is not None or value is None else " raw"),
        round(8 * share),
        p is not None and p <= threshold,
        "\n".join(lines),
        "" if value is None else repr(value),
    )


def _score_cell(divergence: Divergence, p: float | None, threshold: float, head: str) -> HeatCell:
    lines = [
        head,
        f"mean score of how they go together {signed(divergence.score)} standard deviations",
        f"p {p_value(divergence.p_value)}, adjusted {p_value(divergence.p_adjusted)}",
        f"{divergence.n or 0:,} rows against {divergence.n_id or 0:,}",
    ]
    share = min(abs(divergence.score or 0.0), 1.0)
    moved = p is not None and p <= threshold
    return HeatCell(
        f"{signed(divergence.score, 2)} sd", round(8 * share), moved, "\n".join(lines), repr(divergence.score)
    )


def _descriptors(rows: Sequence[Row]) -> Descriptors | None:
    """Return plain facts of the rows."""
    columns = list(dict.fromkeys(name for row in rows for name in row.descriptors))
    if not columns:
        return None
    lines = [
        (row.scenario, row.model, [number(row.descriptors.get(name), 2) for name in columns])
        for row in rows
        if row.descriptors
    ]
    return Descriptors([name.replace("_", " ") for name in columns], lines)
