"""This section compares models with the current one."""

from __future__ import annotations

from typing import NamedTuple

from auditor.measures.models import Pair, pairs
from auditor.report import words
from auditor.report.cells import Cell, sort_key
from auditor.report.legend import Legend
from auditor.report.numbers import count, interval, number, p_value, plural, signed
from auditor.report.page import Page
from auditor.report.plots.differences import differences
from auditor.report.plots.forest import Forest
from auditor.report.registry import section
from schemas.report import ComparedRow

TEMPLATE = """\
<p class="lead">EMI of each model less EMI of {{ view[0].pair.mean.current }} in nats, on the same records and with the same critics: positive where the model is better. {{ run.interval_level|percent }} intervals. The in-distribution records count as a scenario.</p>
{% for comparison in view %}{% set mean = comparison.pair.mean %}
<details class="card"{% if loop.index <= 3 %} open{% endif %}><summary><svg viewBox="-7 -7 14 14" width="12" height="12" aria-hidden="true"><circle r="5" class="dot {{ comparison.colour }}"></circle></svg> {{ mean.new }} <small>against {{ mean.current }}</small></summary>
<p>{{ comparison.sentence }}</p>
{% if mean.status is not none %}<p>{{ pill(mean) }} Not worse by more than {{ mean.margin }} nats? {{ mean.because }}</p>{% endif %}
{% if comparison.hint %}<p class="hint">{{ comparison.hint }}</p>{% endif %}
{% if comparison.plot is not none %}{{ folded(comparison.plot) }}{% endif %}
<details><summary>All numbers</summary><div class="scroll tall"><table class="sortable">
<thead><tr><th scope="col">Scenario</th>{% for column in view[0].columns %}<th scope="col" class="num">{{ column }}</th>{% endfor %}<th scope="col">Why missing</th></tr></thead>
<tbody>
{% for line in comparison.lines %}
<tr><th scope="row" title="{{ line.full }}">{{ line.name }}</th>{% for cell in line.cells %}<td class="num" data-v="{{ cell.sort }}">{{ cell.text }}{% if cell.detail %}<small>{{ cell.detail }}</small>{% endif %}</td>{% endfor %}<td class="why"><small>{{ line.why }}</small></td></tr>
{% endfor %}
</tbody></table></div></details>
</details>
{% endfor %}
"""


class ComparedLine(NamedTuple):
    name: str
    full: str
    cells: list[Cell]
    why: str
    """Why it was left out, or has no interval."""


class ComparedPair(NamedTuple):
    pair: Pair
    colour: str
    sentence: str
    hint: str
    plot: Forest | None
    columns: tuple[str, ...]
    lines: list[ComparedLine]
    """The mean, then the scenarios."""


COLUMNS = ("Difference", "Corrected", "Std", "p", "Adjusted p", "Blocks", "Rows")
"""Columns of a pair's table."""


@section("compared", order=30, title="Models compared", template=TEMPLATE)
def compared(page: Page) -> list[ComparedPair] | None:
    """Compare each model with the current one."""
    names, views = page.names, []
    for pair in pairs(page.report):
        unequal = sum(row.n_new != row.n_current for row in pair.measured)
        hint = f"In {plural(unequal, 'scenario')} the two do not have equally many rows: they differ in these too."
        views.append(
            ComparedPair(
                pair,
                names.models.get(pair.mean.new, "m7"),
                words.compared(pair),
                hint if unequal else "",
                differences(pair, names),
                COLUMNS,
                [_line(row, names) for row in (pair.mean, *pair.scenarios)],
            )
        )
    return views or None


def _line(row: ComparedRow, names: Legend) -> ComparedLine:
    rows = count(row.n_new)
    if row.n_new != row.n_current:
        rows += f" against {count(row.n_current)}"
    cells = [
        Cell(signed(row.value), sort=sort_key(row.value)),
        Cell(signed(row.corrected), interval(row.interval), sort_key(row.corrected)),
        Cell(number(row.std), sort=sort_key(row.std)),
        Cell(p_value(row.p_value), sort=sort_key(row.p_value)),
        Cell(p_value(row.p_adjusted), sort=sort_key(row.p_adjusted)),
        Cell(count(row.blocks), sort=sort_key(row.blocks)),
        Cell(rows, sort=sort_key(row.n_new)),
    ]
    if row.scenario is None:
        return ComparedLine("Mean", "The mean over the scenarios", cells, row.reason or "")
    name = names.scenario_names.get(row.scenario, row.scenario)
    return ComparedLine(name, row.scenario, cells, row.reason or "")
