"""This module is the contract of a section of the report."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html.parser import HTMLParser

from auditor.report.html import write_section
from auditor.report.page import page_of
from auditor.report.registry import NamedSection
from auditor.testing.contracts import require
from schemas.report import Example, Report, Row

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&{{ 7 * 7 }}"
"""The content that a name may hold: it comes with strangers' data."""
_VOID = {"br", "hr", "img", "input", "path", "rect", "circle", "line"}


def check_section(section: NamedSection, report: Report, examples: Sequence[Example] = ()) -> None:
    """Check that `section` can stand in the page of `report`: the same text every time, well-formed, with
    nothing that runs or loads, all data escaped, the report left as it is; and that it takes a report without
    results.

    Raises:
        AssertionError: a contract is broken; the message says which.
    """
    who = f"section {section.name}"
    require(re.fullmatch(r"[a-z][a-z0-9-]*", section.name) is not None, f"{who}: no name for an anchor")
    before = report.model_dump_json()
    text = _write(section, report, examples, who)
    require(text == _write(section, report, examples, who), f"{who}: another text for the same report")
    require(report.model_dump_json() == before, f"{who}: it changes the report")
    _check_text(text, who)
    _check_text(_write(section, _with_hostile_names(report), examples, who), who)
    bare: dict[str, object] = {
        "scenarios": [],
        "windows": [],
        "tables": {},
        "correlations": [],
        "missing": {},
        "notes": [],
    }
    _check_text(_write(section, report.model_copy(update=bare), (), who), who)


def _write(section: NamedSection, report: Report, examples: Sequence[Example], who: str) -> str:
    try:
        return str(write_section(section, page_of(report, examples)))
    except Exception as error:
        raise AssertionError(f"{who}: cannot be written ({error!r})") from error


def _with_hostile_names(report: Report) -> Report:
    """Return the report with names and reasons that would run, were they not escaped."""

    def row(original: Row) -> Row:
        name = HOSTILE + original.scenario
        return original.model_copy(
            update={"scenario": name, "notes": [HOSTILE], "missing": {HOSTILE: HOSTILE}}
        )

    return report.model_copy(
        update={
            "scenarios": [row(original) for original in report.scenarios],
            "windows": [row(original) for original in report.windows],
            "notes": [HOSTILE],
            "missing": {HOSTILE: HOSTILE},
        }
    )


class _Elements(HTMLParser):
    def __init__(self, who: str) -> None:
        super().__init__()
        self._who = who
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        require(
            tag not in {"script", "style", "iframe", "object", "embed", "link", "form", "base"},
            f"{self._who}: an element <{tag}>, which the page does not run or load",
        )
        for name, value in attrs:
            require(not name.startswith("on"), f"{self._who}: an attribute {name}, which would run")
            require(name != "style", f"{self._who}: an attribute style; the page's policy does not let it in")
            leads = value if name in {"src", "href", "xlink:href", "action"} else None
            inside = leads is None or leads.startswith(("#", "data:image/"))
            require(inside, f"{self._who}: {name}={value!r} leads out of the page")
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in _VOID:
            return
        require(bool(self.open) and self.open.pop() == tag, f"{self._who}: </{tag}> closes nothing")


def _check_text(text: str, who: str) -> None:
    elements = _Elements(who)
    elements.feed(text)
    elements.close()
    require(not elements.open, f"{who}: not closed: {', '.join(elements.open)}")
