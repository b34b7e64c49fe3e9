"""Sections of the page are found by name. A new one is a file in `sections` (or in a package of its own) with
`@section(...)`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from auditor.registry import Registry
from auditor.report.page import Page

F = TypeVar("F", bound=Callable[[Page], Any])


@dataclass(frozen=True, slots=True)
class NamedSection:
    """A section has a place, headings, what it shows, and a template that writes it."""

    name: str
    order: float
    title: str
    nav: str
    view: Callable[[Page], Any]
    template: str


SECTIONS: Registry[NamedSection] = Registry(
    "report section", "auditor.report.section", "shift_auditor.sections", "auditor.report.sections"
)


def section(
    name: str, *, order: float, title: str, template: str, nav: str | None = None
) -> Callable[[F], F]:
    """Register the function below, which makes of the page's report what the section shows, or None where it
    has nothing to show.

    `name` is the section's anchor, `order` its place (ours are at 10, 20, ... 130), `title` its heading and
    `nav` its entry at the head of the page (default: the title; "": none). `template` is Jinja for what
    stands below the heading: it has `view` (what the function gave), `page`, `report`, `run`, `names`, the
    filters of `auditor.report.html` and the macros of `macros.html.j2`. All that it prints is escaped, and
    the page lets no script run and nothing load.
    """

    def register(view: F) -> F:
        SECTIONS.add(
            name, NamedSection(name, order, title, title if nav is None else nav, view, template), view
        )
        return view

    return register


def sections() -> list[NamedSection]:
    """Return all sections in their order."""
    return sorted(SECTIONS.values(), key=lambda section: (section.order, section.name))
