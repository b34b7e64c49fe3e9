"""An audit: from records to a risk report, one straight line; the same call again resumes."""

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
from auditor.pipeline.choice import executor
from auditor.pipeline.learn import Learned, learned
from auditor.pipeline.measure import Comparison, Measuring
from auditor.pipeline.progress import Progress, Stopwatch, each
from auditor.pipeline.workers.profiles import ModelAnswers
from auditor.pipeline.workplace import Workplace, workplace
from auditor.profiles.profile import GroupKey
from auditor.profiles.rows import prompt
from auditor.report import write_reports
from auditor.report.build import Audited, audit_report
from auditor.report.examples import examples
from auditor.report.provenance import Made, how_trained
from auditor.report.store import Store
from auditor.scenarios import (
    Given,
    Scenario,
    check_recorded,
    gather,
    media_policy,
    records_of,
    sources,
)
from auditor.storage.run_dir import RunDir
from schemas.config import AuditConfig, ModelConfig, config_hash
from schemas.report import Report

log = logging.getLogger(__name__)


def audit(config: AuditConfig, out: Path, progress: Progress, given: Given | None = None) -> Report:
    """Run the audit into `out` (report.html, report.json, audit.duckdb, and the run directory).
    `given`: records in the place of those that the config names.

    Raises `BadInput` where there is nothing to audit, `AuditError` where a stage failed for good; what is
    done is kept, and the same call goes on from there.
    """
    check_named(config.grader)
    run, watch = RunDir(out), Stopwatch(progress)
    with run.lock():
        check_encoders(config.encoders)
        scenarios = _gathered(config, run, watch, given)
        for line in unanswered_scenarios(config):
            log.warning(line)
        recorded = [m.name for m in config.models if m.generator is None]
        check_recorded(recorded, scenarios)
        grader = choose(config.grader, [s.path for s in scenarios], recorded)
        rows = sum(s.n for s in scenarios)
        with executor(config.workers, config.shards.threads, watch, rows=rows, models=config.models) as on:
            at = workplace(run, on, config.shards, watch, media_policy(config.data))
            answered = {m.name: _answered(at, config, m, scenarios) for m in config.models}
            stores = {name: a.open() if a else None for name, a in answered.items()}
            of = learned(
                at,
                scenarios,
                [_model(m, answered[m.name]) for m in config.models],
                stores,
                config.encoders,
                config.critic,
                grader=grader,
                row_sample=config.row_sample,
                seed=config.seed,
                index=config.index,
            )
            references = {key: of.files[key] for key in _usable(of, of.scenarios[:1])}
            comparisons = _comparisons(config, of)
            measuring = Measuring(
                of_scenarios(config.thresholds, config.seed),
                Settings(
                    config.interval_level,
                    config.bounds,
                    config.bounds.conditional,
                    ungraded=grader.missing(),
                ),
                of.trained.paths,
                measure.codebook_file(
                    at, [of.profiles[key] for key in references], config.bounds.symbols, config.seed
                ),
            )
            measured = measure.divergences(at, comparisons, measuring)
            assessments = measure.assessments(at, comparisons, references, measured, measuring)
            judged = measured.judged(measuring.judgement.family)
            where = measure.where(
                at,
                list(what_moved(judged, config.thresholds.p_value)),
                comparisons,
                of.scenarios[0],
                {s.name: s for s in of.scenarios},
                measuring,
            )
        with watch.timed("report"):
            found = Audited(
                config,
                of.scenarios,
                of.profiles,
                judged,
                assessments,
                measuring.judgement,
                of.quarantine,
                where,
            )
            report = audit_report(found, _made(config, of, answered, grader, on.description, watch))
            shown = examples(of.scenarios, stores, config.report.examples, media_policy(config.data))
        Store(out).write_run(report, shown)
        run.finished(report.run.run_id)
        write_reports(report, out, shown)
    return report


def _gathered(config: AuditConfig, run: RunDir, progress: Progress, given: Given | None) -> list[Scenario]:
    todo = sources(config, run, given)
    found = [gather(source, run, config.data) for source in each(progress, "read records", todo)]
    check_scenarios(found)
    return found


def _answered(
    at: Workplace, config: AuditConfig, model: ModelConfig, scenarios: Sequence[Scenario]
) -> Answered | None:
    if model.generator is None:
        return None
    return answer(at, model, lambda: map(prompt, records_of(scenarios)), config.seed, config.shards.generate)


def _model(model: ModelConfig, answered: Answered | None) -> ModelAnswers:
    drawn = answered is not None and model.temperature > 0
    return ModelAnswers(model.name, answered.folder if answered else None, drawn)


def _usable(of: Learned, scenarios: Sequence[Scenario]) -> list[GroupKey]:
    """The groups of these scenarios that have usable rows."""
    names = {s.name for s in scenarios}
    return [key for key, profile in of.profiles.items() if profile.n and key.scenario in names]


def _comparisons(config: AuditConfig, of: Learned) -> list[Comparison]:
    """The scenarios and models that have usable rows, and reference rows to be held against."""
    drawn = {m.name: m.temperature if m.generator is not None else None for m in config.models}
    found: list[Comparison] = []
    for key in _usable(of, of.scenarios[1:]):
        first = GroupKey(of.scenarios[0].name, key.model)
        p, q = of.profiles[first], of.profiles[key]
        if p.n:
            rows = len(p.sample) + len(q.sample)
            dims = {name: sketch.dim for name, sketch in p.sketches.items()}
            found.append(Comparison(key, of.files[first], of.files[key], rows, dims, drawn[key.model]))
    return found


def _made(
    config: AuditConfig,
    of: Learned,
    answered: dict[str, Answered | None],
    grader: Choice,
    executor_used: str,
    watch: Stopwatch,
) -> Made:
    sampled = "" if of.sampled is None else f"; of {of.sampled:,} sampled records"
    return Made(
        config_hash(config),
        of.content,
        of.encoders,
        {name: a.identity if a else "recorded responses" for name, a in answered.items()},
        f"{how_trained(config.critic)}, one pool of {of.trained.pairs:,} pairs "
        f"(every scenario, model{sampled})",
        grader=grader.graded(),
        executor=executor_used,
        seconds=watch.seconds,
    )
