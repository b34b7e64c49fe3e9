"""This section shows the table of all results."""

from __future__ import annotations

from typing import NamedTuple

from auditor.report import words
from auditor.report.cells import Cell, TableRow, bound_cell, estimate_cell, relevance_cell
from auditor.report.numbers import NONE, interval
from auditor.report.page import Page
from auditor.report.registry import section

TEMPLATE = """\
<p class="lead">{{ plural(page.rows|length, "result") }}, values in nats, {{ run.interval_level|percent }} intervals in brackets. Press a column's name to sort{% if page.rows|length > 12 %}, type to filter{% endif %}.{% if view.incomplete %} * marks a bound that lacks a term.{% endif %}</p>
{% if page.rows|length > 12 %}<p class="filter"><label>Filter <input type="search" id="filter" placeholder="scenario, model, verdict" autocomplete="off"></label> <span id="shown" aria-live="polite"></span></p>{% endif %}
<div class="scroll tall card"><table id="main" class="sortable">
<thead><tr>
<th scope="col">{{ page.row_noun }}</th>
{% if page.has_models %}<th scope="col">Model</th>{% endif %}
<th scope="col">Verdict</th>
{% if page.has_times %}<th scope="col">From</th><th scope="col">To</th>{% endif %}
{% if view.families|length > 1 %}<th scope="col">Family</th>{% endif %}
<th scope="col" class="num">Rows</th>
{% for column in view.columns %}<th scope="col" class="num"{% if column in view.titles %} title="{{ view.titles[column] }}"{% endif %}>{{ column }}</th>{% endfor %}
<th scope="col">Why</th>
</tr></thead>
<tbody>
{% for line in view.rows %}
<tr>
<th scope="row" title="{{ line.row.scenario }}">{{ line.name }}</th>
{% if page.has_models %}<td class="model"><svg viewBox="-7 -7 14 14" width="12" height="12" aria-hidden="true"><circle r="5" class="dot {{ line.colour }}"></circle></svg> {{ line.row.model or "–" }}</td>{% endif %}
<td data-v="{{ ORDER[line.row.verdict.status] }}">{{ pill(line.row.verdict) }}</td>
{% if page.has_times %}<td class="time">{{ (line.row.start or "–")[:16]|replace("T", " ") }}</td><td class="time">{{ (line.row.end or "–")[:16]|replace("T", " ") }}</td>{% endif %}
{% if view.families|length > 1 %}<td title="{{ line.row.family|family }}">{{ line.row.family or "–" }}</td>{% endif %}
<td class="num" data-v="{{ line.row.n }}">{{ line.row.n|count }}{% if line.row|rows_told %}<small title="rows of one group are not independent: together they tell as much as so many independent ones">{{ line.row|rows_told }}</small>{% endif %}{% if line.row.quarantined %}<small title="rows set aside">−{{ line.row.quarantined|count }} set aside</small>{% endif %}</td>
{% for cell in line.cells %}
<td class="num" data-v="{{ cell.sort }}"{% if cell.warn %} title="{{ cell.warn }}"{% endif %}>{{ cell.text }}{% if cell.detail %}<small>{{ cell.detail }}</small>{% endif %}</td>
{% endfor %}
<td class="why"><small title="{{ line.row.verdict.because }}">{{ line.row.verdict.because }}</small></td>
</tr>
{% endfor %}
</tbody></table></div>
"""


class Results(NamedTuple):
    columns: list[str]
    titles: dict[str, str]
    """What hovering over a column's name says."""
    rows: list[TableRow]
    families: list[str | None]
    incomplete: bool
    """Whether some bound lacks a term."""


@section("results", order=20, title="Results", template=TEMPLATE)
def results(page: Page) -> Results | None:
    """Return the columns that hold a value in some row; a column of dashes only would say nothing."""
    rows, names = page.rows, page.names
    if not rows:
        return None
    forms = [form for form in ("scaled", "partial") if any(form in row.bounds for row in rows)]
    candidates: list[tuple[str, list[Cell]]] = [
        ("EMI", [relevance_cell(row, row.emi, interval(row.intervals.emi), row.emi_spread) for row in rows]),
        (
            "EMID",
            [relevance_cell(row, row.emid, interval(row.intervals.emid), row.emid_spread) for row in rows],
        ),
        *(
            (form.capitalize() + " bound", [bound_cell(row.bounds.get(form)) for row in rows])
            for form in forms
        ),
        ("Accuracy", [estimate_cell(row.accuracy, interval(row.intervals.accuracy, 2)) for row in rows]),
        ("Win rate", [estimate_cell(row.win_rate) for row in rows]),
    ]
    columns = [(label, cells) for label, cells in candidates if any(cell.text != NONE for cell in cells)]
    return Results(
        columns=[label for label, _ in columns],
        titles={"Accuracy": words.accuracy(page.report.run.grader)},
        rows=[
            TableRow(row, names.name(row), names.models[row.model], [cells[i] for _, cells in columns])
            for i, row in enumerate(rows)
        ],
        families=list(dict.fromkeys(row.family for row in rows)),
        incomplete=any(b.value is not None and not b.complete for row in rows for b in row.bounds.values()),
    )
