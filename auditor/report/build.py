"""From an audit's sums to its report: a row for every scenario and model, tables, notes and the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditor.bounds.entropies import (
    EntropyShift,
    Known,
    QueryEntropies,
    entropy_shift,
    from_log_probabilities,
    upper_entropy,
)
from auditor.encoders.precision import precision_notes
from auditor.estimators.crossfit import FoldedClub
from auditor.measures import assessment as assessed
from auditor.measures import reducer
from auditor.measures.conditional import TABLE as CONDITIONAL
from auditor.measures.conditional import Conditionals, conditionals
from auditor.measures.correlations import correlations
from auditor.measures.models import NOTHING, TABLE, compare_models
from auditor.measures.query_coverage import unknown_queries
from auditor.measures.sampled_entropies import query_entropies
from auditor.measures.verdict import overall, scenario_verdict
from auditor.profiles.answer_sample import AnswerVectors
from auditor.profiles.sketching import SketchSet
from auditor.profiles.usable_rows import Told
from auditor.records import Quarantine
from auditor.report import provenance
from auditor.scenarios import Scenario
from auditor.storage.embedding_store import UnitVectors
from schemas.config import AuditConfig, CriticConfig
from schemas.report import WHERE, Report, Row, Verdict


@dataclass(frozen=True)
class Audited:
    """What an audit has measured: all that its report is made of. By (scenario, model)."""

    config: AuditConfig
    scenarios: Sequence[Scenario]
    """The in-distribution one first."""
    told: Mapping[tuple[str, str], Told]
    sets: Mapping[tuple[str, str], SketchSet]
    """Those that have usable rows."""
    found: Mapping[tuple[str, str], reducer.Divergences]
    """From the in-distribution rows (see `tested`)."""
    quarantine: Quarantine
    texts: UnitVectors
    """Hold the sampled answers: of all records, or of a sample of them (`AnswerVectors`)."""
    critics: Sequence[FoldedClub]
    ungraded: str
    """Why rows without a graded answer have none, and the way out."""

    @property
    def models(self) -> list[str]:
        return [m.name for m in self.config.models]


def report(of: Audited, made: provenance.Made, where: list[dict[str, Any]]) -> Report:
    """The whole report; `where`: rows of the table `WHERE`."""
    config, scenarios, models = of.config, of.scenarios, of.models
    notes = unknown_queries(config.encoders.text, scenarios)
    notes |= {s.name: [*s.notes, *notes.get(s.name, [])] for s in scenarios if s.notes}
    shared = _shared(of)
    rows = [_row(of, shared, s, m, notes.get(s.name, [])) for m in models for s in scenarios]
    compared = compare_models(
        of.sets,
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
    given = [line for s, each in shared.conditional.items() for line in each.table(s)]
    return Report(
        run=provenance.run(config, scenarios[0].name, made),
        scenarios=rows,
        tables=({TABLE: [row.model_dump() for row in compared]} if compared else {})
        | ({WHERE: where} if where else {})
        | ({CONDITIONAL: given} if given else {}),
        correlations=correlations(
            rows, {(s, m): t.scores for (s, m), t in of.told.items() if len(t.scores)}, config.seed
        ),
        quarantine=of.quarantine.counts(),
        missing=missing,
        verdict=overall({f"{r.scenario} / {r.model}": r.verdict for r in rows if r.family != "id"}),
        notes=[
            _level(config.critic),
            *_sampled_notes(of.texts, config.row_sample),
            *_label_free_notes(rows),
            *precision_notes(config.encoders, made.encoders),
            *dict.fromkeys(note for each in notes.values() for note in each),
            *([f"{naive} timestamps had no zone and were taken as UTC"] if naive else []),
            *lost_scores(scenarios),
        ],
    )


# Rows.


@dataclass(frozen=True)
class Shared:
    """What all rows of a report are measured with, made once."""

    codebook: NDArray[np.float32] | None
    conditional: Mapping[str, Conditionals]
    """Of each scenario, where they are asked for."""
    sides: dict[int, reducer.AnswerSide] = field(default_factory=dict)

    def side(self, rows: SketchSet) -> reducer.AnswerSide:
        """Of a set that lives as long as the report is made: P's is needed again and again."""
        if id(rows) not in self.sides:
            self.sides[id(rows)] = reducer.answer_side(rows, self.codebook)
        return self.sides[id(rows)]


def _shared(of: Audited) -> Shared:
    config, first = of.config, of.scenarios[0].name
    answers_of_p = [of.sets[first, m] for m in of.models if (first, m) in of.sets]
    conditional: dict[str, Conditionals] = {}
    for s in of.scenarios[1:] if config.bounds.conditional else ():
        for m in [m for m in of.models if (s.name, m) in of.found][:1]:  # inputs and references: of any model
            conditional[s.name] = conditionals(of.sets[first, m], of.sets[s.name, m], config.seed)
    codebook = reducer.answer_codebook(answers_of_p, config.bounds.symbols, config.seed)
    return Shared(codebook, conditional)


def _row(of: Audited, shared: Shared, scenario: Scenario, model: str, notes: list[str]) -> Row:
    config, key, first = of.config, (scenario.name, model), (of.scenarios[0].name, model)
    about: dict[str, Any] = {
        "scenario": scenario.name,
        "model": model,
        "family": scenario.family,
        "quarantined": sum(r.scenario == scenario.name and r.model in ("", model) for r in of.quarantine),
    }
    if key not in of.sets or first not in of.sets:
        verdict = Verdict(status="undecided", because="no usable row")
        return Row(**about, n=0, verdict=verdict, missing={"emi": "no usable row"})
    graded = assessed.accuracy(of.told[key].scores, config.interval_level)
    against = assessed.Against(of.sets[first], shared.side(of.sets[first]), of.critics, config.interval_level)
    if key == first:
        it = assessed.first(against, seed=config.seed)
        verdict = Verdict(
            status="pass", because="the in-distribution records, which the others are compared with"
        )
    else:
        it = assessed.assess(against, _new(of, shared, scenario.name, model), seed=config.seed)
        emid, interval = (it.relevance.emid, it.relevance.emid_interval) if it.relevance else (None, None)
        partial = it.bounds["partial"].value if "partial" in it.bounds else None
        verdict = scenario_verdict(it.n, emid, interval, partial, config.thresholds)
    about |= {"verdict": verdict, "missing": _missing(it, graded, of.ungraded), "notes": notes}
    return assessed.row(it, of.told[key].facts, about, graded)


def _new(of: Audited, shared: Shared, scenario: str, model: str) -> assessed.New:
    first, key = (of.scenarios[0].name, model), (scenario, model)
    p, q, divergences = of.sets[first], of.sets[key], of.found[key]
    joint = divergences.found["joint"].value if "joint" in divergences.found else None
    conditional = shared.conditional.get(scenario)
    return assessed.New(
        q,
        shared.side(q),
        divergences,
        reducer.input_divergence(p, q, seed=of.config.seed) if joint is None else joint,
        _entropies(of, shared, scenario, model),
        None if conditional is None else conditional.terms,
    )


def _missing(it: assessed.Assessed, graded: assessed.Accuracy, ungraded: str) -> dict[str, str]:
    missing = it.divergences.missing | dict(it.lacking)
    if it.relevance is None:
        missing["emi"] = missing["emid"] = "no row has a query, an answer and a reference"
    elif it.relevance.emi_interval is None:
        missing["intervals.emi"] = missing["intervals.emid"] = "too few hash blocks with rows"
    if it.silent is not None:
        missing["label_free"] = it.silent
    if graded.value is None:
        missing["accuracy"] = ungraded
    return missing


def _entropies(of: Audited, shared: Shared, scenario: str, model: str) -> Known:
    """Entropies as given, from the log-probabilities of sampled answers, and from the cells of several
    answers a query; nothing where there are none of these."""
    config, p, q = of.config, of.told[of.scenarios[0].name, model], of.told[scenario, model]
    settings = next(m for m in config.models if m.name == model)
    known = Known(given_reference=config.bounds.entropy_reference, given_model=config.bounds.entropy_model)

    def shift(of_p: QueryEntropies, of_q: QueryEntropies) -> EntropyShift:
        return entropy_shift(of_p, of_q, level=config.interval_level, seed=config.seed)

    if settings.generator is not None:
        logs = [
            from_log_probabilities([v for _, v in each], [base for base, _ in each], settings.temperature)
            for each in (p.log_probabilities, q.log_probabilities, p.log_probabilities + q.log_probabilities)
        ]
        known = replace(known, text=upper_entropy(logs[2]), text_shift=shift(*logs[:2]))
    if shared.codebook is not None and p.samples and q.samples:
        cells = [
            query_entropies(each, of.texts, shared.codebook)
            for each in (p.samples, q.samples, p.samples + q.samples)
        ]
        known = replace(known, cells=upper_entropy(cells[2]), cells_shift=shift(*cells[:2]))
    return known


# Notes.


def lost_scores(scenarios: Sequence[Scenario]) -> list[str]:
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


def _sampled_notes(answers: UnitVectors, most: int) -> list[str]:
    if not isinstance(answers, AnswerVectors) or not answers.seen:
        return []
    return [
        f"entropies of sampled answers are of {answers.kept:,} of the {answers.seen:,} records that have any:"
        f" a streaming audit (critic.train_on: sample) keeps those of at most {most:,} (row_sample) a "
        "scenario and model"
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
