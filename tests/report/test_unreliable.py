"""Results whose EMI is not reliable are shown as such, and left out of what is concluded."""

from __future__ import annotations

import io
from collections.abc import Callable

from rich.console import Console

from auditor.measures.correlations import correlations
from auditor.report.columns import flat
from auditor.report.html import html
from auditor.report.text import summary
from schemas.report import Credibility, EmiForms, Report, Row, Style

WHY = "the encoders do not show the correct answers: inputs predict 1.0% of held-out ones"


def checked(row: Row, reliable: bool) -> Row:
    return row.model_copy(
        update={
            "reliable": reliable,
            "credibility": Credibility(
                value=0.3 if reliable else 0.01,
                null_mean=0.0,
                null_std=0.01,
                p_value=0.003,
                n=400,
                groups=400,
            ),
            "emi_forms": EmiForms(
                reference_trained=-0.5, cross_fitted=-0.25, style_free=-0.125, cosine=0.875
            ),
            "style": Style(length=0.5, echo=0.0625, refusal=0.0, marginal=0.2),
            "missing": row.missing | ({} if reliable else {"reliable": WHY}),
        }
    )


def with_unreliable(report: Report, names: set[str]) -> Report:
    rows = [checked(row, row.scenario not in names) for row in report.scenarios]
    return report.model_copy(update={"scenarios": rows})


def test_the_page_marks_them_and_shows_the_forms(make_audit: Callable[..., Report]) -> None:
    report = make_audit(6, 1)
    name = report.scenarios[2].scenario
    page = html(with_unreliable(report, {name}))
    assert "not reliable" in page and WHY in page and "Can EMI be relied on" in page
    assert "0.875" in page and "Free of style" in page
    assert "Can EMI be relied on" not in html(report)  # nothing was checked


def test_the_summary_puts_them_in_brackets(make_audit: Callable[..., Report]) -> None:
    report = make_audit(4, 1)
    out = io.StringIO()
    Console(file=out, width=200).print(summary(with_unreliable(report, {report.scenarios[2].scenario})))
    assert "1 result whose EMI is not reliable" in out.getvalue()


def test_plots_and_correlations_leave_them_out(make_audit: Callable[..., Report]) -> None:
    report = make_audit(8, 1)
    some = with_unreliable(report, {row.scenario for row in report.scenarios[2:4]})
    found = {(c.x, c.y): c.n for c in correlations(some.scenarios, {}, 0)}
    assert found["emi", "accuracy"] == 6 and found["emid", "bounds.scaled"] == 5
    none = with_unreliable(report, {row.scenario for row in report.scenarios})
    page = html(none)
    assert "Relevance lost, with" not in page and "EMI against accuracy" not in page


def test_the_table_says_so(make_audit: Callable[..., Report]) -> None:
    report = make_audit(3, 1)
    column = flat(with_unreliable(report, {report.scenarios[1].scenario})).column("reliable").to_pylist()
    assert column == [True, False, True]
