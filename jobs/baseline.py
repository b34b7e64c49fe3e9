"""`auditor baseline build`: from in-distribution records to a baseline folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from actors.cluster import connect
from auditor.errors import BadInput
from auditor.graders import Choice, check_named, choose
from auditor.measures.query_coverage import queries, queries_chars_per_token
from auditor.pipeline.workers.streaming import StreamModel
from auditor.profiles.baseline import Baseline, Manifest, coverage, save
from auditor.profiles.folding import Streamed, folded
from auditor.profiles.rows import answers, input_texts, means
from auditor.profiles.sketching import SketchSet
from auditor.profiles.training_pairs import choose_pairs
from auditor.profiles.usable_rows import told
from auditor.records import Quarantine, read_many
from auditor.records.sources import fingerprint
from auditor.report.provenance import versions
from auditor.scenarios import Scenario, Source, gather, media_policy, records_of
from auditor.storage.run_dir import RunDir
from auditor.storage.work_units import ContentItem, text_item
from jobs.pipeline import (
    Embedded,
    Plans,
    Workplace,
    embed,
    embed_images,
    plans_digest,
    sketch_files,
    sketches,
    train,
    workplace,
)
from jobs.run.bars import Bars
from jobs.run.settings import config_hash
from jobs.streaming import content, pool_of, stream, surveyed, used_encoders
from schemas.config import BaselineConfig, DataConfig

NAME = "baseline"
LEAST_PAIRS = 20
"""Fewer pairs of query and answer train no critic: there is nothing to hold out."""
COVERAGE_TEXTS = 2_000
"""Queries that are looked at to tell whether the text encoder knows them."""


def build(config: BaselineConfig, out: Path, bars: Bars) -> Baseline:
    """Build the baseline folder `out`; the same call again goes on where it stopped.

    Raises `BadInput` where no record is usable, or whose responses are meant is not clear.
    """
    check_named(config.grader)
    run = RunDir(out)
    data = DataConfig(id=config.records, media_root=config.media_root)
    with run.lock(), bars.shown():
        source = Source(NAME, "id", f"file {fingerprint(config.records)}", lambda: read_many(config.records))
        scenario = gather(source, run, data)
        if scenario.n == 0:
            raise BadInput(f"{config.records}: no usable record; {scenario.quarantine().why_empty()}")
        model = responding(config.records, [scenario], config.model)
        grader = choose(config.grader, [scenario.path], {model} if model is not None else ())
        with connect(config.workers, threads=config.shards.threads) as cluster:
            at = workplace(run, cluster, config.shards, bars, media_policy(data))
            whole = config.critic.train_on == "pool"
            pool = scenario if whole else pool_of(run, [scenario], config.critic, config.seed)[0]
            images = embed_images(at, config.encoders.image, [pool])
            texts = embed(at, config.encoders.text, "text", lambda: all_texts(pool, model))
            vectors = images.open() if images else None
            usable, aside = told(pool, model or "", None, vectors, texts.open(), grader=grader.make())
            facts, quarantine = usable.facts, Quarantine((*pool.quarantine(), *aside))
            scores = usable.scores
            if not usable.keys:
                raise BadInput(f"{config.records}: no usable record; {quarantine.why_empty()}")
            plans: Plans = {(NAME, model or ""): usable.keys}
            pairs = len(choose_pairs(plans, config.critic.max_rows, config.seed))
            critics = (
                train(at, config.critic, plans, images, texts, config.seed).paths
                if pairs >= LEAST_PAIRS
                else ()
            )
            if whole:
                rows = plans_digest(plans)
                files = sketch_files(at, plans, images, texts, critics, config.row_sample)
                sums: SketchSet | None = sketches(files[NAME, model or ""])
            else:
                kept, rows = _streamed(at, config, scenario, model, images, critics, grader)
                scores = kept.scores
                sums, facts, quarantine = kept.sketches, dict(kept.facts), scenario.quarantine()
                for row in kept.aside:
                    quarantine.add(row)
        assert sums is not None  # some row is usable, or we had stopped
        manifest = Manifest(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            versions=versions(),
            config=config,
            config_hash=config_hash(config),
            rows=rows,
            encoders={"text": texts.identity} | ({"image": images.identity} if images else {}),
            model=model,
            n=sums.sample.seen,
            coverage=coverage(sums),
            descriptors=means(facts) | sums.norms.descriptors(),
            grader=grader.graded(),
            accuracy=float(scores.mean()) if len(scores) else None,
            quarantine=quarantine.counts(),
            chars_per_token=queries_chars_per_token(config.encoders.text, queries(records_of([scenario]))),
            pairs=pairs,
            no_critic=None if critics else _no_critic(pairs),
        )
        return save(out, manifest, sums, critics)


def _streamed(
    at: Workplace,
    config: BaselineConfig,
    scenario: Scenario,
    model: str | None,
    images: Embedded | None,
    critics: Sequence[Sequence[Path]],
    grader: Choice,
) -> tuple[Streamed, str]:
    """What is kept of all records by critics that a sample has trained, and the digest of their content."""
    (found,) = surveyed(at, [scenario])
    files = stream(
        at,
        found.parts,
        used_encoders(at, config.encoders, [found], images),
        critics,
        [StreamModel(model or "")],
        sample=config.row_sample,
        grader=grader,
        with_texts=found.texts,
    )
    return folded(files[NAME, model or ""]), content(found.parts)


def _no_critic(pairs: int) -> str:
    return (
        f"the baseline has {pairs} pairs of a query and an answer, fewer than the {LEAST_PAIRS} that a "
        "critic is trained on"
    )


# Records in.


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


def all_texts(scenario: Scenario, model: str | None) -> Iterator[ContentItem]:
    """Queries and references, then the responses (of several samples, the first)."""
    yield from input_texts(records_of([scenario]))
    for batch in scenario.batches():
        for given in answers(batch, model or "", None):
            if given and given[0].strip():
                yield text_item(given[0])


if __name__ == "__main__":
    from jobs.cli import run_job

    run_job("baseline", "build")
