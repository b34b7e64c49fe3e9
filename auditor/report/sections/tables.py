"""This section shows the report's tables, as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from auditor.measures.models import TABLE
from auditor.report.page import Page
from auditor.report.registry import section
from schemas.report import WHERE, Correlation

TEMPLATE = """\
{% if view.correlations %}
<details class="card"{% if view.correlations|length <= 8 %} open{% endif %}><summary>Correlations over scenarios</summary>
<div class="scroll tall"><table class="sortable">
<thead><tr><th scope="col">Measure</th><th scope="col">held against</th><th scope="col">Models</th><th scope="col">Kind</th><th scope="col" class="num">Value</th><th scope="col" class="num">Ceiling</th><th scope="col" class="num">Scenarios</th></tr></thead>
<tbody>
{% for c in view.correlations %}
<tr><th scope="row">{{ c.y|measure }}</th><td>{{ c.x|measure }}</td><td>{{ c.model or "all" }}</td><td>{{ c.kind }}</td><td class="num">{{ c.value|number(2) }}</td><td class="num">{{ c.ceiling|number(2) }}</td><td class="num">{{ c.n }}</td></tr>
{% endfor %}
</tbody></table></div>
<p class="hint">The ceiling is what a perfect measure would reach, since the truth is itself measured on few rows.</p></details>
{% endif %}
{% for name, rows in view.tables.items() %}
<details class="card"><summary>{{ name }} <small>{{ plural(rows|length, "row") }}</small></summary>{{ grid(rows) }}</details>
{% endfor %}
"""


class Tables(NamedTuple):
    tables: Mapping[str, Sequence[Mapping[str, Any]]]
    correlations: Sequence[Correlation]


@section("tables", order=100, title="Tables", nav="", template=TEMPLATE)
def tables(page: Page) -> Tables | None:
    """Return all tables but those that have a section of their own."""
    plain = {name: rows for name, rows in page.report.tables.items() if name not in (TABLE, WHERE)}
    return Tables(plain, page.report.correlations) if plain or page.report.correlations else None
