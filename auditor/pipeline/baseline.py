"""`auditor baseline build`: from in-distribution records to a baseline folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from auditor.errors import BadInput
from auditor.measures.query_coverage import queries, queries_chars_per_token
from auditor.pipeline.checks import check_encoders
from auditor.pipeline.choice import executor
from auditor.pipeline.critics import Plans, train
from auditor.pipeline.embed import Embedded, embed, embed_images
from auditor.pipeline.gather import REFERENCE as NAME
from auditor.pipeline.gather import gather_reference
from auditor.pipeline.profile import plans_digest, sketch_files, sketches
from auditor.pipeline.progress import Progress, Stopwatch
from auditor.pipeline.stream import content, pool_of, stream, surveyed, used_encoders
from auditor.pipeline.workers.streaming import StreamModel
from auditor.pipeline.workplace import Workplace, workplace
from auditor.profiles.baseline import Baseline, Manifest, coverage, save
from auditor.profiles.folding import Streamed, folded
from auditor.profiles.rows import answers, input_texts, means
from auditor.profiles.sketching import SketchSet
from auditor.profiles.training_pairs import choose_pairs
from auditor.profiles.usable_rows import told
from auditor.records import Quarantine
from auditor.report.provenance import versions
from auditor.scenarios import Scenario, media_policy, records_of
from auditor.storage.run_dir import RunDir
from auditor.storage.work_units import ContentItem, text_item
from schemas.config import BaselineConfig, config_hash

LEAST_PAIRS = 20
"""Fewer pairs of query and answer train no critic: there is nothing to hold out."""
COVERAGE_TEXTS = 2_000
"""Queries that are looked at to tell whether the text encoder knows them."""


def build(config: BaselineConfig, out: Path, progress: Progress) -> Baseline:
    """Build the baseline folder `out`; the same call again goes on where it stopped.

    Raises `BadInput` where no record is usable, or whose responses are meant is not clear.
    """
    run, watch = RunDir(out), Stopwatch(progress)
    with run.lock():
        check_encoders(config.encoders)
        reference = gather_reference(config, run)
        scenario, model = reference.scenario, reference.model
        with executor(config.workers, config.shards.threads, watch, rows=scenario.n) as taken:
            at = workplace(run, taken, config.shards, watch, media_policy(config.data))
            whole = config.critic.train_on == "pool"
            pool = scenario if whole else pool_of(run, [scenario], config.critic, config.seed)[0]
            images = embed_images(at, config.encoders.image, [pool])
            texts = embed(at, config.encoders.text, "text", lambda: all_texts(pool, model))
            usable, aside = told(pool, model or "", None, images.open() if images else None, texts.open())
            facts, quarantine = usable.facts, Quarantine((*pool.quarantine(), *aside))
            if not usable.keys:
                raise BadInput(f"{reference.where}: no usable record; {quarantine.why_empty()}")
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
                kept, rows = _streamed(at, config, scenario, model, images, critics)
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
            quarantine=quarantine.counts(),
            chars_per_token=queries_chars_per_token(config.encoders.text, queries(records_of([scenario]))),
            pairs=pairs,
            no_critic=None if critics else no_critic(pairs),
        )
        return save(out, manifest, sums, critics)


def _streamed(
    at: Workplace,
    config: BaselineConfig,
    scenario: Scenario,
    model: str | None,
    images: Embedded | None,
    critics: Sequence[Sequence[Path]],
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
        with_texts=found.texts,
    )
    return folded(files[NAME, model or ""]), content(found.parts)


def no_critic(pairs: int) -> str:
    """Why no critic is trained on so few pairs."""
    return (
        f"the baseline has {pairs} pairs of a query and an answer, fewer than the {LEAST_PAIRS} that a "
        "critic is trained on"
    )


# Records in.


def all_texts(scenario: Scenario, model: str | None) -> Iterator[ContentItem]:
    """Queries and references, then the responses (of several samples, the first)."""
    yield from input_texts(records_of([scenario]))
    for batch in scenario.batches():
        for given in answers(batch, model or "", None):
            if given and given[0].strip():
                yield text_item(given[0])
