"""This section says what is missing, and other remarks, each once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from auditor.report import words
from auditor.report.findings import all_findings
from auditor.report.legend import Legend
from auditor.report.page import Page
from auditor.report.registry import section
from schemas.report import Census, Finding, Report, Row

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
{% if view.findings %}
<h3>What did not come, or came spoilt</h3>
<ul class="notes card">
{% for finding in view.findings %}<li>{{ SIGN[finding.status] }} {{ finding.because }}</li>{% endfor %}
</ul>
{% endif %}
{% if view.came %}
<h3>What came, and what of it was used</h3>
<div class="scroll tall card"><table class="sortable">
<thead><tr><th scope="col">Rows of</th><th scope="col" class="num">Came</th><th scope="col" class="num">Used</th><th scope="col" class="num">Left out</th><th scope="col">Why</th><th scope="col" class="num">Repeats</th>{% for name in view.contents %}<th scope="col" class="num">{{ name }}</th>{% endfor %}<th scope="col" class="num">Different images</th><th scope="col" class="num">queries</th><th scope="col" class="num">answers</th></tr></thead>
<tbody>
{% for line in view.came %}
<tr><th scope="row">{{ line.name }}</th><td class="num">{{ line.census.rows_in|count }}</td><td class="num">{{ line.census.used|count }}</td><td class="num">{{ line.left_out|count }}</td><td>{{ line.why }}</td><td class="num">{{ line.census.repeats|count }}</td>{% for n in line.contents %}<td class="num">{{ n|count }}</td>{% endfor %}{% for n in line.distinct %}<td class="num">{{ n|count }}</td>{% endfor %}</tr>
{% endfor %}
</tbody></table></div>
<p class="hint">A repeat is a row that came before with the same id and the same contents. Different images, queries and answers are counted among the sampled rows.</p>
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


@dataclass(frozen=True, slots=True)
class Line:
    """What came for a result."""

    name: str
    census: Census
    left_out: int
    why: str
    contents: list[int | None]
    distinct: list[int | None]


CONTENTS = {
    "With an image": "with_image",
    "a query": "with_query",
    "an answer": "answered",
    "a correct answer": "with_reference",
    "Refusals": "refused",
}
"""Heads of columns -> counts of a census."""


class Missing(NamedTuple):
    findings: list[Finding]
    came: list[Line]
    contents: list[str]
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
    """Return what came and what did not, the reasons for missing values, bounds that lack a term, and notes;
    the template adds the quarantined rows."""
    report, names = page.report, page.names
    rows = [*report.scenarios, *report.windows]
    return Missing(
        all_findings(report, rows),
        [_line(row, names) for row in rows if row.census is not None],
        list(CONTENTS),
        _missing(report, names),
        _incomplete(page.rows, names),
        _notes(report, names),
    )


def _line(row: Row, names: Legend) -> Line:
    census = row.census
    assert census is not None
    return Line(
        names.title(row),
        census,
        sum(census.left_out.values()),
        ", ".join(f"{reason} {n:,}" for reason, n in census.left_out.items()),
        [getattr(census, name) for name in CONTENTS.values()],
        [census.distinct.get(name) for name in ("image", "query", "answer")],
    )


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
