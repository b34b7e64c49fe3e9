"""The command line prints this summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from auditor.measures.models import pairs
from auditor.report import words
from auditor.report.findings import all_findings
from auditor.report.numbers import NONE, count, duration, interval, number, plural, rows_told
from schemas.report import Report, Row, Status

STYLE: dict[Status, str] = {"pass": "green", "warn": "yellow", "fail": "bold red", "undecided": "cyan"}
MOVED = "Moved"
MOST = 30
"""Rows printed; the reports hold all of them."""
MOST_COMPARED = 4
"""Models compared with the current one that are printed."""
MOST_FINDINGS = 8
"""Findings of what is missing that are printed."""
DEAREST = 3
"""Stages whose time is printed; the HTML report has all."""


def summary(report: Report) -> RenderableType:
    """Return a table of the results (the worst first where there are many), how models compare, what is
    missing, and last, where it is still on the screen, the verdict."""
    status = report.verdict.status
    parts: list[RenderableType] = []
    rows = [*report.scenarios, *report.windows]
    if rows:
        parts.append(_table(rows, report.run.thresholds.get("p_value")))
    if len(rows) > MOST:
        parts.append(Text(f"and {plural(len(rows) - MOST, 'more result')} in the reports", style="dim"))
    parts += _findings(report, rows)
    parts += _compared(report)
    remarks = _remarks(report, rows)
    if remarks:
        parts.append(Text("\n".join(remarks), style="dim"))
    verdict = (f"{words.STATUS_SIGN[status]} {words.STATUS[status]}", STYLE[status])
    parts.append(Text.assemble(verdict, ": ", _clean(report.verdict.because)))
    return Group(*parts)


def _table(rows: Sequence[Row], p_threshold: float | None) -> Table:
    printed = rows
    if len(rows) > MOST:
        printed = sorted(rows, key=lambda row: (words.STATUS_ORDER[row.verdict.status], -(row.emid or 0.0)))[
            :MOST
        ]
    windows = any(row.start for row in rows)
    models = len({row.model for row in rows})
    columns: list[tuple[str, list[str]]] = [
        ("Window" if windows else "Scenario", [row.scenario for row in printed]),
        ("Model", [row.model or "" if models > 1 else "" for row in printed]),
        ("Rows", [count(row.n) if windows else "" for row in printed]),  # 80 columns are soon full
        ("Left\nout", [_left_out(row) for row in printed]),
        ("In groups", [rows_told(row) for row in printed]),
        ("EMI", [_relevance(row, number(row.emi)) for row in printed]),
        (
            "EMID",
            [
                _relevance(row, f"{number(row.emid)} {interval(row.intervals.emid, 2)}".strip())
                for row in printed
            ],
        ),
        ("Partial", [_bound(row, "partial") for row in printed]),
        ("Accuracy", [number(row.accuracy) for row in printed]),
        ("Win rate", [number(row.win_rate) for row in printed]),
        (MOVED, [_moved(row, p_threshold) if windows else "" for row in printed]),
    ]
    table = Table(box=None, header_style="bold", pad_edge=False)
    filled = [(name, values) for name, values in columns if any(v not in {"", "–"} for v in values)]
    for name, _ in filled:
        texts = name in {"Scenario", "Window", "Model", MOVED}
        table.add_column(
            name,
            justify="left" if texts else "right",
            overflow="fold" if texts else "ellipsis",
            no_wrap=name == "Window",
        )
    table.add_column("Verdict", no_wrap=True)
    for i, row in enumerate(printed):
        status = row.verdict.status
        cells = [Text(_clean(values[i])) for _, values in filled]
        table.add_row(
            *cells, Text(f"{words.STATUS_SIGN[status]} {words.STATUS[status]}", style=STYLE[status])
        )
    return table


def _compared(report: Report) -> list[RenderableType]:
    """Return a sentence a model, with the verdict where a margin was set."""
    compared = pairs(report)
    parts: list[RenderableType] = []
    for pair in compared[:MOST_COMPARED]:
        sentence = Text(_clean(words.compared(pair)))
        if (status := pair.mean.status) is not None:
            status_text = f"{words.STATUS_SIGN[status]} {words.STATUS[status].lower()}"
            sentence.append(f" Not worse by more than {pair.mean.margin:g} nats: ").append(
                status_text, style=STYLE[status]
            )
        parts.append(sentence)
    if len(compared) > MOST_COMPARED:
        rest = plural(len(compared) - MOST_COMPARED, "more model")
        parts.append(Text(f"and {rest} compared in the reports", style="dim"))
    return parts


def _left_out(row: Row) -> str:
    """Return how many rows could not be used; empty where all could."""
    left_out = 0 if row.census is None else sum(row.census.left_out.values())
    return count(left_out) if left_out else ""


def _findings(report: Report, rows: Sequence[Row]) -> list[RenderableType]:
    """Return what is missing or spoilt beyond what the verdict names, a sentence each, what fails first."""
    told = [f for f in all_findings(report, rows) if f.because not in report.verdict.because]
    found = sorted(told, key=lambda finding: words.STATUS_ORDER[finding.status])
    parts: list[RenderableType] = [
        Text.assemble((words.STATUS_SIGN[f.status], STYLE[f.status]), " ", _clean(f.because))
        for f in found[:MOST_FINDINGS]
    ]
    if len(found) > MOST_FINDINGS:
        rest = plural(len(found) - MOST_FINDINGS, "more finding")
        parts.append(Text(f"and {rest} in the reports (What is missing)", style="dim"))
    return parts


def _bound(row: Row, form: str) -> str:
    bound = row.bounds.get(form)
    return (
        "–" if bound is None else number(bound.value) + ("" if bound.complete or bound.value is None else "*")
    )


def _relevance(row: Row, shown: str) -> str:
    """Return EMI or EMID as it is shown, in brackets where it is not reliable."""
    return f"({shown})" if row.reliable is False and shown != NONE else shown


def _moved(row: Row, p_threshold: float | None) -> str:
    """Return what moved by more than chance among the row's records; nothing where no limit is set."""
    if p_threshold is None:
        return ""
    tests = {name: d.p_adjusted for name, d in row.divergences.items() if d.p_adjusted is not None}
    moved = [word.lower() for name, word in words.TESTED.items() if tests.get(name, 1.0) <= p_threshold]
    return ", ".join(moved) or NONE


def _remarks(report: Report, rows: Sequence[Row]) -> list[str]:
    remarks: list[str] = []
    if not report.run.complete:
        remarks.append(
            "Not complete: the run stopped before every scenario was done; the same command goes on."
        )
    if report.run.grader is not None and any(row.accuracy is not None for row in rows):
        remarks.append(f"Accuracy: {_clean(report.run.grader.meaning)}.")
    if unreliable := sum(row.reliable is False for row in rows):
        remarks.append(
            f"(In brackets): {plural(unreliable, 'result')} whose EMI is not reliable, since the encoders do "
            "not show the correct answers. No verdict, plot, correlation or comparison of models uses it."
        )
    if any(b.value is not None and not b.complete for row in rows for b in row.bounds.values()):
        remarks.append("* lacks a term of the bound.")
    missing = len(report.missing) + sum(len(row.missing.keys() - {"reliable"}) for row in rows)
    if missing:
        remarks.append(f"{plural(missing, 'term')} could not be computed; the report says why.")
    if report.quarantine:
        reasons = ", ".join(f"{_clean(reason)} {n:,}" for reason, n in report.quarantine.items())
        remarks.append(f"Rows set aside: {reasons}.")
    remarks += [_clean(note) for note in report.notes]
    if report.run.seconds:
        remarks.append(_time(report.run.seconds))
    return remarks


def _time(seconds: Mapping[str, float]) -> str:
    """Say where the time went, the dearest stages first."""
    dearest = sorted(seconds.items(), key=lambda item: -item[1])[:DEAREST]
    stages = ", ".join(f"{_clean(stage)} {duration(spent)}" for stage, spent in dearest)
    return f"Time: {duration(sum(seconds.values()))} ({stages})."


def _clean(text: str) -> str:
    """Return the text without what a terminal would obey: names and notes may come from strangers' data."""
    return "".join(c if c.isprintable() else "�" for c in text)
