"""Sections of the page: in their order, at the head of the page, and one that fails takes nothing with it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple

import pytest

from auditor.report import Page, section
from auditor.report.html import html
from auditor.report.registry import SECTIONS, NamedSection, sections
from auditor.testing import check_section
from schemas.report import Census, Finding, Report

OURS = (
    *("time", "results", "compared", "forms", "plots", "moved", "where", "labelfree", "bounds", "examples"),
    *("tables", "missing", "reading", "run"),
)


class View(NamedTuple):
    count: int
    text: str


@pytest.fixture
def add() -> Callable[..., None]:
    """`add(view, template)`: a section `extra` between two of ours."""

    def register(view: Callable[[Page], object], template: str) -> None:
        section("extra", order=25, title="Extra & more", nav="Extra", template=template)(view)

    return register


def named(name: str) -> NamedSection:
    return SECTIONS.find(name)


def test_ours_in_their_order() -> None:
    assert [s.name for s in sections() if SECTIONS.ours(s.name)] == list(OURS)


@pytest.mark.parametrize("name", OURS)
def test_ours_keep_the_contract(
    name: str, make_audit: Callable[..., Report], make_drift: Callable[..., Report]
) -> None:
    for report in (make_audit(1, 1), make_audit(4, 2), make_drift(2)):
        check_section(named(name), report)


def test_what_came_is_a_table_and_what_did_not_a_list(make_audit: Callable[..., Report]) -> None:
    report = make_audit(3, 1)
    assert "What came, and what of it was used" not in html(report)
    gap = Finding(where="d", kind="gap", status="warn", because="no rows came for <2026-04-02>")
    census = Census(
        rows_in=1_300,
        used=1_200,
        left_out={"image_corrupt": 60},
        repeats=40,
        answered=1_100,
        distinct={"image": 7},
    )
    rows = [row.model_copy(update={"census": census}) for row in report.scenarios]
    report = report.model_copy(update={"feed": [gap, gap], "scenarios": rows})
    check_section(named("missing"), report)
    text = html(report)
    assert text.count("no rows came for &lt;2026-04-02&gt;") == 1
    for cell in ("1,300", "1,200", "1,100", "60", "40", "7", "–"):
        assert f'<td class="num">{cell}</td>' in text
    assert "<td>image_corrupt 60</td>" in text


def test_a_new_section_is_one_function(add: Callable[..., None], make_audit: Callable[..., Report]) -> None:
    before = html(make_audit(3, 1))
    add(
        lambda page: View(len(page.rows), "<b>"),
        "<p>{{ view.count }} {{ view.text }} {{ run.seed }}</p>\n{{ grid([{'a': 1}]) }}",
    )
    text = html(make_audit(3, 1))
    start, stop = text.index('<section id="extra"><h2>Extra &amp; more</h2>'), text.index("<h2>Plots</h2>")
    assert text.index('<section id="results">') < start < stop
    assert "<p>3 &lt;b&gt; 0</p>" in text[start:stop] and '<td class="num">1</td>' in text[start:stop]
    assert text.index('<a href="#results">') < text.index('<a href="#extra">Extra</a>')
    add(lambda page: None, "")
    assert "extra" not in html(make_audit(3, 1)) and "extra" not in before


@pytest.mark.parametrize("template", ["{{ view.lost }}", "{% for %}"])
def test_a_section_that_fails_says_so(
    template: str,
    add: Callable[..., None],
    make_audit: Callable[..., Report],
    caplog: pytest.LogCaptureFixture,
) -> None:
    add(lambda page: View(1, ""), template)
    with caplog.at_level(logging.WARNING):
        text = html(make_audit(3, 1))
    assert "This section could not be made: " in text and '<section id="run">' in text
    assert "the report section extra cannot be made" in caplog.text
    with pytest.raises(AssertionError, match="section extra"):
        check_section(named("extra"), make_audit(3, 1))
