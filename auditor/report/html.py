"""`report.html`: one file that needs nothing else, and asks the network for nothing."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from auditor import __version__
from auditor.measures.models import TABLE
from auditor.report import numbers, views, words
from auditor.report.legend import legend
from auditor.report.plots.forest import forest
from auditor.report.plots.profile import profile
from auditor.report.plots.timeline import timeline
from auditor.report.svg import mark
from schemas.report import WHERE, Example, Report


def html(report: Report, examples: Sequence[Example] = ()) -> str:
    """The report as a page. Every text in it is data of strangers: all is escaped, and the policy lets
    nothing run or load but the page's own style and script, by their hashes."""
    rows = [*report.scenarios, *report.windows]
    names = legend(rows)
    thresholds = report.run.thresholds
    css, js = asset("report.css"), asset("report.js")
    page: dict[str, Any] = {
        "report": report,
        "run": report.run,
        "rows": rows,
        "names": names,
        "version": __version__,
        "css": css,
        "js": js,
        "policy": policy(css, js),
        "tiles": views.tiles(report),
        "facts": views.facts(report),
        "config": json.dumps(report.run.config, indent=2, ensure_ascii=False),
        "table": views.table(rows, names, report.run.grader),
        "glossary": words.glossary(report.run.grader),
        "compared": views.compared(report, names),
        "tables": {name: found for name, found in report.tables.items() if name not in (TABLE, WHERE)},
        "timelines": [
            (names.model_names[model], timeline(found, thresholds.get("p_value"), thresholds.get("emid")))
            for model in names.models
            if (found := [row for row in report.windows if row.model == model])
        ],
        "scatters": views.scatters(report, names),
        "profile": profile(report.scenarios, names),
        "forest": forest(report.scenarios, thresholds.get("emid"), names),
        "where": views.where(report, names),
        "heat": views.heat(rows, names, thresholds.get("p_value", 0.01)),
        "bounds": views.bounds(rows, names),
        "label_free": [row for row in rows if row.label_free is not None],
        "descriptors": views.descriptors(rows, names),
        "missing": views.missing(report, names),
        "incomplete": views.incomplete(rows, names),
        "notes": views.notes(report, names),
        "examples": views.examples(examples),
    }
    return environment().get_template("report.html.j2").render(page)


def environment() -> Environment:
    """Of the templates of every page: all that is printed is escaped."""
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
        "COMPARED": views.COMPARED,
        "plural": numbers.plural,
        "mark": lambda shape: mark(shape, 0, 0, "dot"),
    }
    return environment


def asset(name: str) -> Markup:
    """One of the package's own files beside the templates."""
    return Markup((files("auditor.report") / "templates" / name).read_text(encoding="utf-8"))


def policy(css: str, js: str) -> str:
    """The content security policy of a page with this style and this script."""
    style, script = (base64.b64encode(hashlib.sha256(t.encode()).digest()).decode() for t in (css, js))
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{style}'; script-src 'sha256-{script}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _data_uri(image: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(image).decode()
