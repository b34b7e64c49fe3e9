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
from schemas.report import Report

OURS = (
    *(
        "time",
        "results",
        "compared",
        "forms",
        "plots",
        "moved",
        "where",
        "labelfree",
        "bounds",
        "examples",
        "tables",
    ),
    *("missing", "reading", "run"),
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
