"""The main job: from records to a risk report, one straight line; the same command again resumes.

python -m jobs.audit --config FILE.yaml --out DIR
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from actors.cluster import connect
from actors.stream import StreamModel
from auditor import reducer
from auditor.agreement import correlations
from auditor.answers import AnswerVectors
from auditor.compared import NOTHING, TABLE, compare_models
from auditor.conditionals import TABLE as CONDITIONAL
from auditor.conditionals import Conditionals, conditionals
from auditor.embeddings import UnitVectors
from auditor.encoders import make_encoder
from auditor.encoders.coverage import KNOWN, chars_per_token, knows_texts
from auditor.encoders.texts import TextEncoder
from auditor.entropies import (
    EntropyShift,
    Known,
    QueryEntropies,
    entropy_shift,
    from_log_probabilities,
    upper_entropy,
)
from auditor.errors import BadInput
from auditor.estimators.crossfit import FoldedClub
from auditor.lab.truth import known_scores
from auditor.label_free import label_free
from auditor.provenance import versions
from auditor.records import MediaPolicy, Quarantine, thumbnail
from auditor.report import write_reports
from auditor.responses import ResponseStore
from auditor.rows import (
    RowKeys,
    answer_items,
    answers,
    descriptors,
    image_items,
    input_texts,
    log_probabilities,
    means,
    prompt,
    row_keys,
    sampled_keys,
    unanswered,
    usable,
)
from auditor.rundir import RunDir
from auditor.sampled import query_entropies
from auditor.scenarios import Scenario, gather, media_policy, sources
from auditor.shards import ContentItem
from auditor.sketch import RowSample
from auditor.sketching import SketchSet
from auditor.slices import leading, moved, side, slices, table
from auditor.store import Store
from auditor.streamed import folded
from auditor.verdict import overall, scenario_verdict
from jobs.measures import Asked, divergences
from jobs.partition import partitioned
from jobs.pipeline import (
    Answered,
    Embedded,
    Plans,
    Trained,
    Workplace,
    answer,
    embed,
    how_trained,
    plans_digest,
    precision_notes,
    sketch_files,
    sketches,
    train,
    workplace,
)
from jobs.progress import Bars
from jobs.settings import config_hash
from jobs.streaming import content, pool_of, stream, surveyed, used_encoders
from schemas.config import AuditConfig, CriticConfig, ModelConfig
from schemas.record import Record
from schemas.report import WHERE, Bound, Divergence, Example, Intervals, LabelFree, Report, Row, Run, Verdict

MODALITIES = ("image", "text", "joint")
COVERAGE_TEXTS = 2_000
"""Texts a scenario that are looked at to tell whether the text encoder knows them."""


@dataclass(frozen=True)
class Told:
    """What the rows of one scenario and model say without any embedding."""

    keys: list[RowKeys]
    facts: dict[str, int]
    scores: NDArray[np.float64]
    """Graded scores of the answers whose truth is known."""
    log_probabilities: list[tuple[str, tuple[float, ...]]]
    """Base id and log-probabilities of the sampled answers, where they were sampled."""
    samples: list[tuple[str, tuple[str, ...]]]
    """Base id and keys of the answers, where a record has several."""


def audit(config: AuditConfig, out: Path, bars: Bars) -> Report:
    """Run the audit into `out` (report.html, report.json, audit.duckdb, and the run directory).

    Raises `BadInput` where there is nothing to audit, `AuditError` where a stage failed for good; what is
    done is kept, and the same command goes on from there.
    """
    run = RunDir(out)
    with run.lock(), bars.shown():
        scenarios = _gathered(config, run, bars)
        _check_models(config, scenarios)
        with connect(config.workers, threads=config.shards.threads) as cluster:
            at = workplace(run, cluster, config.shards, bars, media_policy(config.data))
            answered = {m.name: _answered(at, config, m, scenarios) for m in config.models}
            stores = {name: a.open() if a else None for name, a in answered.items()}
            summed = (
                _in_two_passes(at, config, scenarios, stores)
                if config.critic.train_on == "pool"
                else _in_one_pass(at, config, scenarios, answered, stores)
            )
            scenarios = summed.scenarios
            _something_left(scenarios, summed.sets, summed.quarantine)
            asked = _asked(config, scenarios, summed.sets, summed.files)
            measured = divergences(at, asked, config.interval_level)
        report = _report(config, summed, measured, answered, bars)
        examples = _examples(scenarios, stores, config, media_policy(config.data))
        Store(out).write_run(report, examples)
        write_reports(report, out, examples)
    return report


@dataclass(frozen=True)
class Summed:
    """All that measures are made of."""

    scenarios: list[Scenario]
    told: dict[tuple[str, str], Told]
    files: Mapping[tuple[str, str], tuple[Path, ...]]
    sets: dict[tuple[str, str], SketchSet]
    """Merged from `files`."""
    quarantine: Quarantine
    images: Embedded | None
    """Of the rows that the critic was trained on: all, or a sample."""
    texts: Embedded
    trained: Trained
    content: str
    """Digest of every row."""
    sampled: int | None = None
    """Records that the critic was trained on; None: all of them."""
    answers: AnswerVectors | None = None
    """Of the records that entropies are taken from; None: of all of them, and they stand in `texts`."""


def _in_two_passes(
    at: Workplace,
    config: AuditConfig,
    scenarios: Sequence[Scenario],
    stores: dict[str, ResponseStore | None],
) -> Summed:
    """The critic is trained on the pairs of all rows: they are embedded, kept, and read again."""
    images = _embedded_images(at, config, scenarios)
    texts = embed(at, config.encoders.text, "text", _texts(scenarios, stores))
    scenarios = partitioned(at, scenarios, images, texts, config.index, config.seed)
    quarantine, told = _rows(config, scenarios, stores, images, texts)
    plans: Plans = {key: t.keys for key, t in told.items()}
    _something_left(scenarios, plans, quarantine)
    trained = train(at, config.critic, plans, images, texts, config.seed)
    files = sketch_files(at, plans, images, texts, trained.paths, config.row_sample)
    sets = {key: sketches(of) for key, of in files.items()}
    return Summed(scenarios, told, files, sets, quarantine, images, texts, trained, plans_digest(plans))


def _in_one_pass(
    at: Workplace,
    config: AuditConfig,
    scenarios: Sequence[Scenario],
    answered: Mapping[str, Answered | None],
    stores: dict[str, ResponseStore | None],
) -> Summed:
    """The critic is trained on a sample of records; then all of them stream by, and no embedding is kept."""
    if cut := [s.name for s in scenarios if s.partition]:
        raise BadInput(
            f"data.scenarios.{cut[0]}.partition needs every image embedded before it is known which rows are "
            "in it; set critic.train_on: pool"
        )
    pool = pool_of(at.run, scenarios, config.critic, config.seed)
    images = _embedded_images(at, config, pool)
    texts = embed(at, config.encoders.text, "text", _texts(pool, stores))
    aside, of_pool = _rows(config, pool, stores, images, texts)
    _something_left(pool, {key: t.keys for key, t in of_pool.items()}, aside)
    plans: Plans = {key: t.keys for key, t in of_pool.items()}
    trained = train(at, config.critic, plans, images, texts, config.seed)
    found = surveyed(at, scenarios)
    parts = [part for of in found for part in of.parts]
    files = stream(
        at,
        parts,
        used_encoders(at, config.encoders, found, images),
        trained.paths,
        [
            StreamModel(m.name, of.folder if of else None, of is not None and m.temperature > 0)
            for m in config.models
            for of in (answered[m.name],)
        ],
        sample=config.row_sample,
        answers=config.row_sample,
        with_texts=any(s.texts for s in found) or any(of is not None for of in answered.values()),
    )
    quarantine = Quarantine(row for s in scenarios for row in s.quarantine())
    told: dict[tuple[str, str], Told] = {}
    sets: dict[tuple[str, str], SketchSet] = {}
    vectors = AnswerVectors()
    for key, of in files.items():
        kept = folded(of)
        inputs_told = any(scenario == key[0] for scenario, _ in told)
        for row in kept.aside:
            if row.model == key[1] or not inputs_told:
                quarantine.add(row)
        assert kept.answers is not None  # they were asked for
        logs, samples = kept.answers.log_probabilities(), kept.answers.samples()
        told[key] = Told([], dict(kept.facts), kept.scores, logs, samples)
        vectors.add(kept.answers)
        if kept.sketches is not None:
            sets[key] = kept.sketches
    return Summed(
        list(scenarios),
        told,
        files,
        sets,
        quarantine,
        images,
        texts,
        trained,
        content(parts),
        sum(s.n for s in pool),
        vectors,
    )


# Records in.


def _gathered(config: AuditConfig, run: RunDir, bars: Bars) -> list[Scenario]:
    found, began = [], time.monotonic()
    todo = sources(config, run)
    for done, source in enumerate(todo):
        bars.step("read records", done, len(todo), time.monotonic() - began)
        found.append(gather(source, run, config.data))
    bars.step("read records", len(todo), len(todo), time.monotonic() - began)
    if found[0].n == 0:
        raise BadInput(
            f"nothing to audit: no usable record in {found[0].name}; {_why(found[0].quarantine())}"
        )
    if not any(s.n for s in found[1:]):
        aside = Quarantine(row for s in found[1:] for row in s.quarantine())
        raise BadInput(f"nothing to audit: no scenario has a usable record; {_why(aside)}")
    return found


def _why(quarantine: Quarantine) -> str:
    told = quarantine.describe()
    return "; ".join(told[:3]) if told else "the files hold no rows"


def _check_models(config: AuditConfig, scenarios: Sequence[Scenario]) -> None:
    """Recorded responses must be there for every model that has no generator."""
    recorded = [m.name for m in config.models if m.generator is None]
    if not recorded:
        return
    found: set[str] = set()
    for scenario in scenarios:
        for batch in scenario.batches():
            found.update(name for record in batch for name in record.responses)
        if found.issuperset(recorded):
            return
    lost = [name for name in recorded if name not in found]
    raise BadInput(
        f"models: no recorded responses of {', '.join(lost)}; the records have "
        f"{', '.join(sorted(found)) or 'none'} (or give the model a generator)"
    )


def _records(scenarios: Iterable[Scenario]) -> Iterator[Record]:
    for scenario in scenarios:
        for batch in scenario.batches():
            yield from batch


def _answered(
    at: Workplace, config: AuditConfig, model: ModelConfig, scenarios: Sequence[Scenario]
) -> Answered | None:
    if model.generator is None:
        return None
    return answer(at, model, (prompt(record) for record in _records(scenarios)), config.seed)


def _embedded_images(at: Workplace, config: AuditConfig, scenarios: Sequence[Scenario]) -> Embedded | None:
    if config.encoders.image is None or next(image_items(_records(scenarios)), None) is None:
        return None
    return embed(at, config.encoders.image, "image", image_items(_records(scenarios)))


def _texts(scenarios: Sequence[Scenario], stores: dict[str, ResponseStore | None]) -> Iterator[ContentItem]:
    """Queries and references, then each model's answers (see `answer_items`)."""
    yield from input_texts(_records(scenarios))
    for model, store in stores.items():
        for scenario in scenarios:
            for batch in scenario.batches():
                for given in answers(batch, model, store):
                    yield from answer_items(given)


# Rows.


def _rows(
    config: AuditConfig,
    scenarios: Sequence[Scenario],
    stores: dict[str, ResponseStore | None],
    images: Embedded | None,
    texts: Embedded,
) -> tuple[Quarantine, dict[tuple[str, str], Told]]:
    """The usable rows of every scenario and model, and all that was set aside."""
    image_store, text_store = images.open() if images else None, texts.open()
    quarantine = Quarantine(row for s in scenarios for row in s.quarantine())
    told: dict[tuple[str, str], Told] = {}
    sampled = {m.name for m in config.models if m.generator is not None and m.temperature > 0}
    for scenario in scenarios:
        inputs_told = False
        for model, store in stores.items():
            keys: list[RowKeys] = []
            facts: dict[str, int] = {}
            scores: list[float] = []
            logs: list[tuple[str, tuple[float, ...]]] = []
            samples: list[tuple[str, tuple[str, ...]]] = []
            for batch in scenario.batches():
                given = answers(batch, model, store)
                if store is not None:
                    for row in unanswered(batch, store, scenario.name, model):
                        quarantine.add(row)
                kept, aside = usable(row_keys(batch, given), image_store, text_store, scenario.name, model)
                for row in aside:
                    if row.model == model or not inputs_told:
                        quarantine.add(row)
                keys += kept
                for name, value in descriptors(batch, given).items():
                    facts[name] = facts.get(name, 0) + value
                scores += known_scores(batch, given)
                samples += sampled_keys(batch, given)
                if store is not None and model in sampled:
                    logs += log_probabilities(batch, store)
            inputs_told = True
            told[scenario.name, model] = Told(keys, facts, np.array(scores), logs, samples)
    return quarantine, told


def _something_left(
    scenarios: Sequence[Scenario], left: Mapping[tuple[str, str], Any], quarantine: Quarantine
) -> None:
    first = scenarios[0].name
    if not any(rows for (name, _), rows in left.items() if name == first):
        raise BadInput(f"nothing to audit: no usable row in {first}; {_why(quarantine)}")


# Measures.


def _report(
    config: AuditConfig,
    summed: Summed,
    measured: dict[Wanted, reducer.Measured],
    answered: dict[str, Answered | None],
    bars: Bars,
) -> Report:
    scenarios, told, sets, quarantine = summed.scenarios, summed.told, summed.sets, summed.quarantine
    images, texts, trained = summed.images, summed.texts, summed.trained
    first, models = scenarios[0], [m.name for m in config.models]
    notes = _coverage(config, scenarios)
    notes |= {s.name: [*s.notes, *notes.get(s.name, [])] for s in scenarios if s.notes}
    found = {
        (scenario.name, model): _divergences(measured, scenario.name, model)
        for scenario in scenarios[1:]
        for model in models
        if (scenario.name, model) in sets and (first.name, model) in sets
    }
    _adjust(found)
    where = _where(config, scenarios, sets, {key: of.found for key, of in found.items()}, bars)
    answers_of_p = [sets[first.name, m] for m in models if (first.name, m) in sets]
    given_each: dict[str, Conditionals] = {}
    for s in scenarios[1:] if config.bounds.conditional else ():
        for m in [m for m in models if (s.name, m) in found][:1]:  # inputs and references: of any model
            given_each[s.name] = conditionals(sets[first.name, m], sets[s.name, m], config.seed)
    shared_terms = Shared(
        first.name,
        reducer.answer_codebook(answers_of_p, config.bounds.symbols, config.seed),
        texts.open() if summed.answers is None else summed.answers,
        [FoldedClub.load(paths) for paths in trained.paths],
        given_each,
    )
    rows = [
        _row(config, s, m, told, sets, shared_terms, found.get((s.name, m)), quarantine, notes)
        for m in models
        for s in scenarios
    ]
    compared = compare_models(
        sets,
        [s.name for s in scenarios],
        models,
        config.current,
        margin=config.comparison.margin,
        level=config.interval_level,
        seed=config.seed,
    )
    missing = {} if images is not None else {"divergences.image": _no_images(config)}
    if len(models) > 1 and not compared:
        missing["comparison"] = NOTHING
    scores = {key: t.scores for key, t in told.items() if len(t.scores)}
    verdict = overall({f"{r.scenario} / {r.model}": r.verdict for r in rows if r.family != "id"})
    naive = sum(s.naive_timestamps for s in scenarios)
    stamp = blake2b(f"{config_hash(config)}{summed.content}".encode(), digest_size=6).hexdigest()
    used = {"text": texts.identity} | ({"image": images.identity} if images else {})
    return Report(
        run=Run(
            run_id=stamp,
            job="audit",
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            seed=config.seed,
            config_hash=config_hash(config),
            interval_level=config.interval_level,
            config=config.model_dump(mode="json"),
            versions=versions(),
            encoders=used,
            models={name: a.identity if a else "recorded responses" for name, a in answered.items()},
            critic=(
                f"CLUB, {how_trained(config.critic)}, "
                f"one pool of {trained.pairs:,} pairs (every scenario, model"
                + (")" if summed.sampled is None else f"; of {summed.sampled:,} sampled records)")
            ),
            id_scenario=first.name,
            thresholds={k: v for k, v in config.thresholds.model_dump().items() if v is not None},
        ),
        scenarios=rows,
        tables=({TABLE: [row.model_dump() for row in compared]} if compared else {})
        | ({WHERE: where} if where else {})
        | ({CONDITIONAL: [r for s, of in given_each.items() for r in of.table(s)]} if given_each else {}),
        correlations=correlations(rows, {(s, m): v for (s, m), v in scores.items()}, config.seed),
        quarantine=quarantine.counts(),
        missing=missing,
        verdict=verdict,
        notes=[
            _level(config.critic),
            *_one_pass_notes(config, summed.answers),
            *_label_free_notes(rows),
            *precision_notes(config.encoders, used),
            *dict.fromkeys(note for of in notes.values() for note in of),
            *([f"{naive} timestamps had no zone and were taken as UTC"] if naive else []),
        ],
    )


def _label_free_notes(rows: Sequence[Row]) -> list[str]:
    if not any(row.label_free is not None and row.label_free.voice == "reweighted" for row in rows):
        return []
    return [
        "label-free estimates assume that the right answer to an input is the same in both; reweighted ones "
        "take the critic as trained on other rows than these, which it is not: their ranges are too narrow"
    ]


def _one_pass_notes(config: AuditConfig, answers: AnswerVectors | None) -> list[str]:
    if answers is None or not answers.seen:
        return []
    return [
        f"entropies of sampled answers are of {answers.kept:,} of the {answers.seen:,} records that have any:"
        f" a streaming audit (critic.train_on: sample) keeps those of at most {config.row_sample:,} "
        "(row_sample) a scenario and model"
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


Wanted = tuple[str, str | None, str]
"""Scenario, model (None: an input divergence does not depend on it) and modality."""


def _asked(
    config: AuditConfig,
    scenarios: Sequence[Scenario],
    sets: Mapping[tuple[str, str], SketchSet],
    files: Mapping[tuple[str, str], tuple[Path, ...]],
) -> list[Asked[Wanted]]:
    """Divergences of every scenario from the first: of its inputs once, of the responses for each model."""
    first, asked = scenarios[0].name, dict[Wanted, Asked[Wanted]]()
    for scenario in scenarios[1:]:
        for model in (m.name for m in config.models):
            of_p, of_q = (first, model), (scenario.name, model)
            if of_p not in sets or of_q not in sets:
                continue
            p, q = sets[of_p], sets[of_q]
            reducer.check_comparable(p, q)
            rows = len(p.sample) + len(q.sample)
            for modality in (*MODALITIES, "response"):
                key = (scenario.name, model if modality == "response" else None, modality)
                dim = p.sketches["x" if modality == "joint" else modality].dim
                one = Asked(key, files[of_p], files[of_q], modality, config.seed, rows, dim)
                asked.setdefault(key, one)
    return list(asked.values())


def _divergences(
    measured: Mapping[Wanted, reducer.Measured], scenario: str, model: str
) -> reducer.Divergences:
    of = reducer.Divergences()
    for modality in (*MODALITIES, "response"):
        whose = model if modality == "response" else None
        value, reason, of.left[modality] = measured[scenario, whose, modality]
        if value is None:
            of.missing[f"divergences.{modality}"] = reason or "not computed"
        else:
            of.found[modality] = value
            if reason is not None:
                of.missing[f"divergences.{modality}.corrected"] = reason
    return of


def _adjust(found: dict[tuple[str, str], reducer.Divergences]) -> None:
    """Holm over the scenarios: one family a modality, and for responses a model."""
    families: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for key, of in found.items():
        for modality in of.found:
            # Every model has the same input divergences: its own family is the same one again.
            families.setdefault((modality, key[1]), []).append(key)
    for (modality, _), keys in families.items():
        adjusted = reducer.adjust([found[key].found[modality] for key in keys])
        for key, value in zip(keys, adjusted, strict=True):
            if value is not None:
                found[key].found[modality] = value


def _where(
    config: AuditConfig,
    scenarios: Sequence[Scenario],
    sets: dict[tuple[str, str], SketchSet],
    found: dict[tuple[str, str], dict[str, Divergence]],
    bars: Bars,
) -> list[dict[str, Any]]:
    """Slices of what moved: of the images and queries once a scenario, of the responses for each model."""
    first, began = scenarios[0], time.monotonic()
    todo: dict[str, dict[tuple[str | None, str], tuple[RowSample, RowSample]]] = {}
    for (name, model), by_modality in found.items():
        for modality in moved(by_modality, config.thresholds.p_value):
            whose = model if modality == "response" else None
            samples = sets[first.name, model].sample, sets[name, model].sample
            todo.setdefault(name, {}).setdefault((whose, modality), samples)
    if not todo:
        return []
    tags_p = first.tags({i for asked in todo.values() for p, _ in asked.values() for i in p.ids.tolist()})
    lines: list[dict[str, Any]] = []
    for done, scenario in enumerate((s for s in scenarios if s.name in todo), start=1):
        asked = todo[scenario.name]
        tags_q = scenario.tags({i for _, q in asked.values() for i in q.ids.tolist()})
        for (whose, modality), (p, q) in asked.items():
            of = slices(side(p, modality, tags_p), side(q, modality, tags_q), seed=config.seed)
            lines += table(scenario.name, whose, modality, leading(of))
        bars.step("where the drift is", done, len(todo), time.monotonic() - began)
    return lines


@dataclass(frozen=True)
class Shared:
    """What all rows of a report are measured with."""

    first: str
    """Name of the in-distribution scenario."""
    codebook: NDArray[np.float32] | None
    texts: UnitVectors
    critics: list[FoldedClub]
    conditional: Mapping[str, Conditionals]
    """Of each scenario, where they are asked for."""
    sides: dict[int, reducer.AnswerSide] = field(default_factory=dict)

    def side(self, rows: SketchSet) -> reducer.AnswerSide:
        """Of a set that lives as long as the report is made: P's is needed again and again."""
        if id(rows) not in self.sides:
            self.sides[id(rows)] = reducer.answer_side(rows, self.codebook)
        return self.sides[id(rows)]


def _row(
    config: AuditConfig,
    scenario: Scenario,
    model: str,
    told: dict[tuple[str, str], Told],
    sets: dict[tuple[str, str], SketchSet],
    shared: Shared,
    measured: reducer.Divergences | None,
    quarantine: Quarantine,
    notes: dict[str, list[str]],
) -> Row:
    key, first = (scenario.name, model), shared.first
    aside = sum(r.scenario == scenario.name and r.model in ("", model) for r in quarantine)
    if key not in sets or (first, model) not in sets:
        return Row(
            scenario=scenario.name,
            model=model,
            family=scenario.family,
            n=0,
            quarantined=aside,
            verdict=Verdict(status="undecided", because="no usable row"),
            missing={"emi": "no usable row"},
        )
    p, q = sets[first, model], sets[key]
    relevance = reducer.relevance(p, q, seed=config.seed, level=config.interval_level)
    divergences = measured or reducer.Divergences()
    missing = dict(divergences.missing)
    is_id = scenario.name == first
    known = Known() if is_id else _entropies(config, model, told[first, model], told[key], shared)
    answered = reducer.answer_terms(shared.side(p), shared.side(q), known)
    bounds: dict[str, Bound] = {}
    if not is_id:
        joint = divergences.found["joint"].value if "joint" in divergences.found else None
        d_x = reducer.input_divergence(p, q, seed=config.seed) if joint is None else joint
        groups = reducer.grouped(p, q, divergences, config.interval_level)
        of_scenario = shared.conditional.get(scenario.name)
        terms = None if of_scenario is None else of_scenario.terms
        bounds, lacking = reducer.bounds(divergences.found, d_x, answered, groups, terms)
        missing |= lacking
    if relevance is None:
        missing["emi"] = missing["emid"] = "no row has a query, an answer and a reference"
    elif relevance.emi_interval is None:
        missing["intervals.emi"] = missing["intervals.emid"] = "too few hash blocks with rows"
    free: LabelFree | None = None
    if not is_id:
        free, silent = label_free(
            p,
            q,
            shared.critics,
            bound=reducer.ceiling(bounds, answered),
            seed=config.seed,
            level=config.interval_level,
        )
        if silent is not None:
            missing["label_free"] = silent
    accuracy, accuracy_interval = _accuracy(told[key].scores, config.interval_level)
    if accuracy is None:
        missing["accuracy"] = "the truth is not known"
    emid = None if relevance is None or is_id else relevance.emid
    emid_interval = None if relevance is None or is_id else relevance.emid_interval
    partial = bounds["partial"].value if "partial" in bounds else None
    verdict = (
        Verdict(status="pass", because="the in-distribution records, which the others are compared with")
        if is_id
        else scenario_verdict(q.sample.seen, emid, emid_interval, partial, config.thresholds)
    )
    return Row(
        scenario=scenario.name,
        model=model,
        family=scenario.family,
        n=q.sample.seen,
        n_labelled=q.sketches["reference"].n,
        n_emi=relevance.n if relevance else None,
        mi_model=reducer.model_information(q),
        mi_reference=relevance.mi_reference if relevance else None,
        emi=relevance.emi if relevance else None,
        emi_spread=relevance.emi_spread if relevance else None,
        emid=emid,
        emid_spread=None if relevance is None or is_id else relevance.emid_spread,
        intervals=Intervals(
            emi=relevance.emi_interval if relevance else None, emid=emid_interval, accuracy=accuracy_interval
        ),
        bounds=bounds,
        divergences=divergences.found,
        delta=answered.delta_q,
        label_free=free,
        accuracy=accuracy,
        descriptors=means(told[key].facts) | q.norms.descriptors(),
        quarantined=aside,
        verdict=verdict,
        missing=missing,
        notes=notes.get(scenario.name, []),
    )


def _entropies(config: AuditConfig, model: str, p: Told, q: Told, shared: Shared) -> Known:
    """Entropies as given, from the log-probabilities of sampled answers, and from the cells of several
    answers a query; nothing where there are none of these."""
    settings = next(m for m in config.models if m.name == model)
    known = Known(given_reference=config.bounds.entropy_reference, given_model=config.bounds.entropy_model)

    def shift(of_p: QueryEntropies, of_q: QueryEntropies) -> EntropyShift:
        return entropy_shift(of_p, of_q, level=config.interval_level, seed=config.seed)

    if settings.generator is not None:
        logs = [
            from_log_probabilities([v for _, v in of], [base for base, _ in of], settings.temperature)
            for of in (p.log_probabilities, q.log_probabilities, p.log_probabilities + q.log_probabilities)
        ]
        known = replace(known, text=upper_entropy(logs[2]), text_shift=shift(*logs[:2]))
    if shared.codebook is not None and p.samples and q.samples:
        cells = [
            query_entropies(of, shared.texts, shared.codebook)
            for of in (p.samples, q.samples, p.samples + q.samples)
        ]
        known = replace(known, cells=upper_entropy(cells[2]), cells_shift=shift(*cells[:2]))
    return known


def _accuracy(scores: NDArray[np.float64], level: float) -> tuple[float | None, tuple[float, float] | None]:
    """Mean graded score with its t interval."""
    if not len(scores):
        return None, None
    mean = float(scores.mean())
    if len(scores) < 2:
        return mean, None
    half = float(stats.t.ppf((1 + level) / 2, len(scores) - 1) * scores.std(ddof=1) / np.sqrt(len(scores)))
    return mean, (max(0.0, mean - half), min(1.0, mean + half))


def _coverage(config: AuditConfig, scenarios: Sequence[Scenario]) -> dict[str, list[str]]:
    """Scenarios whose queries the text encoder does not know: found from the data, said in the report."""
    text_encoder = make_encoder(config.encoders.text.settings(), "text", batch=config.encoders.text.batch)
    if not isinstance(text_encoder, TextEncoder):
        return {}
    id_texts = _queries(scenarios[0])
    base = chars_per_token(text_encoder, id_texts)
    notes: dict[str, list[str]] = {}
    for scenario in scenarios[1:]:
        texts = _queries(scenario)
        if knows_texts(text_encoder, texts, id_texts) is False:
            ratio = chars_per_token(text_encoder, texts) / base
            notes[scenario.name] = [
                f"text encoder {config.encoders.text.name} does not know the queries of {scenario.name}: "
                f"{ratio:.2f} of the in-distribution characters per token (below {KNOWN}); its text "
                "divergence and EMI say little here"
            ]
    return notes


def _queries(scenario: Scenario) -> list[str]:
    return [r.query for r in islice(_records([scenario]), COVERAGE_TEXTS) if r.query]


# Examples.


def _examples(
    scenarios: Sequence[Scenario],
    stores: dict[str, ResponseStore | None],
    config: AuditConfig,
    policy: MediaPolicy,
) -> list[Example]:
    """The first records of each scenario, with a thumbnail and every model's answer."""
    found = []
    for scenario in scenarios if config.report.examples else ():
        records = list(islice(_records([scenario]), config.report.examples))
        given = {model: answers(records, model, store) for model, store in stores.items()}
        for i, record in enumerate(records):
            found.append(
                Example(
                    scenario=scenario.name,
                    record_id=record.record_id,
                    query=record.input_text(),
                    reference=record.reference,
                    responses={model: texts[i][0] for model, texts in given.items() if texts[i]},
                    thumbnail=thumbnail(record, policy),
                )
            )
    return found


if __name__ == "__main__":
    from jobs.cli import run_job

    run_job("audit")
