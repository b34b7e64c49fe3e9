"""This section shows the bounds that carry an entropy."""

from __future__ import annotations

from typing import NamedTuple

from auditor.bounds import NULL_CENTRED
from auditor.report import words
from auditor.report.cells import TableRow, bound_cell
from auditor.report.numbers import number
from auditor.report.page import Page
from auditor.report.registry import section
from schemas.report import Bound, Row

TEMPLATE = """\
<p class="lead">What EMID can be at most, in nats, by the name of the bound. Computed from estimates, a bound is an estimate itself; brackets hold the interval of the bound with its bias taken off, which small samples push the value above. * where a term is missing.</p>
{{ lines(view.rows, view.columns) }}
<details class="card"><summary>Which entropy went in</summary><ul>
{% for source in view.sources %}
<li>{{ source }}</li>
{% endfor %}
</ul></details>
"""


class Bounds(NamedTuple):
    columns: list[str]
    """Names of the forms."""
    rows: list[TableRow]
    sources: list[str]
    """What went in as entropy, a sentence a source."""


@section("bounds", order=80, title="Upper bounds with an entropy", nav="Bounds", template=TEMPLATE)
def bounds(page: Page) -> Bounds | None:
    """Return the bounds that carry an entropy."""
    rows, names = page.rows, page.names
    forms = [form for form in words.BOUND if any(_entropic(row, form) for row in rows)]
    if not forms:
        return None
    sources: dict[str, list[str]] = {}
    for row in rows:
        for form in forms:
            if (bound := _entropic(row, form)) is not None:
                source = f"{bound.entropy_source}" + (
                    f": Ĥ = {number(bound.entropy)} nats" if bound.entropy is not None else ""
                )
                if words.BOUND[form] not in sources.setdefault(source, []):
                    sources[source].append(words.BOUND[form])
    return Bounds(
        [words.BOUND[form].split(" (")[0] for form in forms],
        [
            TableRow(
                row,
                names.name(row),
                names.models[row.model],
                [bound_cell(row.bounds.get(form)) for form in forms],
            )
            for row in rows
            if any(row.bounds.get(form) for form in forms)
        ],
        [f"{', '.join(titles)}: {source}" for source, titles in sources.items()],
    )


def _entropic(row: Row, form: str) -> Bound | None:
    """Return the bound where it has a value that an entropy went into."""
    if form.endswith(NULL_CENTRED):  # they are in `report.json`: twice as many columns are too many
        return None
    bound = row.bounds.get(form)
    return bound if bound is not None and bound.value is not None and bound.entropy_source else None
