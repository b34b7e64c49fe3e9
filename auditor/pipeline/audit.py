"""An audit: from records to a risk report, one straight line; the same call again resumes."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auditor.attribution.what_moved import what_moved
from auditor.errors import BadInput
from auditor.estimators.crossfit import FoldedClub
from auditor.measures.families import MODALITIES, Wanted, adjusted, wanted
from auditor.measures.reducer import Measured, check_comparable
from auditor.pipeline.answer import Answered, answer
from auditor.pipeline.checks import check_encoders, check_scenarios, unanswered_scenarios
from auditor.pipeline.choice import executor
from auditor.pipeline.critics import Plans, Trained, how_trained, train
from auditor.pipeline.embed import Embedded, embed, embed_images
from auditor.pipeline.measure import Asked, divergences
from auditor.pipeline.partition import partitioned
from auditor.pipeline.profile import plans_digest, sketch_files, sketches
from auditor.pipeline.progress import Progress, Stopwatch, each
from auditor.pipeline.stream import content, pool_of, stream, surveyed, used_encoders
from auditor.pipeline.workers.streaming import StreamModel
from auditor.pipeline.workplace import Workplace, workplace
from auditor.profiles.answer_sample import AnswerVectors
from auditor.profiles.folding import folded
from auditor.profiles.rows import answer_items, answers, input_texts, prompt
from auditor.profiles.sketching import SketchSet
from auditor.profiles.usable_rows import Told, add_aside, all_told
from auditor.records import Quarantine
from auditor.report import write_reports
from auditor.report.build import Audited, report
from auditor.report.examples import examples
from auditor.report.provenance import Made
from auditor.report.store import Store
from auditor.scenarios import Scenario, check_recorded, gather, media_policy, records_of, sources
from auditor.storage.response_store import ResponseStore
from auditor.storage.run_dir import RunDir
from auditor.storage.work_units import ContentItem
from schemas.config import AuditConfig, ModelConfig, config_hash
from schemas.report import Report

log = logging.getLogger(__name__)


def audit(config: AuditConfig, out: Path, progress: Progress) -> Report:
    """Run the audit into `out` (report.html, report.json, audit.duckdb, and the run directory).

    Raises `BadInput` where there is nothing to audit, `AuditError` where a stage failed for good; what is
    done is kept, and the same command goes on from there.
    """
    run, watch = RunDir(out), Stopwatch(progress)
    with run.lock():
        check_encoders(config.encoders)
        scenarios = _gathered(config, run, watch)
        for line in unanswered_scenarios(config):
            log.warning(line)
        check_recorded([m.name for m in config.models if m.generator is None], scenarios)
        with executor(
            config.workers,
            config.shards.threads,
            watch,
            rows=sum(s.n for s in scenarios),
            models=config.models,
        ) as chosen:
            at = workplace(run, chosen, config.shards, watch, media_policy(config.data))
            answered = {m.name: _answered(at, config, m, scenarios) for m in config.models}
            stores = {name: a.open() if a else None for name, a in answered.items()}
            summed = (
                _in_two_passes(at, config, scenarios, stores)
                if config.critic.train_on == "pool"
                else _in_one_pass(at, config, scenarios, answered, stores)
            )
            _something_left(summed.scenarios, summed.sets, summed.quarantine)
            measured = divergences(at, _asked(config, summed), config.interval_level)
        of = _audited(config, summed, measured)
        moved = what_moved(of.scenarios, of.sets, of.found, config.thresholds.p_value)
        where = [line for one in each(watch, "where the drift is", moved) for line in one.lines(config.seed)]
        found = report(of, _made(config, summed, answered), where)
        shown = examples(of.scenarios, stores, config.report.examples, media_policy(config.data))
        Store(out).write_run(found, shown)
        write_reports(found, out, shown)
    return found


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
    images = embed_images(at, config.encoders.image, scenarios)
    texts = embed(at, config.encoders.text, "text", lambda: _texts(scenarios, stores))
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
    images = embed_images(at, config.encoders.image, pool)
    texts = embed(at, config.encoders.text, "text", lambda: _texts(pool, stores))
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
        add_aside(quarantine, kept.aside, key[1] if inputs_told else None)
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


def _gathered(config: AuditConfig, run: RunDir, progress: Progress) -> list[Scenario]:
    todo = sources(config, run)
    found = [gather(source, run, config.data) for source in each(progress, "read records", todo)]
    check_scenarios(found)
    return found


def _answered(
    at: Workplace, config: AuditConfig, model: ModelConfig, scenarios: Sequence[Scenario]
) -> Answered | None:
    if model.generator is None:
        return None
    return answer(at, model, lambda: map(prompt, records_of(scenarios)), config.seed, config.shards.generate)


def _texts(scenarios: Sequence[Scenario], stores: dict[str, ResponseStore | None]) -> Iterator[ContentItem]:
    """Queries and references, then each model's answers (see `answer_items`)."""
    yield from input_texts(records_of(scenarios))
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
    sampled = {m.name for m in config.models if m.generator is not None and m.temperature > 0}
    return all_told(scenarios, stores, images.open() if images else None, texts.open(), sampled)


def _something_left(
    scenarios: Sequence[Scenario], left: Mapping[tuple[str, str], Any], quarantine: Quarantine
) -> None:
    first = scenarios[0].name
    if not any(rows for (name, _), rows in left.items() if name == first):
        raise BadInput(f"nothing to audit: no usable row in {first}; {quarantine.why_empty()}")


# Measures.


def _comparable(config: AuditConfig, summed: Summed) -> list[tuple[str, str]]:
    """The scenarios and models whose rows have others of the first scenario to be held against."""
    first, sets = summed.scenarios[0].name, summed.sets
    return [
        (scenario.name, model.name)
        for scenario in summed.scenarios[1:]
        for model in config.models
        if (scenario.name, model.name) in sets and (first, model.name) in sets
    ]


def _asked(config: AuditConfig, summed: Summed) -> list[Asked[Wanted]]:
    """Divergences of every scenario from the first: of its inputs once, of the responses for each model."""
    first, asked = summed.scenarios[0].name, dict[Wanted, Asked[Wanted]]()
    for scenario, model in _comparable(config, summed):
        of_p, of_q = (first, model), (scenario, model)
        p, q = summed.sets[of_p], summed.sets[of_q]
        check_comparable(p, q)
        rows = len(p.sample) + len(q.sample)
        for modality in MODALITIES:
            key = wanted(scenario, model, modality)
            dim = p.sketches["x" if modality == "joint" else modality].dim
            one = Asked(key, summed.files[of_p], summed.files[of_q], modality, config.seed, rows, dim)
            asked.setdefault(key, one)
    return list(asked.values())


def _audited(config: AuditConfig, summed: Summed, measured: Mapping[Wanted, Measured]) -> Audited:
    return Audited(
        config,
        summed.scenarios,
        summed.told,
        summed.sets,
        adjusted(measured, _comparable(config, summed)),
        summed.quarantine,
        summed.texts.open() if summed.answers is None else summed.answers,
        [FoldedClub.load(paths) for paths in summed.trained.paths],
    )


def _made(config: AuditConfig, summed: Summed, answered: Mapping[str, Answered | None]) -> Made:
    images, sampled = summed.images, summed.sampled
    return Made(
        config_hash(config),
        summed.content,
        {"text": summed.texts.identity} | ({"image": images.identity} if images else {}),
        {name: a.identity if a else "recorded responses" for name, a in answered.items()},
        f"CLUB, {how_trained(config.critic)}, one pool of {summed.trained.pairs:,} pairs "
        f"(every scenario, model{'' if sampled is None else f'; of {sampled:,} sampled records'})",
    )
