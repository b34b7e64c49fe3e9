"""The summary on the terminal."""

from __future__ import annotations

import io
from collections.abc import Callable

from rich.console import Console

from auditor.measures.models import TABLE, Pair
from auditor.report import summary
from auditor.report.words import compared
from schemas.report import Census, ComparedRow, Finding, Report


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


def test_what_did_not_come_is_said(make_audit: Callable[..., Report]):
    report = make_audit(2, 1)
    lost = Finding(
        where="blur-1", kind="left_out", status="fail", because="In blur-1 9 of 20 rows were left out"
    )
    empty = [
        Finding(where=f"{i}.jsonl", kind="file", status="warn", because=f"{i}.jsonl holds no rows")
        for i in range(9)
    ]
    rows = [row.model_copy(update={"findings": [lost]}) for row in report.scenarios]
    rows[1].census = Census(rows_in=20, used=11, left_out={"image_missing": 9})
    text = printed(report.model_copy(update={"feed": empty, "scenarios": rows}))
    assert text.count("In blur-1 9 of 20") == 1 and text.index("In blur-1 9") < text.index("0.jsonl holds no")
    assert "6.jsonl holds no rows" in text and "7.jsonl" not in text and "and 2 more findings in the" in text


def test_where_the_time_went(make_audit: Callable[..., Report]):
    report = make_audit(1, 1)
    assert "Time:" not in printed(report)
    seconds = {"read": 0.34, "embed": 72.2, "train": 7500.0, "measure": 12.0}
    timed = report.model_copy(update={"run": report.run.model_copy(update={"seconds": seconds})})
    assert "Time: 2 h 06 min (train 2 h 05 min, embed 1 min 12 s, measure 12 s)." in printed(timed, 120)


def test_many_results_are_cut_to_the_worst(make_audit: Callable[..., Report]):
    report = make_audit(61, 4)
    text = printed(report, 120)
    assert "and 214 more results in the reports" in text
    assert text.count("✕ Fail") == 1 + sum(row.verdict.status == "fail" for row in report.scenarios)


def test_models_compared_are_a_sentence_each(make_audit: Callable[..., Report]):
    text = " ".join(printed(make_audit(16, 2), 200).split())
    assert "lab-weak is worse than lab-strong: its EMI is 0." in text
    assert "nats lower [−0." in text and "Clearly better in 0, clearly worse in" in text
    assert "Not worse by more than 0.05 nats: ✓ pass" in text
    many = make_audit(4, 4)
    rows = many.tables[TABLE]
    many.tables[TABLE] = rows + [{**row, "new": f"more-{row['new']}"} for row in rows]
    assert "and 2 more models compared in the reports" in printed(many, 200)
    assert "against" not in printed(make_audit(4, 1), 200)


def test_what_is_said_of_two_models():
    common = {"new": "b", "current": "a", "level": 0.9, "blocks": 20}
    sure = {"std": 0.02, "p_value": 0.001, "p_adjusted": 0.002}

    def said(**values: object) -> str:
        row = ComparedRow.model_validate({**common, **values, "scenario": "s"})
        return compared(Pair(ComparedRow.model_validate({**common, **values, "scenario": None}), [row]))

    assert said(value=0.2, corrected=0.21, low=0.1, high=0.3, **sure) == (
        "b is better than a: its EMI is 0.210 nats higher [0.100, 0.300] on the mean over 1 scenario. "
        "Clearly better in 1, clearly worse in 0."
    )
    assert said(value=0.2, corrected=0.02, low=-0.1, high=0.3, p_adjusted=0.5).startswith(
        "No difference between b and a is shown: +0.020 nats of EMI [−0.100, 0.300]"
    )
    assert said(value=-0.2, reason="too few").startswith(
        "Whether b or a is better cannot be told: EMI differs by −0.200 nats"
    )
    assert said(reason="nobody labelled it") == "b cannot be compared with a: nobody labelled it."


def test_the_terminal_obeys_nothing(make_audit: Callable[..., Report]):
    report = make_audit(1, 2)
    report.tables[TABLE] = [row | {"new": "\x1b[2J[red]y[/]"} for row in report.tables[TABLE]]
    report.scenarios[0].scenario = "[red]x[/]\x1b[2J"
    report.notes = ["\x1b]0;title\x07[bold]"]
    text = printed(report)
    assert (
        "\x1b" not in text
        and "\x07" not in text
        and "[red]x[/]" in text
        and "[red]y[/]" in text
        and "[bold]" in text
    )
