"""From what an audit, or a comparison of traffic with a baseline, has measured to its report: rows, tables,
notes and the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from auditor.encoders.coverage import KNOWN
from auditor.encoders.precision import precision_notes
from auditor.measures.assessment import NO_ROW, Assessment, nothing
from auditor.measures.conditional import TABLE as CONDITIONAL
from auditor.measures.correlations import correlations
from auditor.measures.divergences import Divergences, check_comparable
from auditor.measures.families import MODALITIES
from auditor.measures.judgement import Judgement
from auditor.measures.models import NOTHING, TABLE, compare_models
from auditor.measures.query_coverage import unknown_queries
from auditor.measures.verdict import overall
from auditor.profiles.baseline import Baseline
from auditor.profiles.profile import GroupKey, Profile
from auditor.records import Quarantine
from auditor.report import provenance
from auditor.scenarios import Scenario
from auditor.scenarios.row_ranges import Part
from auditor.scenarios.windows import gaps
from schemas.config import AuditConfig, CriticConfig, DriftConfig, config_hash
from schemas.report import WHERE, Graded, Report, Row, Verdict


@dataclass(frozen=True)
class Audited:
    """What an audit has measured: all that its report is made of."""

    config: AuditConfig
    scenarios: Sequence[Scenario]
    """The in-distribution one first."""
    profiles: Mapping[GroupKey, Profile]
    divergences: Mapping[GroupKey, Divergences]
    """From the in-distribution rows, adjusted."""
    assessments: Mapping[GroupKey, Assessment]
    judgement: Judgement
    quarantine: Quarantine
    where: list[dict[str, Any]]
    """Rows of the table `WHERE`."""

    @property
    def models(self) -> list[str]:
        return [m.name for m in self.config.models]


def audit_report(of: Audited, made: provenance.Made) -> Report:
    """The whole report of an audit."""
    config, scenarios, models = of.config, of.scenarios, of.models
    first = scenarios[0].name
    for key in of.divergences:
        check_comparable(of.profiles[GroupKey(first, key.model)], of.profiles[key])
    notes = unknown_queries(config.encoders.text, scenarios)
    notes |= {s.name: [*s.notes, *notes.get(s.name, [])] for s in scenarios if s.notes}
    rows = [_row(of, s, m, notes.get(s.name, [])) for m in models for s in scenarios]
    compared = compare_models(
        {key: profile for key, profile in of.profiles.items() if profile.n},
        [s.name for s in scenarios],
        models,
        config.current,
        margin=config.comparison.margin,
        level=config.interval_level,
        seed=config.seed,
    )
    missing = {} if "image" in made.encoders else {"divergences.image": _no_images(config)}
    if len(models) > 1 and not compared:
        missing["comparison"] = NOTHING
    naive = sum(s.naive_timestamps for s in scenarios)
    conditional: dict[str, list[dict[str, Any]]] = {}
    for key, each in of.assessments.items():  # of inputs and references: of any model
        if each.conditional:
            conditional.setdefault(key.scenario, each.conditional)
    given = [line for lines in conditional.values() for line in lines]
    scores: dict[tuple[str, str | None], Any] = {
        (k.scenario, k.model): p.scores for k, p in of.profiles.items() if len(p.scores)
    }
    return Report(
        run=provenance.run(config, first, made),
        scenarios=rows,
        tables=({TABLE: [row.model_dump() for row in compared]} if compared else {})
        | ({WHERE: of.where} if of.where else {})
        | ({CONDITIONAL: given} if given else {}),
        correlations=correlations(rows, scores, config.seed),
        quarantine=of.quarantine.counts(),
        missing=missing,
        verdict=overall({f"{r.scenario} / {r.model}": r.verdict for r in rows if r.family != "id"}),
        notes=[
            _level(config.critic),
            *_sampled_notes(list(of.profiles.values()), config.row_sample),
            *_label_free_notes(rows),
            *precision_notes(config.encoders, made.encoders),
            *dict.fromkeys(note for each in notes.values() for note in each),
            *([f"{naive} timestamps had no zone and were taken as UTC"] if naive else []),
            *_lost_scores(scenarios),
        ],
    )


def _row(of: Audited, scenario: Scenario, model: str, notes: list[str]) -> Row:
    key, reference = GroupKey(scenario.name, model), scenario is of.scenarios[0]
    found = of.divergences.get(key, Divergences())
    assessed = of.assessments.get(key) or nothing(of.profiles[key], () if reference else MODALITIES)
    if not assessed.measures.n:
        verdict = Verdict(status="undecided", because=NO_ROW)
    elif reference:
        verdict = Verdict(
            status="pass", because="the in-distribution records, which the others are compared with"
        )
    else:
        verdict = of.judgement.rule(assessed.measures, found.found, assessed.shares)
    aside = sum(r.scenario == scenario.name and r.model in ("", model) for r in of.quarantine)
    return row(
        assessed,
        found,
        verdict,
        scenario=scenario.name,
        model=model,
        family=scenario.family,
        quarantined=aside,
        notes=notes,
    )


def row(
    assessed: Assessment,
    found: Divergences,
    verdict: Verdict,
    *,
    scenario: str,
    model: str | None,
    family: str,
    quarantined: int,
    notes: Sequence[str] = (),
    start: str | None = None,
    end: str | None = None,
) -> Row:
    """A row of the report, of a scenario or a window."""
    measures = dict(assessed.measures)
    measures["missing"] = found.missing | assessed.measures.missing
    return Row(
        **measures,
        scenario=scenario,
        model=model,
        family=family,
        divergences=found.found,
        quarantined=quarantined,
        verdict=verdict,
        notes=list(notes),
        start=start,
        end=end,
    )


# Traffic.

ENOUGH_WINDOWS = 10
"""Windows against one baseline are not independent tests: below this many windows' rows in the baseline, some
baselines alarm more often than the nominal rate."""


@dataclass(frozen=True)
class Drifted:
    """What a comparison of traffic with a baseline has measured: all that its report is made of."""

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
    where: list[dict[str, Any]]
    """Rows of the table `WHERE`."""
    chars_per_token: Mapping[str, float | None]
    """Of each window's queries, where the text encoder tells how well it knows them."""
    encoders: Mapping[str, str]
    """Modality -> identity."""
    graded: Graded | None
    """What answers were graded by."""


def drift_report(of: Drifted, content: str, executor: str, seconds: Mapping[str, float]) -> Report:
    """The whole report of a drift. `content`: digest of every row."""
    config, manifest, model = of.config, of.baseline.manifest, of.model
    quarantine = of.traffic.quarantine()
    for assessed in of.assessments.values():
        for aside in assessed.set_aside:
            quarantine.add(aside)
    rows = [_window(of, part) for part in of.parts]
    if not (config.window or config.window_rows):  # the one window's are all that there are
        rows = [row.model_copy(update={"quarantined": len(quarantine)}) for row in rows]
    made = provenance.Made(
        config_hash(config),
        f"{manifest.identity}{content}",
        dict(of.encoders),
        {model: "recorded responses"} if model is not None else {},
        f"{provenance.how_trained(manifest.config.critic)}, on {manifest.pairs:,} pairs of the baseline"
        if manifest.critics
        else None,
        grader=of.graded,
        executor=executor,
        seconds=seconds,
        beside={"baseline_config": manifest.config.model_dump(mode="json")},
    )
    graded: dict[str, Any] = {}
    if manifest.grader is not None:
        graded = {"accuracy": manifest.accuracy, "grader": manifest.grader.name}
    return Report(
        run=provenance.run(config, "baseline", made),
        windows=rows,
        tables={
            **({WHERE: of.where} if of.where else {}),
            "baseline": [{"rows": manifest.n, "model": manifest.model, **graded, **manifest.descriptors}],
        },
        quarantine=quarantine.counts(),
        verdict=overall({row.scenario: row.verdict for row in rows}),
        notes=_drift_notes(of, rows),
    )


def _window(of: Drifted, part: Part) -> Row:
    window, key = part.window, GroupKey(part.window.name, of.model or "")
    found, assessed = of.divergences[key], of.assessments[key]
    start, end = window.start, window.end
    if start is None and part.times is not None:
        start, end = part.times
    verdict = Verdict(status="undecided", because=NO_ROW)
    notes: list[str] = []
    if assessed.measures.n:
        verdict = of.judgement.rule(assessed.measures, found.found, assessed.shares)
        notes = _window_notes(of, window.name, assessed.measures.n, found)
    return row(
        assessed,
        found,
        verdict,
        scenario=window.name,
        model=of.model,
        family="window",
        quarantined=len(assessed.set_aside),
        notes=notes,
        start=start.isoformat() if start else None,
        end=end.isoformat() if end else None,
    )


def _window_notes(of: Drifted, name: str, n: int, found: Divergences) -> list[str]:
    manifest = of.baseline.manifest
    notes = _short_baseline(manifest.n, n)
    if any(d.paired for d in found.found.values()):
        notes.append("rows share base ids with the baseline: they are compared within pairs")
    here = of.chars_per_token.get(name)
    if here is not None and manifest.chars_per_token:
        ratio = here / manifest.chars_per_token
        if ratio < KNOWN:
            notes.append(
                f"text encoder {manifest.config.encoders.text.name} does not know these queries: "
                f"{ratio:.2f} of the baseline's characters per token (below {KNOWN})"
            )
    return notes


def _short_baseline(n: int, window: int) -> list[str]:
    """A note where the baseline holds too few windows for p-values that hold for it alone."""
    if n >= ENOUGH_WINDOWS * window:
        return []
    return [
        f"the baseline has {n} rows, fewer than {ENOUGH_WINDOWS} times the window's {window}: p-values are "
        "right on average over baselines, less so for this one (changes no verdict)"
    ]


def _drift_notes(of: Drifted, rows: Sequence[Row]) -> list[str]:
    manifest, model = of.baseline.manifest, of.model
    notes = _short_baseline(manifest.n, max(row.n for row in rows))
    notes += precision_notes(manifest.config.encoders, dict(of.encoders))
    if len(rows) > 1:
        p = of.config.thresholds.p_value
        notes.append(
            f"{len(rows)} windows are tested at {p:g} each: about {len(rows) * p:.2g} would fail by chance"
        )
    if empty := gaps([part.window for part in of.parts]):
        notes.append(f"{empty} windows between the first and the last have no row")
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
    if naive := of.traffic.naive_timestamps:
        notes.append(f"{naive} timestamps had no zone and were taken as UTC")
    return [*notes, *_lost_scores([of.traffic])]


# Notes.


def _lost_scores(scenarios: Sequence[Scenario]) -> list[str]:
    """A note on scores that could not be used, where there were any."""
    lost = sum(scenario.lost_scores for scenario in scenarios)
    if not lost:
        return []
    return [f"{lost} scores of records were left out: no number from 0 to 1, or of no one model"]


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
    """What the level of EMI may be taken for."""
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
