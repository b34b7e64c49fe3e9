"""What came and what is missing, of the scenarios of an audit or of the windows of traffic, put together for
a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from auditor.measures import feed
from auditor.measures.assessment import Assessment
from auditor.measures.census import Came, Rules, Standard, findings
from auditor.measures.contents import Contents, row_marks
from auditor.measures.shares import ENOUGH_WINDOWS, Counted
from auditor.profiles.profile import GroupKey, Profile
from auditor.records import Quarantine
from auditor.report.findings import once
from auditor.scenarios import Scenario
from auditor.scenarios.windows import Clock, Window
from schemas.record import Quarantined
from schemas.report import Census, Finding

LABELLED = 0.5
"""Rows are expected to have correct answers where the middle window (or scenario) has them at this part of
the reference's share at least: traffic that nobody labels has none, and that is no fault."""


@dataclass(frozen=True)
class Counts:
    """This is what came for one row of the report, and what is missing of it."""

    census: Census
    findings: list[Finding]


def of_scenarios(
    scenarios: Sequence[Scenario],
    profiles: Mapping[GroupKey, Profile],
    assessments: Mapping[GroupKey, Assessment],
    quarantine: Quarantine,
    rules: Rules,
) -> tuple[dict[GroupKey, Counts], list[Finding]]:
    """Return the counts of every scenario (the in-distribution one first) and model, and what is missing of
    their files and of the in-distribution records, which the verdict of no row heeds."""
    found: dict[GroupKey, Counts] = {}
    of_reference: list[Finding] = []
    first = scenarios[0].name
    aside: dict[tuple[str, str], list[Quarantined]] = {}
    for row in quarantine:
        aside.setdefault((row.scenario, row.model), []).append(row)
    for model in dict.fromkeys(key.model for key in profiles):
        came = {
            name: Came(
                name,
                f"In {name}",
                profiles[key].n,
                assessments[key].contents if key in assessments else Contents(),
                [*aside.get((name, ""), []), *aside.get((name, model), [])],
            )
            for name in (s.name for s in scenarios)
            if (key := GroupKey(name, model)) in profiles
        }
        own = came[first]
        standard = Standard.of(
            "the in-distribution records",
            profiles[GroupKey(first, model)],
            Counted(sum(own.left_out.values()), own.rows_in - own.repeats),
            Counted(own.repeats, own.rows_in),
        )
        others = [c.contents for name, c in came.items() if name != first]
        rules = replace(rules, labelled=_labelled(others, standard.contents))
        for name, c in came.items():
            found[GroupKey(name, model)] = Counts(c.census(), findings(c, standard, rules))
        of_reference += [
            finding.model_copy(update={"status": "warn"})  # the reference is not what is judged
            for finding in found[GroupKey(first, model)].findings
        ]
    by_name = {file.name: file for s in scenarios for file in s.reading.files}
    of_files = feed.of_files(list(by_name.values()), rules.max_left_out)
    of_formats = [finding for s in scenarios for finding in feed.of_formats(s.reading.files)]
    return found, [*once(of_reference), *of_files, *of_formats]


def of_windows(
    traffic: Scenario,
    windows: Sequence[Window],
    set_aside: Mapping[Window | None, Sequence[Quarantined]],
    assessments: Mapping[str, Assessment],
    standard: Standard,
    baseline: Profile,
    rules: Rules,
    clock: Clock | None,
) -> tuple[dict[Window, Counts], list[Finding]]:
    """Return the counts of every window, in their order, and what is missing of the files and days.
    `assessments` are by the name of the window; `clock` cuts windows of time."""
    came = {
        window: Came(
            window.name,
            feed.phrase(window),
            assessed.measures.n if (assessed := assessments.get(window.name)) is not None else 0,
            assessed.contents if assessed is not None else Contents(),
            [*set_aside.get(window, ()), *(assessed.set_aside if assessed is not None else ())],
        )
        for window in windows
    }
    rules = replace(rules, labelled=_labelled([c.contents for c in came.values()], standard.contents))
    arrived = [
        feed.Arrived(window, c.phrase, c.rows_in - c.repeats, c.contents) for window, c in came.items()
    ]
    usual = [counts.get("new", 0) for counts in standard.windows.values()] if clock else []
    of_baseline = standard.contents
    beside = feed.of_windows(
        arrived,
        feed.Usual(
            usual if len(usual) >= ENOUGH_WINDOWS else [],
            frozenset(row_marks(baseline.sample)),
            min(1.0, of_baseline.repeated / of_baseline.sampled),
            of_baseline.sampled,
            rules.least_rows,
        ),
    )
    found = {
        window: Counts(c.census(), [*findings(c, standard, rules), *beside[window]])
        for window, c in came.items()
    }
    usual_windows = [clock.named(name) for name in standard.windows] if clock else []
    files = traffic.reading.files
    of_files = [*feed.of_files(files, rules.max_left_out), *feed.of_formats(files)]
    whole = [*of_files, *feed.of_gaps(arrived, usual_windows)]
    return found, whole


def _labelled(groups: Sequence[Contents], reference: Contents) -> bool:
    usual = reference.share("reference")
    shares = [share for c in groups if (share := c.share("reference")) is not None]
    return bool(shares) and usual is not None and median(shares) >= LABELLED * usual
