"""This section shows example records."""

from __future__ import annotations

from auditor.report.page import Page
from auditor.report.registry import section
from schemas.report import Example

TEMPLATE = """\
<p class="lead">Some records of each scenario as the models saw them, with what they said.</p>
{% for scenario, records in view.items() %}
<details class="card"{% if loop.index <= 3 %} open{% endif %}><summary>{{ scenario }} <small>{{ plural(records|length, "record") }}</small></summary>
<div class="records">
{% for example in records %}
<article>
{% if example.thumbnail %}<img src="{{ example.thumbnail|png }}" alt="Image of record {{ example.record_id }}" loading="lazy">{% else %}<p class="noimage">no image</p>{% endif %}
<dl>
<dt>Query</dt><dd dir="auto">{{ example.query if example.query is not none else "–" }}</dd>
<dt>Reference</dt><dd dir="auto">{{ example.reference if example.reference is not none else "–" }}</dd>
{% for model, response in example.responses.items() %}
<dt><svg viewBox="-7 -7 14 14" width="12" height="12" aria-hidden="true"><circle r="5" class="dot {{ names.models.get(model, 'm7') }}"></circle></svg> {{ model }}</dt><dd dir="auto">{{ response or "(empty)" }}</dd>
{% endfor %}
</dl>
<p class="id">{{ example.record_id }}</p>
</article>
{% endfor %}
</div></details>
{% endfor %}
"""


@section("examples", order=90, title="Examples", template=TEMPLATE)
def examples(page: Page) -> dict[str, list[Example]] | None:
    """Return scenario -> some of its records."""
    by_scenario: dict[str, list[Example]] = {}
    for example in page.examples:
        by_scenario.setdefault(example.scenario, []).append(example)
    return by_scenario or None
