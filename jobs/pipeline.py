"""The straight line that audit, baseline and drift share: answers, embeddings, critics, sketches.

Each stage does only what its folder in the run directory lacks, and returns what is there then.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from actors.cluster import Cluster, PoolSize
from actors.placement import memory_utilization, placed
from actors.pool import Identified, identify, run_shards
from actors.reach import check_run, check_weights, within_reach
from auditor.estimators.crossfit import FoldedClub
from auditor.generators.rates import longest_seconds, prompt_tokens
from auditor.pipeline.progress import Progress
from auditor.pipeline.workers.answers import GenerateSettings, GenerateWorker, generator
from auditor.pipeline.workers.critics import CriticSettings, CriticWorker, critic_shards
from auditor.pipeline.workers.embeddings import EmbedSettings, EmbedWorker, encoder
from auditor.pipeline.workers.sketches import SketchSettings, SketchWorker
from auditor.profiles.rows import RowKeys, image_items
from auditor.profiles.sketching import SketchSet, merged, read_sketches, row_items
from auditor.profiles.training_pairs import choose_pairs, embed_pairs, pairs_digest
from auditor.protocols import Encoder, Modality
from auditor.records import MediaPolicy
from auditor.scenarios import Scenario, records_of
from auditor.storage.embedding_store import EmbeddingStore
from auditor.storage.response_store import ResponseStore
from auditor.storage.run_dir import RunDir, digest, work_identity
from auditor.storage.work_units import ContentItem, Cut, PromptItem, Shard, cut
from schemas.config import CriticConfig, EncoderConfig, ModelConfig, ShardConfig, VllmConfig

Plans = Mapping[tuple[str, str], Sequence[RowKeys]]
"""(scenario, model) -> its usable rows, in their order."""


@dataclass(frozen=True)
class Workplace:
    """Where a job runs: its folder, its cluster, its units of work and who is told."""

    run: RunDir
    cluster: Cluster
    shards: ShardConfig
    progress: Progress
    media: MediaPolicy

    def pool(self, *, gpus: float = 0.0, replicas: int | Literal["auto"] = "auto") -> PoolSize:
        """The workers of a stage; `gpus`: what one of them uses, where there are GPUs."""
        return self.cluster.pool(self.shards.threads, gpus, replicas)

    @property
    def stall(self) -> float:
        return self.cluster.workers.stall_seconds

    @property
    def retries(self) -> int:
        return self.cluster.workers.retries

    @property
    def hang(self) -> float | None:
        return self.cluster.workers.hang_seconds

    @property
    def poison_rows(self) -> int:
        return self.cluster.workers.poison_rows


def workplace(
    run: RunDir, cluster: Cluster, shards: ShardConfig, progress: Progress, media: MediaPolicy
) -> Workplace:
    """The place of a job. Raises `BadInput`, with the node, where not all share the run directory."""
    check_run(cluster, run)
    return Workplace(run, cluster, shards, progress, media)


S = TypeVar("S")


def _identity(at: Workplace, size: PoolSize, worker: Callable[[S], Identified], settings: S) -> str:
    """Of what a worker works with. On one machine without a GPU it is made here, which saves starting a
    worker for it; else one worker is asked, since the driver may have neither the weights nor the device."""
    if len(at.cluster.free) == 1 and not size.gpus:
        return worker(settings).identity
    return identify(worker, settings, size, at.stall, at.retries)


@dataclass(frozen=True)
class Embedded:
    """A folder of embedded contents and the encoder that made them."""

    identity: str
    folder: Path

    def open(self) -> EmbeddingStore:
        return EmbeddingStore(self.folder)


@dataclass(frozen=True)
class Chosen:
    """An encoder of the config, on the devices that the cluster has."""

    make: Callable[[], Encoder]
    identity: str
    gpus: float
    """Share of a GPU of one worker, where there are GPUs."""


def chosen(at: Workplace, config: EncoderConfig, modality: Modality, size: PoolSize | None = None) -> Chosen:
    """The encoder that workers will make; `size` of their pool, where its GPUs are reserved already."""
    check_weights(at.cluster, config.name)
    size = size or at.pool(gpus=config.gpus)
    make = partial(encoder, config.settings(), modality, size.device, at.shards.threads, config.batch)
    return Chosen(make, _identity(at, size, EmbedWorker, EmbedSettings(make)), config.gpus)


def embed(
    at: Workplace, config: EncoderConfig, modality: Modality, items: Callable[[], Iterable[ContentItem]]
) -> Embedded:
    """Embed every content that is not embedded yet. `items` is called more than once (see `Cut`)."""
    with placed(at.pool(gpus=config.gpus), at.stall, at.progress) as size:
        return _embed(at, size, config, modality, items)


def embed_images(
    at: Workplace, config: EncoderConfig | None, scenarios: Sequence[Scenario]
) -> Embedded | None:
    """Embed the images of all records; None where no record has one, or no encoder is set."""
    if config is None or next(image_items(records_of(scenarios)), None) is None:
        return None
    return embed(at, config, "image", lambda: image_items(records_of(scenarios)))


def _embed(
    at: Workplace,
    size: PoolSize,
    config: EncoderConfig,
    modality: Modality,
    items: Callable[[], Iterable[ContentItem]],
) -> Embedded:
    of = chosen(at, config, modality, size)
    work = work_identity(of.identity, shard=at.shards.embed)
    folder = at.run.embeddings(work)
    store = EmbeddingStore(folder)
    todo = Cut(items, at.shards.embed, work, done=store, failed=store.errors())
    run_shards(
        EmbedWorker,
        EmbedSettings(of.make, folder, of.identity, at.media),
        within_reach(at.cluster, at.media, todo),
        size,
        stage=f"embed {modality}s",
        total=todo.count(),
        stall_seconds=at.stall,
        hang_seconds=at.hang,
        retries=at.retries,
        poison_rows=at.poison_rows,
        progress=at.progress,
    )
    return Embedded(of.identity, folder)


@dataclass(frozen=True)
class Answered:
    """A model's answers, and its identity."""

    identity: str
    folder: Path

    def open(self) -> ResponseStore:
        return ResponseStore(self.folder)


def answer(
    at: Workplace, model: ModelConfig, items: Callable[[], Iterable[PromptItem]], seed: int
) -> Answered:
    """Put every prompt to the model that it has not answered yet. `items` is called more than once."""
    if model.endpoint is not None:
        # Asked by one worker, which has many requests under way and keeps the rates.
        return _answer(at, at.pool(replicas=1), model, items, seed)
    check_weights(at.cluster, model.path or model.name)
    with placed(at.pool(gpus=model.gpus_each, replicas=model.replicas), at.stall, at.progress) as size:
        return _answer(at, size, model, items, seed)


def engine_settings(model: ModelConfig, size: PoolSize) -> dict[str, Any]:
    """Settings of vLLM's engine; replicas that share a GPU share its memory."""
    engine = model.vllm or VllmConfig()
    share = memory_utilization(size.gpus, engine.gpu_memory_utilization) if size.gpus else None
    return engine.model_dump() | ({"gpu_memory_utilization": share} if share else {})


def _answer(
    at: Workplace, size: PoolSize, model: ModelConfig, items: Callable[[], Iterable[PromptItem]], seed: int
) -> Answered:
    settings: dict[str, Any] = {
        **model.options,
        "generator": model.generator,
        "model": model.path or model.name,
        "temperature": model.temperature,
        "samples": model.samples,
        "max_new_tokens": model.max_new_tokens,
        "batch": model.batch,
    }
    if model.endpoint is not None:
        settings["endpoint"] = model.endpoint.model_dump()
    if model.generator == "vllm":
        settings["vllm"] = engine_settings(model, size)
    make = partial(generator, settings, size.device, at.shards.threads)
    identity = _identity(at, size, GenerateWorker, GenerateSettings(make))
    # A sampled answer depends on the seed and on its shard's name; a greedy one does not.
    drawn = {"seed": seed} if model.temperature > 0 else {}
    work = work_identity(identity, shard=at.shards.generate, **drawn)
    folder = at.run.responses(work)
    store = ResponseStore(folder)
    todo = Cut(items, at.shards.generate, work, done=store, failed=store.errors())
    each = [(len(shard), _longest(model, shard)) for shard in todo]
    run_shards(
        GenerateWorker,
        GenerateSettings(make, seed, folder, identity, at.media),
        within_reach(at.cluster, at.media, todo),
        size,
        stage=f"answers of {model.name}",
        total=sum(rows for rows, _ in each),
        stall_seconds=max([at.stall, *(seconds for _, seconds in each)]),
        hang_seconds=None if model.endpoint else at.hang,  # an endpoint's requests have bounds of their own
        retries=at.retries,
        poison_rows=at.poison_rows,
        progress=at.progress,
    )
    return Answered(identity, folder)


def _longest(model: ModelConfig, shard: Shard[PromptItem]) -> float:
    """What a shard may take by the model's own bounds (seconds); 0 where it has none."""
    if model.endpoint is None:
        return 0.0
    asked = [
        prompt_tokens(item.text, item.history, len(item.images), model.endpoint.tokens_per_image)
        + model.max_new_tokens
        for item in shard.items
    ]
    return longest_seconds(model.endpoint, asked, model.samples)


@dataclass(frozen=True)
class Trained:
    """Critics of one pool of pairs."""

    paths: tuple[tuple[Path, ...], ...]
    """The files of each critic: one, or one a fold."""
    pairs: int


def train(
    at: Workplace, config: CriticConfig, plans: Plans, images: Embedded | None, texts: Embedded, seed: int
) -> Trained:
    """Train the critics that are missing, one a seed (and fold), all on one pool of pairs.

    Embeddings are kept for this second pass over the rows: the critic is trained on the whole pool, so no
    CLUB sum can be taken before every row has been embedded.
    """
    pairs = choose_pairs(plans, config.max_rows, seed)
    encoders = [images.identity if images else None, texts.identity]
    identity = json.dumps(
        {
            "critic": config.model_dump(exclude={"seeds", "max_rows"}),
            "pairs": pairs_digest(pairs),
            "encoders": encoders,
            "threads": at.shards.threads,
        },
        sort_keys=True,
    )
    folder = at.run.critics(identity)
    of_seed = critic_shards(seed, config.seeds, config.cross_fit)
    shards = [shard for shards in of_seed for shard in shards]
    paths = tuple(tuple(folder / f"{shard.name}.safetensors" for shard in shards) for shards in of_seed)
    done = {path.stem for of in paths for path in of if path.exists()}
    if len(done) < len(shards):
        pool = folder / "pairs.npz"
        embed_pairs(pairs, images.open() if images else None, texts.open()).write(pool)
        size = at.pool()
        run_shards(
            CriticWorker,
            CriticSettings(pool, folder, config),
            shards,
            size,
            stage="train critics",
            stall_seconds=max(at.stall, 3600.0),  # one critic is one unit of work, however long it takes
            retries=at.retries,
            done=done,
            progress=at.progress,
        )
        pool.unlink()
    return Trained(paths, len(pairs))


def how_trained(config: CriticConfig) -> str:
    """For reports."""
    folds = f", cross-fitted over {config.cross_fit} folds of base ids" if config.cross_fit else ""
    return f"{config.seeds} seeds{folds}"


def sketch_files(
    at: Workplace,
    plans: Plans,
    images: Embedded | None,
    texts: Embedded,
    critics: Sequence[Sequence[Path]],
    sample: int,
) -> dict[tuple[str, str], tuple[Path, ...]]:
    """Sketch the rows of every plan that has any, through one pool; each plan's files, in their order."""
    identity = json.dumps(
        {
            "encoders": [images.identity if images else None, texts.identity],
            "critics": [FoldedClub.load(paths).digest for paths in critics],
            "sample": sample,
            "shard": at.shards.sketch,
            "threads": at.shards.threads,
        },
        sort_keys=True,
    )
    folder = at.run.sketches(identity)
    cuts = {key: cut(row_items(rows), at.shards.sketch, identity) for key, rows in plans.items()}
    every = list({shard.name: shard for shards in cuts.values() for shard in shards}.values())
    run_shards(
        SketchWorker,
        SketchSettings(
            folder, texts.folder, images.folder if images else None, tuple(map(tuple, critics)), sample
        ),
        every,
        at.pool(),
        stage="sketch rows",
        stall_seconds=at.stall,
        retries=at.retries,
        done={path.stem for path in folder.glob("*.npz")},
        progress=at.progress,
    )
    return {
        key: tuple(folder / f"{shard.name}.npz" for shard in shards) for key, shards in cuts.items() if shards
    }


def sketches(files: Iterable[Path]) -> SketchSet:
    """One plan's files, merged in their order."""
    return merged(map(read_sketches, files))


def plans_digest(plans: Plans) -> str:
    """Digest of every row of every plan: what data the numbers are of."""
    names = {f"{s}\0{m}": [item.key for item in row_items(rows)] for (s, m), rows in plans.items()}
    return digest(json.dumps(names, sort_keys=True))
