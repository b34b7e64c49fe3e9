"""This section shows which slices have the drift."""

from __future__ import annotations

from typing import NamedTuple

from markupsafe import Markup

from auditor.report import words
from auditor.report.numbers import percent
from auditor.report.page import Page
from auditor.report.registry import section
from auditor.report.svg import Axis, drawing, el, line
from schemas.report import WHERE

TEMPLATE = """\
<p class="lead">Slices of what moved by more than chance, of each kind the greatest excess first: what a slice has of the divergence beyond an even share for its rows. The bar is its share of the divergence, the line its share of the rows; where they nearly meet, the shift is everywhere and the slice is no culprit. Tags overlap, so their shares need not add up.</p>
{% for scenario in view %}
<details class="card"{% if loop.first or view|length <= 3 %} open{% endif %}><summary title="{{ scenario.full }}">{{ scenario.name }} <small>{{ plural(scenario.lines|length, "slice") }}</small></summary>
<div class="scroll"><table class="sortable">
<thead><tr><th scope="col">Slice</th><th scope="col">Kind</th><th scope="col">Moved</th><th scope="col" class="num">Rows</th><th scope="col" class="num">Of the rows</th><th scope="col" class="num">Of ID rows</th><th scope="col" class="num">Of the divergence</th><th scope="col"></th><th scope="col" class="num">Excess (nats)</th></tr></thead>
<tbody>
{% for line in scenario.lines %}
<tr><th scope="row" dir="auto">{{ line.name }}</th><td>{{ line.kind }}</td><td>{{ line.modality }}</td><td class="num">{{ line.rows|count }}</td><td class="num">{{ line.of_rows }}</td><td class="num">{{ line.of_id_rows }}</td><td class="num">{{ line.of_divergence }}</td><td class="share">{{ line.bar }}</td><td class="num" data-v="{{ line.excess }}">{{ line.excess|number(4) }}</td></tr>
{% endfor %}
</tbody></table></div></details>
{% endfor %}
"""


class SliceLine(NamedTuple):
    modality: str
    kind: str
    name: str
    rows: int
    of_rows: str
    of_id_rows: str
    of_divergence: str
    bar: Markup
    excess: float


class SliceTable(NamedTuple):
    name: str
    full: str
    lines: list[SliceLine]


NAME_CHARS = 120
"""Characters of a slice's name that are shown: tags are data, of any length."""


@section("where", order=60, title="Where the drift is", template=TEMPLATE)
def where(page: Page) -> list[SliceTable] | None:
    """Return the slices of each scenario or window that moved, in the order of the table."""
    lines_of: dict[str, list[SliceLine]] = {}
    names = page.names
    many = len(names.models) > 1
    for row in page.report.tables.get(WHERE, ()):
        modality = words.MODALITY.get(row["modality"]) or str(row["modality"])
        if many and row["model"] is not None:
            modality += f" of {row['model']}"
        name = str(row["name"])
        lines_of.setdefault(row["scenario"], []).append(
            SliceLine(
                modality,
                row["slice"],
                name if len(name) <= NAME_CHARS else name[: NAME_CHARS - 1] + "…",
                row["rows"],
                percent(row["share_of_rows"], 1),
                percent(row["share_of_id_rows"], 1),
                percent(row["share_of_divergence"], 1),
                _share_bar(row["share_of_divergence"], row["share_of_rows"]),
                row["excess"],
            )
        )
    return [SliceTable(names.scenario_names.get(s, s), s, lines) for s, lines in lines_of.items()] or None


def _share_bar(of_divergence: float, of_rows: float) -> Markup:
    """Draw the share of the divergence, with a line at the share of the rows."""
    across = Axis(0.0, 1.0, 0.0, 120.0)
    label = f"{percent(of_divergence, 1)} of the divergence, {percent(of_rows, 1)} of the rows"
    return drawing(
        120,
        12,
        label,
        el("rect", x=0, y=1, width=120, height=10, rx=2, class_="band"),
        el("rect", x=0, y=1, width=across(of_divergence), height=10, rx=2, class_="bar m1"),
        line(across(of_rows), 0, across(of_rows), 12, "zero"),
    )
