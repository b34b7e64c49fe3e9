"""A baseline is built from reference records: it holds everything that is learned from them once."""

from __future__ import annotations

import logging
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from threadpoolctl import threadpool_limits

from auditor.graders import check_named, choose
from auditor.measures.census import Came, window_counts
from auditor.measures.query_coverage import QueryCoverage, queries
from auditor.measures.reference import Fitted
from auditor.measures.window_means import BaselineWindows
from auditor.pipeline.checks import check_encoders
from auditor.pipeline.choice import open_executor
from auditor.pipeline.gather import REFERENCE, Reference, gather_reference
from auditor.pipeline.learn import Learned, learn
from auditor.pipeline.measure import keep_map, window_means
from auditor.pipeline.progress import Progress, Stopwatch
from auditor.pipeline.workers.profiles import ModelAnswers
from auditor.pipeline.workplace import open_workplace
from auditor.profiles.baseline import Baseline, BaselineCensus, Manifest, coverage, save
from auditor.profiles.profile import GroupKey, read_facts
from auditor.profiles.rows import means
from auditor.report.provenance import versions
from auditor.scenarios import Given, media_policy, records_of
from auditor.storage.run_dir import RunDir
from schemas.config import BaselineConfig, config_hash

log = logging.getLogger(__name__)

LEAST_PAIRS = 20
"""Fewer pairs of query and answer train no critic: there is nothing to hold out."""


def build(config: BaselineConfig, out: Path, progress: Progress, records: Given | None = None) -> Baseline:
    """Build the baseline folder `out`; the same call again goes on where it stopped. `records` stand in the
    place of those that the config names.

    Raises `BadInput` where no record is usable, or whose responses are meant is not clear.
    """
    check_named(config.grader)
    run, watch = RunDir(out), Stopwatch(progress)
    with run.lock():
        check_encoders(config.encoders, config.workers)
        reference = gather_reference(config, run, records)
        scenario, model = reference.scenario, reference.model
        for line in reference.grouping.notes:
            log.warning(line)
        grader = choose(config.grader, [scenario.path], {model} if model is not None else ())
        with open_executor(config.workers, config.shards.threads, watch, rows=scenario.n) as executor:
            workplace = open_workplace(run, executor, config.shards, watch, media_policy(config.data))
            learned = learn(
                workplace,
                [scenario],
                [ModelAnswers(model or "")],
                {model or "": None},
                config.encoders,
                config.critic,
                grader=grader,
                row_sample=config.row_sample,
                seed=config.seed,
                least_pairs=LEAST_PAIRS,
                split=reference.split,
            )
            profile = learned.profiles[GroupKey(REFERENCE, model or "")]
            with watch.timed("fit reference rows"), threadpool_limits(config.shards.threads):
                fitted = Fitted.fit(profile, config.seed).to_arrays()
            windows = None
            if learned.windows:
                by_name = {key.scenario: files for key, files in learned.windows.items()}
                embedding_map, file = keep_map(workplace, by_name.values())
                embedded = window_means(workplace, by_name, file)
                windows = BaselineWindows(embedding_map, tuple(by_name), tuple(embedded)).to_arrays()
        known = QueryCoverage(config.encoders.text)
        manifest = Manifest(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            versions=versions(),
            config=config,
            config_hash=config_hash(config),
            rows=learned.content,
            encoders=learned.encoders,
            model=model,
            n=profile.n,
            coverage=coverage(profile),
            descriptors=means(profile.facts) | profile.norms.descriptors(),
            grader=grader.graded(),
            accuracy=float(profile.scores.mean()) if len(profile.scores) else None,
            quarantine=learned.quarantine.counts(),
            census=_census(reference, learned),
            chars_per_token=known.chars_per_token(queries(records_of([scenario]))),
            groups=reference.grouping.source,
            pairs=learned.trained.pairs,
            no_critic=None if learned.trained.paths else no_critic(learned.trained.pairs),
        )
        baseline = save(out, manifest, profile, fitted, learned.trained.paths, windows)
        run.finished(REFERENCE)
        return baseline


def _census(reference: Reference, learned: Learned) -> BaselineCensus:
    """Return what came, and what of it could not be used, window by window."""
    (profile,) = learned.profiles.values()
    whole = Came("", "", profile.n, set_aside=list(learned.quarantine))
    set_aside = {window.name: rows for window, rows in reference.set_aside.items() if window is not None}
    facts: dict[str, Counter[str]] = {name: Counter() for name in set_aside} if learned.windows else {}
    for key, files in learned.windows.items():
        for file in files:
            facts.setdefault(key.scenario, Counter()).update(read_facts(file))
    windows = {name: window_counts(facts[name], set_aside.get(name, ())) for name in sorted(facts)}
    return BaselineCensus(
        rows_in=whole.rows_in, left_out=whole.left_out, repeats=whole.repeats, windows=windows
    )


def no_critic(pairs: int) -> str:
    """Say why no critic is trained on so few pairs."""
    return (
        f"the baseline has {pairs} pairs of a query and an answer, fewer than the {LEAST_PAIRS} that a "
        "critic is trained on"
    )
