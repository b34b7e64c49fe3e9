"""This section shows plots over scenarios, with their correlations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple

from markupsafe import Markup

from auditor.report import words
from auditor.report.legend import Legend
from auditor.report.numbers import number
from auditor.report.page import Page
from auditor.report.plots.forest import Forest, forest
from auditor.report.plots.profile import profile
from auditor.report.plots.scatter import scatter
from auditor.report.registry import section
from schemas.report import Report, Row

TEMPLATE = """\
{% if view.forest %}
<figure class="card"><figcaption><h3>Relevance lost, with {{ run.interval_level|percent }} intervals</h3>{{ key() }}</figcaption>
{{ folded(view.forest) }}
</figure>
{% endif %}
{% if view.profile %}
<figure class="card"><figcaption><h3>EMI beside quality, by severity</h3><p>The strengths of one shift stand together, from the mildest to the most severe. Where EMI falls with quality, it can stand in for a judge.</p>{{ key(families=false) }}</figcaption>
<div class="scroll plot wide">{{ view.profile }}</div></figure>
{% endif %}
<div class="pair">
{% for plot in view.scatters %}
<figure class="card"><figcaption><h3>{{ plot.title }}</h3>{{ key() }}</figcaption>
<div class="scroll plot">{{ plot.drawing }}</div>
{% if plot.correlations %}<p class="said">{{ plot.correlations[:1]|join }}</p>{% if plot.correlations|length > 1 %}<details><summary>{{ plural(plot.correlations|length - 1, "more correlation") }}</summary><ul>{% for s in plot.correlations[1:] %}<li>{{ s }}</li>{% endfor %}</ul></details>{% endif %}{% endif %}
</figure>
{% endfor %}
</div>
"""


class Scatter(NamedTuple):
    title: str
    drawing: Markup
    correlations: list[str]


class Plots(NamedTuple):
    forest: Forest | None
    profile: Markup | None
    scatters: list[Scatter]


@section("plots", order=40, title="Plots", template=TEMPLATE)
def plots(page: Page) -> Plots | None:
    """Draw the intervals of EMID, the strengths of each shift, and one measure against another.
    Results whose EMI is not reliable are left out."""
    report, names = page.report, page.names
    rows = [row for row in report.scenarios if row.reliable is not False]
    view = Plots(
        forest(rows, report.run.thresholds.get("emid"), names),
        profile(rows, names),
        _scatters(report, names),
    )
    return view if any(view) else None


def _scatters(report: Report, names: Legend) -> list[Scatter]:
    reliable = [row for row in report.scenarios if row.reliable is not False]
    rows = [row for row in reliable if row.family != "id"]
    bounded = [plot for form in ("scaled", "partial") if (plot := _bound_scatter(report, rows, form, names))]
    scatters: list[Scatter] = bounded[:1]
    for name in ("accuracy", "win_rate"):
        label = words.MEASURE[name]
        drawing = scatter(
            reliable,
            attrgetter(name),
            lambda row: row.emi,
            label,
            "EMI (nats)",
            names,
        )
        if drawing is not None:
            scatters.append(
                Scatter(f"EMI against {label.lower()}", drawing, _correlation_texts(report, "EMI", label))
            )
    return scatters + bounded[1:]


def _bound_scatter(report: Report, rows: Sequence[Row], form: str, names: Legend) -> Scatter | None:
    terms, bounded = _comparable(rows, form)
    label = words.BOUND[form].split(" (")[0]
    drawing = scatter(
        bounded,
        lambda row: row.bounds[form].value,
        lambda row: row.emid,
        f"{label} ({' + '.join(terms)})",
        "EMID (nats)",
        names,
    )
    if drawing is None:
        return None
    return Scatter(f"EMID against the {label.lower()}", drawing, _correlation_texts(report, "EMID", label))


def _comparable(rows: Sequence[Row], form: str) -> tuple[tuple[str, ...], list[Row]]:
    """Return the rows whose bound has the same terms, the commonest: part of a bound is not compared with a
    whole one."""
    terms = {
        id(row): tuple(bound.terms)
        for row in rows
        if (bound := row.bounds.get(form)) is not None and bound.value is not None
    }
    if not terms:
        return (), []
    common = Counter(terms.values()).most_common(1)[0][0]
    return common, [row for row in rows if terms.get(id(row)) == common]


def _correlation_texts(report: Report, first: str, second: str) -> list[str]:
    """Return the correlations of these two measures, as the report has them."""
    return [
        f"{c.kind.capitalize()} {number(c.value, 2)} over {c.model or 'all models'} (n={c.n}"
        + (f"; ceiling {number(c.ceiling, 2)}" if c.ceiling is not None else "")
        + ")"
        for c in report.correlations
        if {words.measure(c.x), words.measure(c.y)} == {first, second} and c.value is not None
    ]
