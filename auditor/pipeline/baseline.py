"""Building a baseline: from reference records to everything that is learned from them once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from auditor.errors import BadInput
from auditor.measures.query_coverage import QueryCoverage, queries
from auditor.pipeline.choice import executor
from auditor.pipeline.learn import learned
from auditor.pipeline.progress import Progress, Stopwatch
from auditor.pipeline.workers.profiles import ModelAnswers
from auditor.pipeline.workplace import workplace
from auditor.profiles.baseline import Baseline, Manifest, coverage, save
from auditor.profiles.profile import GroupKey
from auditor.profiles.rows import means
from auditor.records import read_many
from auditor.records.sources import fingerprint
from auditor.report.provenance import versions
from auditor.scenarios import Scenario, Source, gather, media_policy, records_of
from auditor.storage.run_dir import RunDir
from schemas.config import BaselineConfig, DataConfig, config_hash

NAME = "baseline"
LEAST_PAIRS = 20
"""Fewer pairs of query and answer train no critic: there is nothing to hold out."""


def build(config: BaselineConfig, out: Path, progress: Progress) -> Baseline:
    """Build the baseline folder `out`; the same call again goes on where it stopped.

    Raises `BadInput` where no record is usable, or whose responses are meant is not clear.
    """
    run, watch = RunDir(out), Stopwatch(progress)
    data = DataConfig(id=config.records, media_root=config.media_root)
    with run.lock():
        source = Source(NAME, "id", f"file {fingerprint(config.records)}", lambda: read_many(config.records))
        scenario = gather(source, run, data)
        if scenario.n == 0:
            raise BadInput(f"{config.records}: no usable record; {scenario.quarantine().why_empty()}")
        model = responding(config.records, [scenario], config.model)
        with executor(config.workers, config.shards.threads, watch, rows=scenario.n) as on:
            at = workplace(run, on, config.shards, watch, media_policy(data))
            of = learned(
                at,
                [scenario],
                [ModelAnswers(model or "")],
                {model or "": None},
                config.encoders,
                config.critic,
                row_sample=config.row_sample,
                seed=config.seed,
                least_pairs=LEAST_PAIRS,
            )
        profile = of.profiles[GroupKey(NAME, model or "")]
        known = QueryCoverage(config.encoders.text)
        manifest = Manifest(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            versions=versions(),
            config=config,
            config_hash=config_hash(config),
            rows=of.content,
            encoders=of.encoders,
            model=model,
            n=profile.n,
            coverage=coverage(profile),
            descriptors=means(profile.facts) | profile.norms.descriptors(),
            quarantine=of.quarantine.counts(),
            chars_per_token=known.chars_per_token(queries(records_of([scenario]))),
            pairs=of.trained.pairs,
            no_critic=None if of.trained.paths else _no_critic(of.trained.pairs),
        )
        return save(out, manifest, profile, of.trained.paths)


def _no_critic(pairs: int) -> str:
    return (
        f"the baseline has {pairs} pairs of a query and an answer, fewer than the {LEAST_PAIRS} that a "
        "critic is trained on"
    )


def responding(path: str, scenarios: Sequence[Scenario], model: str | None) -> str | None:
    """The model whose recorded responses are used: `model`, or the only one; None where there are none.

    Raises `BadInput` where there are several to choose from, or none of `model`.
    """
    found = sorted({name for record in records_of(scenarios) for name in record.responses})
    return whose(path, found, model)


def whose(path: str, found: Sequence[str], model: str | None) -> str | None:
    """`model`, or the only one of those found to have responses; errors as `responding`."""
    if model is not None:
        if model not in found:
            raise BadInput(
                f"{path}: no responses of {model}; the records have {', '.join(found) or 'none'} (--model)"
            )
        return model
    if len(found) > 1:
        raise BadInput(f"{path}: responses of several models ({', '.join(found)}); choose one with --model")
    return found[0] if found else None
