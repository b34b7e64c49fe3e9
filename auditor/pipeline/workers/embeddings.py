"""A worker holds one encoder and embeds one shard of contents after another."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

from auditor.encoders.isolation import Content, encode_rows, failure_of
from auditor.errors import AuditError, RowError
from auditor.pipeline.executor import ShardResult
from auditor.protocols import Encoder, Modality
from auditor.records.media import MediaPolicy, load_image
from auditor.storage.embedding_store import embedding_table
from auditor.storage.row_cache import ARROW, Failure
from auditor.storage.work_units import ContentItem, Shard
from schemas.record import Reason

BLANK = Failure(Reason.MODEL_FAILED, "")
"""This stands in the place of a content: its row is a blank's."""


def encoder(
    name: str | dict[str, Any], modality: Modality, device: str, threads: int, batch: int | None
) -> Encoder:
    """Make an encoder by name or settings. It is imported here, so that a driver needs no torch to name one
    (`functools.partial(encoder, ...)` is what `EmbedSettings.make` takes)."""
    from auditor.encoders import make_encoder

    return make_encoder(name, modality, device=device, threads=threads, batch=batch)


@dataclass(frozen=True)
class EmbedSettings:
    """An `EmbedWorker` is made from these settings, which are pickled to its process."""

    make: Callable[[], Encoder]
    folder: Path | None = None
    """Folder of the shards; none for a worker that only tells its identity."""
    identity: str | None = None
    """What the encoder must be: a node with other weights or versions must not write into the same folder."""
    media: MediaPolicy = field(default_factory=MediaPolicy)


class EmbedWorker:
    """This worker embeds contents."""

    def __init__(self, settings: EmbedSettings) -> None:
        self._settings = settings
        self._encoder = settings.make()
        check_identity(self.identity, settings.identity)

    @property
    def identity(self) -> str:
        return self._encoder.identity

    def run(self, shard: Shard[ContentItem]) -> ShardResult:
        began = time.monotonic()
        encoded = encode_rows(self._encoder, self._contents(shard))
        table = embedding_table([item.key for item in shard.items], encoded.vectors, encoded.failures)
        ARROW.write(folder_of(self._settings.folder), shard.name, table)
        errors = len(table) - table["error"].null_count
        return ShardResult(shard.name, len(table), errors, time.monotonic() - began)

    def probe(self, shard: Shard[ContentItem]) -> None:
        encode_rows(self._encoder, self._contents(shard) or [BLANK])

    def _contents(self, shard: Shard[ContentItem]) -> Sequence[Content | Failure]:
        return Contents(shard.items, self._settings.media, condemned_of(shard))


class Contents(Sequence[Content | Failure]):
    """The contents of items: a text, the bytes of an image, or why there are none. An image is read when it
    is asked for, by whichever thread asks, so that few are in memory at a time."""

    def __init__(
        self, items: Sequence[ContentItem], media: MediaPolicy, condemned: Mapping[str, Failure] | None = None
    ) -> None:
        self._items, self._media, self._condemned = items, media, condemned or {}

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, index: int) -> Content | Failure: ...
    @overload
    def __getitem__(self, index: slice) -> Contents: ...
    def __getitem__(self, index: int | slice) -> Content | Failure | Contents:
        if isinstance(index, slice):
            return Contents(self._items[index], self._media, self._condemned)
        item = self._items[index]
        if item.key in self._condemned:
            return self._condemned[item.key]
        if item.image is None:
            return item.text or ""
        try:
            return load_image(item.image, self._media)
        except RowError as error:
            return failure_of(error)


def condemned_of(shard: Shard[Any]) -> dict[str, Failure]:
    """Return the items that must not be tried, by key, with what stands in the place of a result."""
    return {key: Failure.parse(error) for key, error in shard.condemned}


def folder_of(folder: Path | None) -> Path:
    """Return the folder of a worker's shards. Raises `AuditError` where it was given none."""
    if folder is None:
        raise AuditError("this worker was made without a folder to write to")
    return folder


def check_identity(identity: str, expected: str | None) -> None:
    """Raise `AuditError` where a worker's encoder or generator is not the one that its folder is of."""
    if expected is not None and identity != expected:
        raise AuditError(
            f"a worker has another encoder or generator than the run: {identity} instead of {expected}; "
            "install the same versions and weights on every node"
        )
