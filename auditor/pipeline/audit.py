"""An audit goes from records to a risk report in one straight line. The same call again resumes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from auditor.attribution.what_moved import what_moved
from auditor.graders import Choice, check_named, choose
from auditor.measures.assessment import Settings
from auditor.measures.judgement import of_scenarios
from auditor.pipeline import measure
from auditor.pipeline.answer import Answered, answer
from auditor.pipeline.checks import check_encoders, check_scenarios, unanswered_scenarios
from auditor.pipeline.choice import open_executor
from auditor.pipeline.learn import Learned, learn
from auditor.pipeline.measure import Comparison, Measuring
from auditor.pipeline.progress import Progress, Stopwatch, steps
from auditor.pipeline.workers.profiles import ModelAnswers
from auditor.pipeline.workplace import Workplace, open_workplace
from auditor.profiles.profile import GroupKey
from auditor.profiles.rows import prompt
from auditor.report import write_reports
from auditor.report.build import Audited, audit_report
from auditor.report.examples import examples
from auditor.report.provenance import Provenance, how_trained
from auditor.report.store import Store
from auditor.scenarios import (
    Given,
    Scenario,
    check_recorded,
    gather,
    group_records,
    media_policy,
    records_of,
    sources,
)
from auditor.storage.run_dir import RunDir
from schemas.config import AuditConfig, ModelConfig, config_hash
from schemas.report import Report

log = logging.getLogger(__name__)


def audit(config: AuditConfig, out: Path, progress: Progress, records: Given | None = None) -> Report:
    """Run the audit into `out` (report.html, report.json, audit.duckdb, and the run directory). `records`
    stand in the place of those that the config names.

    Raises `BadInput` where there is nothing to audit, `AuditError` where a stage failed for good; what is
    done is kept, and the same call goes on from there.
    """
    check_named(config.grader)
    run, watch = RunDir(out), Stopwatch(progress)
    with run.lock():
        check_encoders(config.encoders, config.workers)
        scenarios = _gather_scenarios(config, run, watch, records)
        grouping = group_records(scenarios, config.data)
        log.info("rows that belong together: %s", grouping.source)
        for line in (*grouping.notes, *unanswered_scenarios(config)):
            log.warning(line)
        recorded = [m.name for m in config.models if m.generator is None]
        check_recorded(recorded, scenarios)
        grader = choose(config.grader, [s.path for s in scenarios], recorded)
        rows = sum(s.n for s in scenarios)
        with open_executor(
            config.workers, config.shards.threads, watch, rows=rows, models=config.models
        ) as executor:
            workplace = open_workplace(run, executor, config.shards, watch, media_policy(config.data))
            answered = {m.name: _answer_prompts(workplace, config, m, scenarios) for m in config.models}
            stores = {name: a.open() if a else None for name, a in answered.items()}
            learned = learn(
                workplace,
                scenarios,
                [_model_answers(m, answered[m.name]) for m in config.models],
                stores,
                config.encoders,
                config.critic,
                grader=grader,
                row_sample=config.row_sample,
                seed=config.seed,
                index=config.index,
            )
            references = {key: learned.files[key] for key in _usable(learned, learned.scenarios[:1])}
            comparisons = _comparisons(config, learned)
            measuring = Measuring(
                of_scenarios(config.thresholds, config.seed),
                Settings(
                    config.interval_level,
                    config.bounds,
                    config.bounds.conditional,
                    ungraded=grader.missing(),
                ),
                learned.trained.paths,
                measure.codebook_file(
                    workplace,
                    [learned.profiles[key] for key in references],
                    config.bounds.symbols,
                    config.seed,
                ),
            )
            measured = measure.divergences(workplace, comparisons, measuring)
            assessments = measure.assessments(workplace, comparisons, references, measured, measuring)
            judged = measured.judged(measuring.judgement.family)
            slices = measure.slice_rows(
                workplace,
                list(what_moved(judged, config.thresholds.p_value)),
                comparisons,
                learned.scenarios[0],
                {s.name: s for s in learned.scenarios},
                measuring,
            )
        with watch.timed("report"):
            audited = Audited(
                config,
                learned.scenarios,
                learned.profiles,
                judged,
                assessments,
                measuring.judgement,
                learned.quarantine,
                slices,
                grouping,
            )
            report = audit_report(
                audited, _provenance(config, learned, answered, grader, executor.description, watch)
            )
            shown_examples = examples(
                learned.scenarios, stores, config.report.examples, media_policy(config.data)
            )
        Store(out).write_run(report, shown_examples)
        run.finished(report.run.run_id)
        write_reports(report, out, shown_examples)
    return report


def _gather_scenarios(
    config: AuditConfig, run: RunDir, progress: Progress, records: Given | None
) -> list[Scenario]:
    todo = sources(config, run, records)
    scenarios = [gather(source, run, config.data) for source in steps(progress, "read records", todo)]
    check_scenarios(scenarios)
    return scenarios


def _answer_prompts(
    workplace: Workplace, config: AuditConfig, model: ModelConfig, scenarios: Sequence[Scenario]
) -> Answered | None:
    if model.generator is None:
        return None
    return answer(
        workplace, model, lambda: map(prompt, records_of(scenarios)), config.seed, config.shards.generate
    )


def _model_answers(model: ModelConfig, answered: Answered | None) -> ModelAnswers:
    sampled = answered is not None and model.temperature > 0
    return ModelAnswers(model.name, answered.folder if answered else None, sampled)


def _usable(learned: Learned, scenarios: Sequence[Scenario]) -> list[GroupKey]:
    """Return the groups of these scenarios that have usable rows."""
    names = {s.name for s in scenarios}
    return [key for key, profile in learned.profiles.items() if profile.n and key.scenario in names]


def _comparisons(config: AuditConfig, learned: Learned) -> list[Comparison]:
    """Return the scenarios and models that have usable rows, and reference rows to be compared with."""
    temperatures = {m.name: m.temperature if m.generator is not None else None for m in config.models}
    comparisons: list[Comparison] = []
    for key in _usable(learned, learned.scenarios[1:]):
        first = GroupKey(learned.scenarios[0].name, key.model)
        p, q = learned.profiles[first], learned.profiles[key]
        if p.n:
            rows = len(p.sample) + len(q.sample)
            dims = {name: sketch.dim for name, sketch in p.sketches.items()}
            comparisons.append(
                Comparison(key, learned.files[first], learned.files[key], rows, dims, temperatures[key.model])
            )
    return comparisons


def _provenance(
    config: AuditConfig,
    learned: Learned,
    answered: dict[str, Answered | None],
    grader: Choice,
    executor_used: str,
    watch: Stopwatch,
) -> Provenance:
    sampled = "" if learned.sampled is None else f"; of {learned.sampled:,} sampled records"
    return Provenance(
        config_hash(config),
        learned.content,
        learned.encoders,
        {name: a.identity if a else "recorded responses" for name, a in answered.items()},
        f"{how_trained(config.critic)}, one pool of {learned.trained.pairs:,} pairs "
        f"(every scenario, model{sampled})",
        grader=grader.graded(),
        executor=executor_used,
        seconds=watch.seconds,
    )
