"""This section shows whether EMI is reliable, beside its other forms and the style of answers."""

from __future__ import annotations

from typing import NamedTuple

from auditor.report.cells import Cell, TableRow, estimate_cell
from auditor.report.numbers import NONE, p_value, percent
from auditor.report.page import Page
from auditor.report.registry import section
from schemas.report import EmiForms, Row, Style

TEMPLATE = """\
<p class="lead">The encoders show the correct answers where held-out inputs predict more of them than chance does; elsewhere EMI is not reliable, and no verdict, plot, correlation or comparison of models uses it. The other forms of EMI come from critics that know correct answers alone. Each form is in nats of its own critic, some of which are far surer of themselves than others: compare numbers within a column only. The cosine of answer and correct answer is the simple measure that EMI must beat.</p>
{{ lines(view.rows, view.columns) }}
"""


class FormsView(NamedTuple):
    columns: list[str]
    rows: list[TableRow]


@section("forms", order=35, title="Can EMI be relied on", template=TEMPLATE)
def forms(page: Page) -> FormsView | None:
    """Return a line a result whose EMI was checked; None where none was."""
    rows = [row for row in page.rows if row.reliable is not None]
    if not rows:
        return None
    given = [(row.emi_forms or EmiForms(), row.style or Style()) for row in rows]
    candidates: list[tuple[str, list[Cell]]] = [
        ("Reliable", [_reliable(row) for row in rows]),
        ("Answers shown", [_shown(row) for row in rows]),
        ("EMI as published", [estimate_cell(row.emi) for row in rows]),
        ("Trained on correct answers", [estimate_cell(form.reference_trained) for form, _ in given]),
        ("Cross-fitted", [estimate_cell(form.cross_fitted) for form, _ in given]),
        ("Free of style", [estimate_cell(form.style_free) for form, _ in given]),
        ("Cosine", [estimate_cell(form.cosine) for form, _ in given]),
        ("Length (log 2)", [estimate_cell(style.length) for _, style in given]),
        ("Echo", [estimate_cell(style.echo) for _, style in given]),
        ("Refusals", [estimate_cell(style.refusal) for _, style in given]),
        ("Mean apart", [estimate_cell(style.marginal) for _, style in given]),
    ]
    columns = [(label, cells) for label, cells in candidates if any(cell.text != NONE for cell in cells)]
    names = page.names
    return FormsView(
        [label for label, _ in columns],
        [
            TableRow(row, names.name(row), names.models[row.model], [cells[i] for _, cells in columns])
            for i, row in enumerate(rows)
        ],
    )


def _reliable(row: Row) -> Cell:
    why = row.missing.get("reliable", "")
    return Cell("yes" if row.reliable else "no", "", str(int(bool(row.reliable))), why)


def _shown(row: Row) -> Cell:
    if row.credibility is None:
        return Cell(NONE)
    found = row.credibility
    return Cell(percent(found.value), f"p {p_value(found.p_value)}", repr(found.value))
