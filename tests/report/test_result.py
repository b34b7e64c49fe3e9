"""A report in a program's hands: the flat table, what a notebook shows, and folders."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from auditor.errors import BadInput
from auditor.report.columns import COLUMNS
from auditor.report.result import Report
from schemas import report as schema
from schemas.report import Row, Verdict

HOSTILE = "<script>alert(1)</script>\x1b[31m\n" + "&'\"" * 100


@pytest.fixture
def audit_report(make_audit: Callable[..., schema.Report]) -> schema.Report:
    return make_audit()


@pytest.fixture
def hostile(audit_report: schema.Report) -> Report:
    """Thirty rows, every text of which wants to be more than a text."""
    row = audit_report.scenarios[-1]
    rows: list[Row] = [
        row.model_copy(
            update={
                "scenario": f"{HOSTILE}{i}",
                "model": HOSTILE,
                "verdict": Verdict(status="fail", because=HOSTILE),
            }
        )
        for i in range(30)
    ]
    verdict = Verdict(status="fail", because=HOSTILE)
    return Report(audit_report.model_copy(update={"scenarios": rows, "verdict": verdict}))


def test_the_flat_table(audit_report: schema.Report) -> None:
    report = Report(audit_report)
    table = report.to_arrow()
    assert table.schema == COLUMNS and table.num_rows == len(report.rows)
    for row, line in zip(report.rows, table.to_pylist(), strict=True):
        assert (line["scenario"], line["model"], line["n"]) == (row.scenario, row.model, row.n)
        assert (line["emi"], line["emid"]) == (row.emi, row.emid)
        assert (line["emid_low"], line["emid_high"]) == (row.intervals.emid or (None, None))
        for modality in ("image", "text", "joint", "response"):
            found = row.divergences.get(modality, schema.Divergence())
            assert line[f"{modality}_value"] == found.value
            assert line[f"{modality}_excess"] == found.excess
            assert line[f"{modality}_p_adjusted"] == found.p_adjusted
        for form in ("partial", "scaled"):
            assert line[f"bound_{form}"] == (row.bounds[form].value if form in row.bounds else None)
        free = row.label_free or schema.LabelFree()
        assert (line["label_free"], line["label_free_low"], line["label_free_high"]) == (
            *(free.estimate, free.low, free.high),
        )
        assert (line["accuracy"], line["verdict"]) == (row.accuracy, row.verdict.status)
        assert line["because"] == row.verdict.because
    assert list(report.to_frame().columns) == COLUMNS.names


def test_pandas_is_asked_for_by_name(audit_report: schema.Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(BadInput, match="pip install pandas"):
        Report(audit_report).to_frame()


def test_what_a_notebook_shows(audit_report: schema.Report) -> None:
    page = Report(audit_report)._repr_html_()
    assert audit_report.verdict.because.split(":")[0] in page
    assert page.count("<tr>") == min(len(audit_report.scenarios), 30) + 1
    assert "lab-strong" in page and "<script" not in page


def test_hostile_texts_stay_texts(hostile: Report) -> None:
    page, said = hostile._repr_html_(), repr(hostile)
    assert page.count("<tr>") == 31
    assert "<script" not in page and "&lt;script" in page
    assert "\x1b" not in page + said and "\n" not in said
    assert len(page.encode()) < 20_000


def test_more_rows_than_are_shown(hostile: Report) -> None:
    rows = [*hostile.content.scenarios]
    rows += [row.model_copy(update={"model": "another"}) for row in rows]
    page = Report(hostile.content.model_copy(update={"scenarios": rows}))._repr_html_()
    assert page.count("<tr>") == 31 and "and 30 more results" in page


def test_saved_whole_and_read_again(audit_report: schema.Report, tmp_path: Path) -> None:
    report = Report(audit_report)
    assert report.save(tmp_path / "out") == tmp_path / "out"
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"report.html", "report.json", "audit.duckdb"}
    again = Report.load(tmp_path / "out")
    assert again.content == report.content and again.verdict == report.verdict
    assert (tmp_path / "out" / "report.html").read_text() == report.html()
    assert schema.Report.model_validate_json(report.json()) == report.content
