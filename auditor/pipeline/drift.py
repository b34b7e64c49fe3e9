"""Drift compares windows of traffic with a baseline. What moved, by how much, and is it chance?"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import islice
from pathlib import Path

from threadpoolctl import threadpool_limits

from auditor.attribution.what_moved import what_moved
from auditor.errors import BadInput
from auditor.graders import Choice, check_named, choose
from auditor.measures.assessment import Settings
from auditor.measures.census import Standard
from auditor.measures.judgement import Judgement, of_windows
from auditor.measures.query_coverage import QueryCoverage, queries
from auditor.measures.shares import Counted
from auditor.measures.variation import ENOUGH_WINDOWS, judged
from auditor.measures.verdict import LossRule
from auditor.measures.window_means import read_windows
from auditor.pipeline import measure
from auditor.pipeline.checks import check_encoders, check_same_encoders
from auditor.pipeline.choice import open_executor
from auditor.pipeline.embed import chosen
from auditor.pipeline.gather import Traffic, gather_traffic
from auditor.pipeline.measure import Comparison, Measuring, window_means
from auditor.pipeline.profile import Encoders, content, profile
from auditor.pipeline.progress import Progress, Stopwatch
from auditor.pipeline.workers.measures import Files
from auditor.pipeline.workers.profiles import ModelAnswers
from auditor.pipeline.workplace import Workplace, open_workplace
from auditor.profiles.baseline import Baseline, load
from auditor.profiles.profile import GroupKey, Profile, folded
from auditor.profiles.rows import joined_dim
from auditor.records import MediaPolicy, records_from_table
from auditor.report import write_reports
from auditor.report.build import Drifted, drift_report
from auditor.report.examples import example
from auditor.report.store import Store
from auditor.scenarios import Given, media_policy
from auditor.scenarios.row_ranges import Part, Survey, first_rows
from auditor.scenarios.windows import cut, window_length
from auditor.storage.run_dir import RunDir
from schemas.config import DriftConfig, GraderConfig
from schemas.record import Record
from schemas.report import Example, Report, Variation

YEAR = 365
"""Windows between false alarms where nothing is set, times the windows of a day."""

log = logging.getLogger(__name__)


def drift(config: DriftConfig, out: Path, progress: Progress, records: Given | None = None) -> Report:
    """Compare the traffic with the baseline, window by window, into `out` (report.html, report.json,
    audit.duckdb, and the run directory). The same call again resumes, and a later one with more traffic does
    the new windows alone. `records` stand in the place of those that the config names.

    Raises `BadInput` where there is nothing to compare, or the baseline or its encoders do not fit.
    """
    baseline = load(Path(config.baseline))
    check_named(config.grader)
    run, watch = RunDir(out), Stopwatch(progress)
    shards = baseline.manifest.config.shards
    with run.lock():
        check_encoders(baseline.manifest.config.encoders, config.workers)
        traffic = gather_traffic(config, run, shards.stream, records)
        scenario, parts, model = traffic.scenario, traffic.parts, traffic.model
        log.info("rows that belong together: %s", traffic.grouping.source)
        for line in traffic.grouping.notes:
            log.warning(line)
        grader = _grader(config, baseline, traffic)
        with open_executor(config.workers, shards.threads, watch, rows=scenario.n) as executor:
            workplace = open_workplace(run, executor, shards, watch, media_policy(config.data))
            used = _encoders(workplace, baseline, traffic.survey)
            critics, no_critic = _critics(baseline, used, traffic.survey)
            files = _profile_windows(workplace, config, traffic, used, critics, grader)
            comparisons = _comparisons(config, baseline, model, parts, files)
            cross_fitted = bool(baseline.manifest.config.critic.cross_fit)
            loss = LossRule(cross_fitted, config.interval_level, windows_between_alarms(config))
            measuring = Measuring(
                of_windows(config.thresholds, config.seed, loss),
                Settings(
                    config.interval_level, config.bounds, no_critic=no_critic, ungraded=grader.missing()
                ),
                critics,
                measure.codebook_file(workplace, [baseline.profile], config.bounds.symbols, config.seed),
                baseline.fitted_file,
            )
            measured = measure.divergences(workplace, comparisons, measuring)
            assessments = measure.assessments(workplace, comparisons, {}, measured, measuring)
            if not any(assessment.measures.n for assessment in assessments.values()):
                quarantine = scenario.quarantine()
                for assessment in assessments.values():
                    for row in assessment.set_aside:
                        quarantine.add(row)
                raise BadInput(f"{traffic.origin}: nothing to compare; {quarantine.why_empty()}")
            adjusted = measured.judged(measuring.judgement.family)
            variations, no_variation = _variations(workplace, config, baseline, files, measuring.judgement)
            slices = measure.slice_rows(
                workplace,
                list(what_moved(adjusted, config.thresholds.p_value)),
                comparisons,
                None,  # a baseline keeps no tags
                {part.window.name: part for part in parts},
                measuring,
            )
        with watch.timed("report"):
            coverage = QueryCoverage(baseline.manifest.config.encoders.text)
            drifted = Drifted(
                config,
                baseline,
                scenario,
                model,
                parts,
                adjusted,
                assessments,
                measuring.judgement,
                variations,
                no_variation,
                slices,
                {part.window.name: coverage.chars_per_token(queries(_window_records(part))) for part in parts}
                if baseline.manifest.chars_per_token
                else {},
                used.identities,
                grader.graded(),
                traffic.grouping,
                traffic.set_aside,
                _standard(config, baseline),
            )
            report = drift_report(drifted, content(parts), executor.description, watch.seconds)
            examples = list(_examples(config, parts, model, workplace.media))
        Store(out).write_run(report, examples)
        run.finished(report.run.run_id)
        write_reports(report, out, examples)
    return report


def profile_traffic(
    config: DriftConfig, out: Path, progress: Progress, records: Given | None = None
) -> Profile:
    """Return the profile of all the traffic, embedded with the encoders of the baseline and summed with its
    critics; the same call again resumes. Raises as `drift`."""
    baseline = load(Path(config.baseline))
    check_named(config.grader)
    run, watch = RunDir(out), Stopwatch(progress)
    shards = baseline.manifest.config.shards
    with run.lock():
        check_encoders(baseline.manifest.config.encoders, config.workers)
        traffic = gather_traffic(config, run, shards.stream, records)
        with open_executor(config.workers, shards.threads, watch, rows=traffic.scenario.n) as executor:
            workplace = open_workplace(run, executor, shards, watch, media_policy(config.data))
            used = _encoders(workplace, baseline, traffic.survey)
            critics, _ = _critics(baseline, used, traffic.survey)
            files = _profile_windows(
                workplace, config, traffic, used, critics, _grader(config, baseline, traffic)
            )
        return folded(file for paths in files.values() for file in paths)


def _grader(config: DriftConfig, baseline: Baseline, traffic: Traffic) -> Choice:
    """Return the grader; `auto` is what the baseline's answers were graded by. So accuracies compare, and
    those of a window do not depend on the other windows."""
    grader, manifest = config.grader, baseline.manifest
    if grader.name == "auto" and manifest.grader is not None:
        named = manifest.config.grader
        grader = named if named.name != "auto" else GraderConfig(name=manifest.grader.name)
    return choose(grader, [traffic.scenario.path], {traffic.model} if traffic.model is not None else ())


def _profile_windows(
    workplace: Workplace,
    config: DriftConfig,
    traffic: Traffic,
    used: Encoders,
    critics: tuple[Files, ...],
    grader: Choice,
) -> dict[GroupKey, Files]:
    return profile(
        workplace,
        traffic.parts,
        used,
        critics,
        [ModelAnswers(traffic.model or "")],
        sample=config.row_sample,
        grader=grader,
        answers=config.row_sample,
        with_texts=traffic.survey.texts,
        keep=config.embeddings == "keep",
    )


def _encoders(workplace: Workplace, baseline: Baseline, survey: Survey) -> Encoders:
    """Return the baseline's encoders. Raises `BadInput` where they are not those that made it."""
    encoders = baseline.manifest.config.encoders
    # A baseline without images has no use for theirs: its query vectors are of texts alone.
    pictures = encoders.image if survey.images and "image" in baseline.manifest.encoders else None
    used = Encoders(
        chosen(workplace, encoders.text, "text"),
        None if pictures is None else chosen(workplace, pictures, "image"),
    )
    check_same_encoders(baseline.folder, baseline.manifest.encoders, used.identities)
    return used


def _critics(baseline: Baseline, used: Encoders, survey: Survey) -> tuple[tuple[Files, ...], str | None]:
    """Return the files of the baseline's critics, or none and the reason."""
    if not baseline.critics:
        return (), baseline.manifest.no_critic or "the baseline has no critic"
    # Traffic without any image (or text) has narrower query vectors where the encoders differ in size.
    sketches = baseline.profile.sketches
    width = joined_dim(
        sketches["image"].dim if used.image else 0, sketches["text"].dim if survey.texts else 0
    )
    if width != sketches["x"].dim:
        return (), "the traffic lacks a modality that the baseline's critic takes"
    return baseline.critics, None


def _comparisons(
    config: DriftConfig,
    baseline: Baseline,
    model: str | None,
    parts: Sequence[Part],
    files: dict[GroupKey, Files],
) -> list[Comparison]:
    p = baseline.profile
    dims = {name: sketch.dim for name, sketch in p.sketches.items()}
    comparisons: list[Comparison] = []
    for part in parts:
        key = GroupKey(part.window.name, model or "")
        rows = len(p.sample) + min(part.n, config.row_sample)
        comparisons.append(Comparison(key, (baseline.profile_file,), files[key], rows, dims))
    return comparisons


def _variations(
    workplace: Workplace,
    config: DriftConfig,
    baseline: Baseline,
    files: dict[GroupKey, Files],
    judgement: Judgement,
) -> tuple[dict[str, Variation], str | None]:
    """Return how far each window lies from the others, or nothing and why: then rows alone are judged."""
    path, kept = baseline.windows_file, baseline.manifest.config
    how = f"window: {kept.window}" if kept.window else f"window_rows: {kept.window_rows}"
    rows_alone = "windows are judged by chance among rows alone, so that days which merely differ may fail"
    if path is None:
        return {}, f"the baseline keeps no windows of its own (`window`, when it is built): {rows_alone}"
    if cut(config) != cut(kept):
        return {}, f"the baseline's windows are cut by {how}, these are not: {rows_alone}"
    windows = read_windows(path)
    least = config.thresholds.min_rows
    count = sum(window.n >= least and bool(window.means) for window in windows.windows)
    if count < ENOUGH_WINDOWS:
        return {}, (
            f"the baseline keeps {count} windows of at least {least} rows, fewer than {ENOUGH_WINDOWS}: "
            f"{rows_alone}"
        )
    by_name = {key.scenario: paths for key, paths in files.items()}
    means = window_means(workplace, by_name, path)
    with threadpool_limits(workplace.shards.threads):
        return judged(
            windows.windows,
            dict(zip(by_name, means, strict=True)),
            budget=windows_between_alarms(config),
            seed_of=lambda name: judgement.seed(name, "rank"),
            least_rows=least,
        ), None


def _standard(config: DriftConfig, baseline: Baseline) -> Standard:
    """Return what the baseline's rows hold, and its windows where the traffic is cut as they are."""
    census = baseline.manifest.census
    if census is None:
        return Standard.of("the baseline", baseline.profile)
    left_out, new = sum(census.left_out.values()), census.rows_in - census.repeats
    windows = census.windows if cut(config) == cut(baseline.manifest.config) else {}
    return Standard.of(
        "the baseline",
        baseline.profile,
        Counted(left_out, new),
        Counted(census.repeats, census.rows_in),
        windows,
    )


def windows_between_alarms(config: DriftConfig) -> float:
    """Return the budget of false alarms: as set, else the windows of a year, or 365 that are cut by rows."""
    if config.thresholds.windows_between_alarms is not None:
        return config.thresholds.windows_between_alarms
    a_day = timedelta(days=1) / window_length(config.window) if config.window else 1.0
    return max(2.0, YEAR * a_day)


def _window_records(part: Part) -> Iterator[Record]:
    """Yield the records of a window, from its first one on."""
    for rows in first_rows(part):
        yield from records_from_table(rows)


def _examples(
    config: DriftConfig, parts: Sequence[Part], model: str | None, policy: MediaPolicy
) -> Iterator[Example]:
    """Yield the first records of each window."""
    for part in parts if config.report.examples else ():
        for record in islice(_window_records(part), config.report.examples):
            answers = record.responses.get(model or "", ())
            first = {model: answers[0]} if model is not None and answers else {}
            yield example(part.window.name, record, first, policy)
