"""A report is built from what an audit, or a comparison of traffic with a baseline, has measured: rows,
tables, notes and the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from auditor.encoders.coverage import KNOWN
from auditor.encoders.precision import precision_notes
from auditor.measures.assessment import NO_ROW, Assessment, nothing
from auditor.measures.census import Rules, Standard
from auditor.measures.conditional import TABLE as CONDITIONAL
from auditor.measures.correlations import correlations
from auditor.measures.divergences import Divergences, check_comparable
from auditor.measures.families import MODALITIES
from auditor.measures.forms import Formed, formed, styles_apart
from auditor.measures.judgement import Judgement
from auditor.measures.models import NOTHING, OTHER_FORMS, TABLE, compare_models
from auditor.measures.query_coverage import unknown_queries
from auditor.measures.verdict import overall, with_feed, with_findings
from auditor.profiles.baseline import Baseline
from auditor.profiles.profile import GroupKey, Profile
from auditor.records import Quarantine
from auditor.report.census import Counts, of_scenarios, of_windows
from auditor.report.numbers import plural
from auditor.report.provenance import Provenance, how_trained, run
from auditor.scenarios import Grouping, Scenario
from auditor.scenarios.reading import reading_notes, sources_table
from auditor.scenarios.row_ranges import Part
from auditor.scenarios.windows import Window, cut
from schemas.config import AuditConfig, CriticConfig, DriftConfig, config_hash
from schemas.record import Quarantined
from schemas.report import SOURCES, WHERE, ComparedRow, Form, Graded, Report, Row, Variation, Verdict


@dataclass(frozen=True)
class Audited:
    """An audit has measured this: all that its report is made of."""

    config: AuditConfig
    scenarios: Sequence[Scenario]
    """The in-distribution one first."""
    profiles: Mapping[GroupKey, Profile]
    divergences: Mapping[GroupKey, Divergences]
    """From the in-distribution rows, adjusted."""
    assessments: Mapping[GroupKey, Assessment]
    judgement: Judgement
    quarantine: Quarantine
    slices: list[dict[str, Any]]
    """Rows of the table `WHERE`."""
    grouping: Grouping

    @property
    def models(self) -> list[str]:
        return [m.name for m in self.config.models]


def audit_report(audited: Audited, provenance: Provenance) -> Report:
    """Return the whole report of an audit."""
    config, scenarios, models = audited.config, audited.scenarios, audited.models
    first = scenarios[0].name
    for key in audited.divergences:
        check_comparable(audited.profiles[GroupKey(first, key.model)], audited.profiles[key])
    notes = unknown_queries(config.encoders.text, scenarios)
    notes |= {s.name: [*s.notes, *notes.get(s.name, [])] for s in scenarios if s.notes}
    forms = formed({key: p for key, p in audited.profiles.items() if p.n}, config.seed)
    counts, feed = of_scenarios(
        scenarios, audited.profiles, audited.assessments, audited.quarantine, audited.judgement.missing
    )
    rows = [_row(audited, s, m, notes.get(s.name, []), forms, counts) for m in models for s in scenarios]
    unreliable = _unreliable_in_itself(audited)
    compared = compare_models(
        {key: profile for key, profile in audited.profiles.items() if profile.n},
        [s.name for s in scenarios],
        models,
        config.current,
        margin=config.comparison.margin,
        level=config.interval_level,
        seed=config.seed,
        unreliable=unreliable,
    )
    others: list[ComparedRow] = []
    if compared:
        others = [
            row
            for form in OTHER
            for row in compare_models(
                {key: getattr(found, form) for key, found in forms.items()},
                [s.name for s in scenarios],
                models,
                config.current,
                margin=None,
                level=config.interval_level,
                seed=config.seed,
                unreliable=unreliable,
                form=form,
            )
        ]
        compared = [_with_style(row, forms) for row in compared]
    missing = {} if "image" in provenance.encoders else {"divergences.image": _no_images(config)}
    if len(models) > 1 and not compared:
        missing["comparison"] = NOTHING
    readings = [s.reading for s in scenarios]
    read = sources_table(readings)
    conditional: dict[str, list[dict[str, Any]]] = {}
    for key, assessment in audited.assessments.items():  # of inputs and references: of any model
        if assessment.conditional:
            conditional.setdefault(key.scenario, assessment.conditional)
    conditional_rows = [line for lines in conditional.values() for line in lines]
    scores: dict[tuple[str, str | None], Any] = {
        (k.scenario, k.model): p.scores for k, p in audited.profiles.items() if len(p.scores)
    }
    return Report(
        run=run(config, first, provenance, audited.grouping.source),
        scenarios=rows,
        tables=({TABLE: [row.model_dump() for row in compared]} if compared else {})
        | ({OTHER_FORMS: [row.model_dump() for row in others]} if others else {})
        | ({WHERE: audited.slices} if audited.slices else {})
        | ({CONDITIONAL: conditional_rows} if conditional_rows else {})
        | ({SOURCES: read} if read else {}),
        correlations=correlations(rows, scores, config.seed),
        quarantine=audited.quarantine.counts(),
        feed=feed,
        missing=missing,
        verdict=with_feed(
            overall({f"{r.scenario} / {r.model}": r.verdict for r in rows if r.family != "id"}), feed
        ),
        notes=[
            _level(config.critic),
            *_sampled_notes(list(audited.profiles.values()), config.row_sample),
            *_label_free_notes(rows),
            *precision_notes(config.encoders, provenance.encoders),
            *dict.fromkeys(note for lines in notes.values() for note in lines),
            *reading_notes(readings),
            *audited.grouping.notes,
        ],
    )


def _unreliable_in_itself(audited: Audited) -> dict[tuple[str, str], str]:
    """Return why EMI of these scenarios and models is not reliable, whatever that of the reference data is:
    models are compared within a scenario."""
    return {
        (key.scenario, key.model): reason
        for key, assessed in audited.assessments.items()
        if (reason := assessed.unreliable) is not None
    }


OTHER: tuple[Form, ...] = ("cross_fitted", "style_free")


def _with_style(row: ComparedRow, forms: Mapping[GroupKey, Formed]) -> ComparedRow:
    """Say where the styles of a comparison's models differ too much; of a mean where they do anywhere."""
    pairs = [
        (forms[key], forms[other])
        for key in forms
        if key.model == row.new
        and row.scenario in (None, key.scenario)
        and (other := GroupKey(key.scenario, row.current)) in forms
    ]
    apart = [(a, styles_apart(a.style, b.style)) for a, b in pairs]
    differing = [words for _, words in apart if words]
    if not differing:
        return row
    said = (
        "; ".join(differing[0])
        if row.scenario is not None
        else f"in {len(differing)} of {len(pairs)} scenarios"
    )
    return row.model_copy(update={"style": said})


def _row(
    audited: Audited,
    scenario: Scenario,
    model: str,
    notes: list[str],
    forms: Mapping[GroupKey, Formed],
    counts: Mapping[GroupKey, Counts],
) -> Row:
    key, reference = GroupKey(scenario.name, model), scenario is audited.scenarios[0]
    divergences = audited.divergences.get(key, Divergences())
    assessed = audited.assessments.get(key) or nothing(audited.profiles[key], () if reference else MODALITIES)
    came = counts[key]
    if not assessed.measures.n:
        verdict = with_findings(Verdict(status="undecided", because=NO_ROW), came.findings)
    elif reference:
        verdict = Verdict(
            status="pass", because="the in-distribution records, which the others are compared with"
        )
    else:
        verdict = audited.judgement.rule(assessed.measures, divergences.found, came.findings)
    quarantined = sum(r.scenario == scenario.name and r.model in ("", model) for r in audited.quarantine)
    made = row(
        assessed,
        divergences,
        verdict,
        scenario=scenario.name,
        model=model,
        family=scenario.family,
        quarantined=quarantined,
        came=came,
        notes=notes,
    )
    found = forms.get(key)
    return made if found is None else made.model_copy(update={"emi_forms": found.forms, "style": found.style})


def row(
    assessed: Assessment,
    divergences: Divergences,
    verdict: Verdict,
    *,
    scenario: str,
    model: str | None,
    family: str,
    quarantined: int,
    came: Counts | None = None,
    notes: Sequence[str] = (),
    start: str | None = None,
    end: str | None = None,
    variation: Variation | None = None,
) -> Row:
    """Return a row of the report, of a scenario or a window."""
    measures = dict(assessed.measures)
    measures["missing"] = divergences.missing | assessed.measures.missing
    return Row(
        **measures,
        scenario=scenario,
        model=model,
        family=family,
        divergences=divergences.found,
        variation=variation,
        quarantined=quarantined,
        census=None if came is None else came.census,
        findings=[] if came is None else came.findings,
        verdict=verdict,
        notes=list(notes),
        start=start,
        end=end,
    )


# Traffic.

_NO_TIME = datetime.min.replace(tzinfo=UTC)

ENOUGH_WINDOWS = 10
"""Windows against one baseline are not independent tests: below this many windows' rows in the baseline, some
baselines alarm more often than the nominal rate."""


@dataclass(frozen=True)
class Drifted:
    """A comparison of traffic with a baseline has measured this: all that its report is made of."""

    config: DriftConfig
    baseline: Baseline
    traffic: Scenario
    model: str | None
    """Whose responses; None where there are none."""
    parts: Sequence[Part]
    divergences: Mapping[GroupKey, Divergences]
    """From the baseline, adjusted."""
    assessments: Mapping[GroupKey, Assessment]
    judgement: Judgement
    variations: Mapping[str, Variation]
    """Window -> how far it lies from the others, where the baseline keeps enough windows to say."""
    no_variation: str | None
    """Why windows are not held against the baseline's own; None where they are."""
    slices: list[dict[str, Any]]
    """Rows of the table `WHERE`."""
    chars_per_token: Mapping[str, float | None]
    """Characters a token of each window's queries, where the text encoder tells how well it knows them."""
    encoders: Mapping[str, str]
    """Modality -> identity."""
    graded: Graded | None
    """What answers were graded by."""
    grouping: Grouping
    """Of the traffic."""
    set_aside: Mapping[Window | None, Sequence[Quarantined]]
    """The window that rows which could not be read would have been in -> these rows."""
    standard: Standard
    """What the baseline's rows hold."""

    @property
    def windows(self) -> list[Window]:
        """Return all windows in their order, with those that no row of could be used."""
        windows = [part.window for part in self.parts]
        if any(window.start is None for window in windows):
            return windows
        every = {*windows, *(window for window in self.set_aside if window is not None)}
        return sorted(every, key=lambda window: window.start or _NO_TIME)


def drift_report(drifted: Drifted, content: str, executor: str, seconds: Mapping[str, float]) -> Report:
    """Return the whole report of a drift. `content` is the digest of every row."""
    config, manifest, model = drifted.config, drifted.baseline.manifest, drifted.model
    quarantine = drifted.traffic.quarantine()
    for assessed in drifted.assessments.values():
        for quarantined in assessed.set_aside:
            quarantine.add(quarantined)
    counts, feed = of_windows(
        drifted.traffic,
        drifted.windows,
        drifted.set_aside,
        {key.scenario: assessed for key, assessed in drifted.assessments.items()},
        drifted.standard,
        drifted.baseline.profile,
        _rules(drifted),
        cut(config)[0],
    )
    parts = {part.window: part for part in drifted.parts}
    rows = [
        _window(drifted, parts[window], came) if window in parts else _empty_window(drifted, window, came)
        for window, came in counts.items()
    ]
    provenance = Provenance(
        config_hash(config),
        f"{manifest.identity}{content}",
        dict(drifted.encoders),
        {model: "recorded responses"} if model is not None else {},
        f"{how_trained(manifest.config.critic)}, on {manifest.pairs:,} pairs of the baseline"
        if manifest.critics
        else None,
        grader=drifted.graded,
        executor=executor,
        seconds=seconds,
        beside={"baseline_config": manifest.config.model_dump(mode="json")},
    )
    graded: dict[str, Any] = {}
    if manifest.grader is not None:
        graded = {"accuracy": manifest.accuracy, "grader": manifest.grader.name}
    read = sources_table([drifted.traffic.reading])
    return Report(
        run=run(config, "baseline", provenance, drifted.grouping.source),
        windows=rows,
        tables={
            **({WHERE: drifted.slices} if drifted.slices else {}),
            **({SOURCES: read} if read else {}),
            "baseline": [{"rows": manifest.n, "model": manifest.model, **graded, **manifest.descriptors}],
        },
        quarantine=quarantine.counts(),
        feed=feed,
        verdict=with_feed(overall({row.scenario: row.verdict for row in rows}), feed),
        notes=_drift_notes(drifted, rows),
    )


def _rules(drifted: Drifted) -> Rules:
    """Return the rules by which it is found what is missing of a window. Where alarms have a budget, so have
    these."""
    rules = drifted.judgement.missing
    budget = next((v.budget for v in drifted.variations.values()), None)
    return rules if budget is None else replace(rules, level=min(rules.level, 1 / budget))


def _empty_window(drifted: Drifted, window: Window, came: Counts) -> Row:
    """Return the row of a window of which rows came and none could be used."""
    assessed = nothing(Profile.empty(), drifted.judgement.tests)
    return row(
        assessed,
        Divergences(),
        with_findings(Verdict(status="undecided", because=NO_ROW), came.findings),
        scenario=window.name,
        model=drifted.model,
        family="window",
        quarantined=len(drifted.set_aside[window]),
        came=came,
        start=window.start.isoformat() if window.start else None,
        end=window.end.isoformat() if window.end else None,
    )


def _window(drifted: Drifted, part: Part, came: Counts) -> Row:
    window, key = part.window, GroupKey(part.window.name, drifted.model or "")
    divergences, assessed = drifted.divergences[key], drifted.assessments[key]
    start, end = window.start, window.end
    if start is None and part.times is not None:
        start, end = part.times
    verdict = with_findings(Verdict(status="undecided", because=NO_ROW), came.findings)
    notes: list[str] = []
    variation = drifted.variations.get(window.name)
    if assessed.measures.n:
        verdict = drifted.judgement.rule(assessed.measures, divergences.found, came.findings, variation)
        notes = _window_notes(drifted, window.name, assessed.measures.n, divergences)
    return row(
        assessed,
        divergences,
        verdict,
        scenario=window.name,
        model=drifted.model,
        family="window",
        quarantined=len(assessed.set_aside) + len(drifted.set_aside.get(window, ())),
        came=came,
        notes=notes,
        start=start.isoformat() if start else None,
        end=end.isoformat() if end else None,
        variation=variation,
    )


def _window_notes(drifted: Drifted, name: str, n: int, divergences: Divergences) -> list[str]:
    manifest = drifted.baseline.manifest
    notes = _short_baseline(manifest.n, n)
    if any(d.paired for d in divergences.found.values()):
        notes.append("rows share base ids with the baseline: they are compared within pairs")
    elif copies := max((d.n_copies for d in divergences.found.values()), default=0):
        notes.append(
            f"{copies:,} rows share base ids with the baseline: they are compared within pairs, the others "
            "apart"
        )
    chars_per_token = drifted.chars_per_token.get(name)
    if chars_per_token is not None and manifest.chars_per_token:
        ratio = chars_per_token / manifest.chars_per_token
        if ratio < KNOWN:
            notes.append(
                f"text encoder {manifest.config.encoders.text.name} does not know these queries: "
                f"{ratio:.2f} of the baseline's characters per token (below {KNOWN})"
            )
    return notes


def _short_baseline(n: int, window: int) -> list[str]:
    """Return a note where the baseline holds too few windows for p-values that hold for it alone."""
    if n >= ENOUGH_WINDOWS * window:
        return []
    return [
        f"the baseline has {n} rows, fewer than {ENOUGH_WINDOWS} times the window's {window}: p-values are "
        "right on average over baselines, less so for this one (changes no verdict)"
    ]


def _drift_notes(drifted: Drifted, rows: Sequence[Row]) -> list[str]:
    manifest, model = drifted.baseline.manifest, drifted.model
    notes = _short_baseline(manifest.n, max(row.n for row in rows))
    notes += precision_notes(manifest.config.encoders, dict(drifted.encoders))
    notes += _variation_notes(drifted)
    if len(rows) > 1 and not drifted.variations:
        p = drifted.config.thresholds.p_value
        notes.append(
            f"{len(rows)} windows are tested at {p:g} each: about {len(rows) * p:.2g} would fail by chance"
        )
    census = manifest.census
    lost = 0 if census is None else sum(census.left_out.values())
    if census is not None and lost > drifted.judgement.missing.max_left_out * census.rows_in:
        reasons = ", ".join(f"{reason} {n:,}" for reason, n in census.left_out.items())
        notes.append(f"the baseline left out {lost:,} of its {census.rows_in:,} rows ({reasons})")
    if None not in (model, manifest.model) and model != manifest.model:
        notes.append(
            f"the responses are of {model}, the baseline's of {manifest.model}: "
            "the response divergence compares two models"
        )
    if any(row.emid is not None for row in rows) and not manifest.config.critic.cross_fit:
        notes.append(
            "the critic was trained on the baseline's own rows: quiet windows may have an EMID above 0, too, "
            "and the ranges of reweighted label-free estimates are too narrow"
        )
    if drifted.grouping.source != manifest.groups:
        notes.append(
            f"rows that belong together are taken from {drifted.grouping.source}; in the baseline from "
            f"{manifest.groups}"
        )
    return [*notes, *reading_notes([drifted.traffic.reading]), *drifted.grouping.notes]


def _variation_notes(drifted: Drifted) -> list[str]:
    """Say what windows are held against beside chance among rows, and which alarms there are."""
    if drifted.no_variation is not None:
        return [drifted.no_variation]
    variations = list(drifted.variations.values())
    if not variations:
        return []
    notes = [
        f"each window is also compared with the {variations[0].baseline_windows} windows of the baseline: "
        f"while windows differ in no lasting way, alarms are at least {variations[0].budget:g} windows apart "
        "on average (thresholds.windows_between_alarms)"
    ]
    for since in dict.fromkeys(v.since for v in variations if v.since is not None):
        alarmed = sum(v.since == since for v in variations)
        notes.append(
            f"a change began with {since}: {plural(alarmed, 'window')} under alarm since it was noticed"
        )
    return notes


# Notes.


def _label_free_notes(rows: Sequence[Row]) -> list[str]:
    if not any(row.label_free is not None and row.label_free.voice == "reweighted" for row in rows):
        return []
    return [
        "label-free estimates assume that the right answer to an input is the same in both; reweighted ones "
        "take the critic as trained on other rows than these, which it is not: their ranges are too narrow"
    ]


def _sampled_notes(profiles: Sequence[Profile], most: int) -> list[str]:
    samples = [profile.answers for profile in profiles if profile.answers is not None]
    kept, seen = sum(len(s) for s in samples), sum(s.seen for s in samples)
    if kept == seen:
        return []
    return [
        f"entropies of sampled answers are of {kept:,} of the {seen:,} records that have any: at most "
        f"{most:,} (row_sample) a scenario and model are kept"
    ]


def _level(critic: CriticConfig) -> str:
    """Say what the level of EMI may be taken for."""
    if critic.cross_fit:
        return "the critic is cross-fitted: no row is evaluated by a critic that saw a row of its base id"
    if critic.early_stopping:
        return "the critic's training was stopped by the likelihood of held-out base ids"
    if critic.train_on == "sample":
        return (
            "the critic is trained on a sample of the rows that it is evaluated on: EMI compares scenarios "
            "and models of this report, and its level says nothing by itself (critic.cross_fit)"
        )
    return (
        "as in the paper, the critic is trained on the pool of all rows that it is evaluated on: EMI compares"
        " scenarios and models of this report, and its level says nothing by itself (critic.cross_fit)"
    )


def _no_images(config: AuditConfig) -> str:
    if config.encoders.image is None:
        return "encoders.image is null: image terms are left out"
    return "no record has an image"
