"""This section shows windows in their order."""

from __future__ import annotations

from markupsafe import Markup

from auditor.report.page import Page
from auditor.report.plots.timeline import timeline
from auditor.report.registry import section

TEMPLATE = """\
<p class="lead">Each column is a window. Bars show how far it is from the baseline beyond what chance gives (0: no shift).{% if report.windows|selectattr("variation")|list %} A window fails where it differs by more than chance among its rows, and where windows together differ by more than this service varies from one to the next.{% endif %} Hover for the numbers.</p>
{% for model, drawing in view %}
<figure class="card">{% if view|length > 1 %}<figcaption>{{ model }}</figcaption>{% endif %}<div class="scroll plot wide">{{ drawing }}</div></figure>
{% endfor %}
"""


@section("time", order=10, title="Over time", template=TEMPLATE)
def time(page: Page) -> list[tuple[str, Markup]] | None:
    """Draw a timeline a model: its name and its drawing."""
    thresholds, names = page.report.run.thresholds, page.names
    return [
        (names.model_names[model], timeline(windows, thresholds.get("p_value"), thresholds.get("emid")))
        for model in names.models
        if (windows := [row for row in page.report.windows if row.model == model])
    ] or None
