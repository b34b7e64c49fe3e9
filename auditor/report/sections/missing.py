"""This section says what is missing, and other remarks, each once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from auditor.report import words
from auditor.report.legend import Legend
from auditor.report.page import Page
from auditor.report.registry import section
from schemas.report import Report, Row

TEMPLATE = """\
{% if view.missing or view.incomplete %}
<div class="card"><table class="remarks">
<tbody>
{% for remark in view.missing %}
<tr><th scope="row">{{ remark.path|measure }}{% if remark.path|measure != remark.path %}<small>{{ remark.path }}</small>{% endif %}</th><td>{{ remark.text }}</td><td class="where">{{ remark.scope }}</td></tr>
{% endfor %}
{% for remark in view.incomplete %}
<tr><th scope="row">Incomplete bound<small>{{ remark.path }}</small></th><td>{{ remark.text }}. It stands for less than the whole form.</td><td class="where">{{ remark.scope }}</td></tr>
{% endfor %}
</tbody></table></div>
{% else %}
<p class="lead">Nothing: every measure was computed for every result.</p>
{% endif %}
<h3>Rows set aside</h3>
{% if report.quarantine %}
<div class="card"><table class="remarks">
<tbody>
{% for reason, n in report.quarantine.items() %}
<tr><th scope="row">{{ plural(n, "row") }}<small>{{ reason }}</small></th><td>{{ reason|quarantine }}</td></tr>
{% endfor %}
</tbody></table></div>
{% else %}
<p class="lead">None: every row was used.</p>
{% endif %}
{% if view.notes %}
<h3>Notes</h3>
<ul class="notes card">
{% for note in view.notes %}<li>{{ note.text }} <span class="where">{{ note.scope }}</span></li>{% endfor %}
</ul>
{% endif %}
"""


@dataclass(frozen=True, slots=True)
class Remark:
    text: str
    path: str
    scope: str


class Missing(NamedTuple):
    missing: list[Remark]
    incomplete: list[Remark]
    notes: list[Remark]


@section(
    "missing",
    order=110,
    title="What could not be computed, and why",
    nav="What is missing",
    template=TEMPLATE,
)
def missing(page: Page) -> Missing:
    """Return the reasons for missing values, bounds that lack a term, and notes; the template adds the
    quarantined rows."""
    report, names = page.report, page.names
    return Missing(_missing(report, names), _incomplete(page.rows, names), _notes(report, names))


def _missing(report: Report, names: Legend) -> list[Remark]:
    rows_of: dict[tuple[str, str], list[Row | None]] = defaultdict(list)
    for path, reason in report.missing.items():
        rows_of[path, reason].append(None)
    rows = [*report.scenarios, *report.windows]
    for row in rows:
        for path, reason in row.missing.items():
            rows_of[path, reason].append(row)
    return [
        Remark(reason, path, _scope(results, len(rows), names)) for (path, reason), results in rows_of.items()
    ]


def _notes(report: Report, names: Legend) -> list[Remark]:
    rows_of: dict[str, list[Row | None]] = {note: [None] for note in report.notes}
    rows = [*report.scenarios, *report.windows]
    for row in rows:
        for note in row.notes:
            rows_of.setdefault(note, []).append(row)
    return [Remark(note, "", _scope(results, len(rows), names)) for note, results in rows_of.items()]


def _incomplete(rows: Sequence[Row], names: Legend) -> list[Remark]:
    """Return the bounds that lack a term: the form, and the terms that are in."""
    rows_of: dict[tuple[str, str], list[Row | None]] = defaultdict(list)
    for row in rows:
        for form, bound in row.bounds.items():
            if bound.value is not None and not bound.complete:
                rows_of[form, ", ".join(bound.terms)].append(row)
    return [
        Remark(f"{words.BOUND.get(form, form)}: only {terms}", form, _scope(results, len(rows), names))
        for (form, terms), results in rows_of.items()
    ]


def _scope(rows: Sequence[Row | None], total: int, names: Legend) -> str:
    """Say which results a remark is about: all, or some by name."""
    named = [row for row in rows if row is not None]
    if len(named) < len(rows):
        return "The whole run"
    if len(named) == total:
        return "Every result" if total > 1 else names.title(named[0])
    scenarios = list(dict.fromkeys(names.name(row) for row in named))
    models = list(dict.fromkeys(row.model for row in named if row.model))
    listed = ", ".join(scenarios[:6]) + (f" and {len(scenarios) - 6} more" if len(scenarios) > 6 else "")
    few = len(names.models) > 1 and 0 < len(models) < len(names.models)
    return listed + (f" ({', '.join(models)})" if few else "")
