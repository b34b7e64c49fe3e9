"""This step turns contents into vectors: every distinct image and text is embedded once and kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from auditor.pipeline.executor import Staff, Stage
from auditor.pipeline.workers.embeddings import EmbedSettings, EmbedWorker, encoder
from auditor.pipeline.workplace import Workplace
from auditor.profiles.rows import image_items
from auditor.protocols import Encoder, Modality
from auditor.scenarios import Scenario, records_of
from auditor.storage.embedding_store import EmbeddingStore
from auditor.storage.run_dir import work_identity
from auditor.storage.work_units import ContentItem, Cut
from schemas.config import EncoderConfig
from schemas.embedding import EMBEDDINGS_FORMAT


@dataclass(frozen=True)
class Embedded:
    """A folder holds embedded contents; `identity` names the encoder that made them."""

    identity: str
    folder: Path

    def open(self) -> EmbeddingStore:
        return EmbeddingStore(self.folder)


@dataclass(frozen=True)
class Chosen:
    """This is an encoder of the config, on the devices that the cluster has."""

    make: Callable[[], Encoder]
    identity: str
    gpus: float
    """Share of a GPU of one worker, where there are GPUs."""


def chosen(workplace: Workplace, config: EncoderConfig, modality: Modality) -> Chosen:
    """Return the encoder that workers will make."""
    with workplace.executor.staff(Stage(f"embed {modality}s", config.gpus)) as staff:
        return _chosen(workplace, staff, config, modality)


def _chosen(workplace: Workplace, staff: Staff, config: EncoderConfig, modality: Modality) -> Chosen:
    workplace.executor.check_weights(config.name)
    make = partial(encoder, config.settings(), modality, staff.device, workplace.shards.threads, config.batch)
    return Chosen(make, staff.identify(EmbedWorker, EmbedSettings(make)), config.gpus)


def embed(
    workplace: Workplace,
    config: EncoderConfig,
    modality: Modality,
    items: Callable[[], Iterable[ContentItem]],
) -> Embedded:
    """Embed every content that is not embedded yet. `items` is called more than once (see `Cut`)."""
    with workplace.executor.staff(Stage(f"embed {modality}s", config.gpus)) as staff:
        choice = _chosen(workplace, staff, config, modality)
        work = work_identity(choice.identity, shard=workplace.shards.embed, format=EMBEDDINGS_FORMAT)
        folder = workplace.run.embeddings(work)
        store = EmbeddingStore(folder)
        todo = Cut(items, workplace.shards.embed, work, done=store, failed=store.errors())
        staff.run(
            EmbedWorker,
            EmbedSettings(choice.make, folder, choice.identity, workplace.media),
            workplace.executor.within_reach(workplace.media, todo),
            total=todo.count(),
        )
    return Embedded(choice.identity, folder)


def embed_images(
    workplace: Workplace, config: EncoderConfig | None, scenarios: Sequence[Scenario]
) -> Embedded | None:
    """Embed the images of all records; None where no record has one, or no encoder is set."""
    if config is None or next(image_items(records_of(scenarios)), None) is None:
        return None
    return embed(workplace, config, "image", lambda: image_items(records_of(scenarios)))
