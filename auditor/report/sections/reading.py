"""This section explains the words of the page."""

from __future__ import annotations

from auditor.report import words
from auditor.report.page import Page
from auditor.report.registry import section

TEMPLATE = """\
<dl class="glossary card">
{% for word, meaning in view %}<div><dt>{{ word }}</dt><dd>{{ meaning }}</dd></div>{% endfor %}
</dl>
"""


@section("reading", order=120, title="How to read this", template=TEMPLATE)
def reading(page: Page) -> tuple[tuple[str, str], ...]:
    """Return words with their meanings."""
    return words.glossary(page.report.run.grader)
