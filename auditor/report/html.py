"""`report.html` is one file that needs nothing else, and asks the network for nothing."""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from auditor import __version__
from auditor.errors import one_line
from auditor.report import numbers, words
from auditor.report.page import Page, page_of
from auditor.report.registry import SECTIONS, NamedSection, sections
from auditor.report.svg import mark
from auditor.report.tiles import tiles
from schemas.report import Example, Report

log = logging.getLogger(__name__)

_MACROS = '{% from "macros.html.j2" import pill, key, grid, lines, folded with context %}\n'


def html(report: Report, examples: Sequence[Example] = ()) -> str:
    """Return the report as a page. Every text in it is data of strangers: all is escaped, and the policy lets
    nothing run or load but the page's own style and script, by their hashes."""
    page, templates = page_of(report, examples), environment()
    written = [(section, _written(section, page)) for section in sections()]
    css, js = asset("report.css"), asset("report.js")
    return templates.get_template("report.html.j2").render(
        report=report,
        run=report.run,
        version=__version__,
        css=css,
        js=js,
        policy=policy(css, js),
        tiles=tiles(report),
        sections=[section for section, text in written if text],
        body=Markup("\n").join(text for _, text in written),
    )


def write_section(section: NamedSection, page: Page) -> Markup:
    """Return the section with its heading; empty where it has nothing to show. Raises what its function and
    its template raise."""
    view = section.view(page)
    if view is None:
        return Markup()
    template = environment().overlay(keep_trailing_newline=True).from_string(_MACROS + section.template)
    names = {"report": page.report, "run": page.report.run, "names": page.names}
    return _headed(section, Markup(template.render(view=view, page=page, **names)))


def _written(section: NamedSection, page: Page) -> Markup:
    """Return the section. Another package's section that fails says so in its place, and the rest of the page
    stays."""
    try:
        return write_section(section, page)
    except Exception as error:
        if SECTIONS.ours(section.name):
            raise
        log.warning("the report section %s cannot be made (%s)", section.name, one_line(error))
        return _headed(
            section,
            Markup('<p class="lead">This section could not be made: {}</p>\n').format(one_line(error)),
        )


def _headed(section: NamedSection, body: Markup) -> Markup:
    return Markup('<section id="{}"><h2>{}</h2>\n{}</section>\n').format(section.name, section.title, body)


@cache
def environment() -> Environment:
    """Return the environment of the templates of every page: all that is printed is escaped."""
    environment = Environment(
        loader=PackageLoader("auditor.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": numbers.number,
        "interval": numbers.interval,
        "p": numbers.p_value,
        "rows_told": numbers.rows_told,
        "percent": numbers.percent,
        "count": numbers.count,
        "family": words.family,
        "measure": words.measure,
        "quarantine": words.quarantine_sentence,
        "png": _data_uri,
    }
    environment.globals |= {
        "STATUS": words.STATUS,
        "SIGN": words.STATUS_SIGN,
        "ORDER": words.STATUS_ORDER,
        "MODALITY": words.MODALITY,
        "plural": numbers.plural,
        "mark": lambda shape: mark(shape, 0, 0, "dot"),
    }
    return environment


def asset(name: str) -> Markup:
    """Return one of the package's own files beside the templates."""
    return Markup((files("auditor.report") / "templates" / name).read_text(encoding="utf-8"))


def policy(css: str, js: str) -> str:
    """Return the content security policy of a page with this style and this script."""
    style, script = (base64.b64encode(hashlib.sha256(t.encode()).digest()).decode() for t in (css, js))
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{style}'; script-src 'sha256-{script}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _data_uri(image: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(image).decode()
