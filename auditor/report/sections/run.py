"""This section says what made the numbers."""

from __future__ import annotations

import json
from typing import NamedTuple

from auditor.report.numbers import count, duration, percent
from auditor.report.page import Page
from auditor.report.registry import section
from schemas.report import Report

TEMPLATE = """\
<div class="card"><dl class="facts">
{% for fact in view.facts %}<dt>{{ fact.name }}</dt><dd>{% for value in fact.values %}<div>{{ value }}</div>{% endfor %}</dd>{% endfor %}
</dl>
<details><summary>Versions</summary><dl class="facts">{% for name, version in run.versions.items() %}<dt>{{ name }}</dt><dd>{{ version }}</dd>{% endfor %}</dl></details>
<details><summary>Config</summary><pre>{{ view.config }}</pre></details>
</div>
"""


class Fact(NamedTuple):
    name: str
    values: list[str]


class RunView(NamedTuple):
    facts: list[Fact]
    config: str
    """As JSON."""


@section("run", order=130, title="Run", template=TEMPLATE)
def run(page: Page) -> RunView:
    """Return what made the numbers."""
    config = json.dumps(page.report.run.config, indent=2, ensure_ascii=False)
    return RunView(_facts(page.report), config)


def _facts(report: Report) -> list[Fact]:
    run = report.run
    sizes = sorted({row.n for row in [*report.scenarios, *report.windows]})
    facts = [
        Fact("Run", [run.run_id]),
        Fact("Made", [run.created]),
        Fact("Models", [_identity(k, v) for k, v in run.models.items()]),
        Fact("Encoders", [_identity(k, v) for k, v in run.encoders.items()]),
        Fact("Critic", [run.critic] if run.critic else []),
        Fact("Accuracy", [_identity(run.grader.meaning, run.grader.identity)] if run.grader else []),
        Fact("In-distribution records", [run.id_scenario] if run.id_scenario else []),
        Fact(
            "Rows a result",
            [count(sizes[0]) if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"] if sizes else [],
        ),
        Fact("Rows that belong together", [run.groups] if run.groups else []),
        Fact("Work was done", [run.executor] if run.executor else []),
        Fact("Time by stage", [f"{stage}: {duration(seconds)}" for stage, seconds in run.seconds.items()]),
        Fact("Interval level", [percent(run.interval_level)]),
        Fact("Thresholds", [f"{name}: {value:g}" for name, value in run.thresholds.items()]),
        Fact("Seed", [str(run.seed)]),
        Fact("Config hash", [run.config_hash]),
    ]
    return [fact for fact in facts if fact.values]


def _identity(name: str, identity: str) -> str:
    return name if name == identity else f"{name}: {identity}"
