"""The summary on the terminal."""

from __future__ import annotations

import io
from collections.abc import Callable

from rich.console import Console

from auditor.report import summary
from schemas.report import Report


def printed(report: Report, width: int = 80) -> str:
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=False).print(summary(report))
    return out.getvalue()


def test_verdict_results_and_what_is_missing(
    make_audit: Callable[..., Report], make_drift: Callable[..., Report]
):
    text = printed(make_audit(6, 2))
    assert "✓ Pass: 0 fail" in text and "blur-1" in text
    assert "13 terms could not be computed" in text and "image_corrupt 3" in text
    assert max(map(len, text.splitlines())) <= 80
    assert "Undecided" in printed(make_drift(5)) and "window-003" in printed(make_drift(5), 120)


def test_many_results_are_cut_to_the_worst(make_audit: Callable[..., Report]):
    report = make_audit(61, 4)
    text = printed(report, 120)
    assert "and 214 more results in the reports" in text
    assert text.count("✕ Fail") == 1 + sum(row.verdict.status == "fail" for row in report.scenarios)


def test_the_terminal_obeys_nothing(make_audit: Callable[..., Report]):
    report = make_audit(1, 1)
    report.scenarios[0].scenario = "[red]x[/]\x1b[2J"
    report.notes = ["\x1b]0;title\x07[bold]"]
    text = printed(report)
    assert "\x1b" not in text and "\x07" not in text and "[red]x[/]" in text and "[bold]" in text
