"""Sketching as Ray work: rows of any scenario and model in, one file of sums a shard out.

Shards of many scenarios and models can go through one pool; the driver merges each one's files in the order
of its shards.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from auditor.estimators.crossfit import FoldedClub
from auditor.pipeline.executor import ShardResult
from auditor.profiles.sketching import RowItem, sketch_shard, write_sketches
from auditor.storage.embedding_store import EmbeddingStore
from auditor.storage.work_units import Shard


@dataclass(frozen=True)
class SketchSettings:
    """What a `SketchWorker` is made from; pickled to its process."""

    folder: Path
    """Where the sums go: `<shard>.npz`."""
    texts: Path
    """Folder of embedded texts."""
    images: Path | None
    critics: tuple[tuple[Path, ...], ...]
    """The files of each critic, one or one a fold."""
    sample: int
    """Rows that travel with a scenario's sketch."""


class SketchWorker:
    """A worker of the pool."""

    def __init__(self, settings: SketchSettings) -> None:
        self._settings = settings
        self._texts = EmbeddingStore(settings.texts)
        self._images = None if settings.images is None else EmbeddingStore(settings.images)
        self._critics = [FoldedClub.load(paths) for paths in settings.critics]

    def run(self, shard: Shard[RowItem]) -> ShardResult:
        began = time.monotonic()
        keys = [item.row for item in shard.items]
        sketches = sketch_shard(keys, self._images, self._texts, self._critics, self._settings.sample)
        write_sketches(self._settings.folder / f"{shard.name}.npz", sketches)
        return ShardResult(shard.name, len(keys), 0, time.monotonic() - began)
