"""This section shows risk without references."""

from __future__ import annotations

from auditor.report.page import Page
from auditor.report.registry import section
from schemas.report import Row

TEMPLATE = """\
<p class="lead">What can be said of EMID where nobody has written references. Which estimate is reported depends on how much of the traffic the in-distribution records cover.</p>
<div class="scroll tall card"><table class="sortable">
<thead><tr><th scope="col">{{ page.row_noun }}</th>{% if page.has_models %}<th scope="col">Model</th>{% endif %}<th scope="col">Estimate from</th><th scope="col" class="num">Estimate</th><th scope="col" class="num">Range</th><th scope="col" class="num">Outside</th><th scope="col" class="num">Overlap</th><th scope="col">Why</th></tr></thead>
<tbody>
{% for row in view %}{% set free = row.label_free %}
<tr><th scope="row" title="{{ row.scenario }}">{{ names.name(row) }}</th>{% if page.has_models %}<td>{{ row.model or "–" }}</td>{% endif %}<td>{{ free.voice or "none" }}</td><td class="num">{{ free.estimate|number }}</td><td class="num">{% if free.low is not none and free.high is not none %}{{ (free.low, free.high)|interval }}{% elif free.high is not none %}≤ {{ free.high|number }}{% else %}–{% endif %}</td><td class="num">{{ free.outside|percent }}</td><td class="num">{{ free.overlap|percent }}</td><td class="why"><small>{{ free.reason or "" }}</small></td></tr>
{% endfor %}
</tbody></table></div>
"""


@section("labelfree", order=70, title="Risk without references", template=TEMPLATE)
def labelfree(page: Page) -> list[Row] | None:
    """Return the results that have a label-free estimate, or a reason against one."""
    return [row for row in page.rows if row.label_free is not None] or None
