"""Embedding and sketching in one go as Ray work: records in, sums out, no embedding kept.

For critics that exist already. What travels to a worker is where its records lie, never a record.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from actors.embed import BLANK, check_identity, condemned_of
from actors.pool import ShardResult
from auditor.cache import Failure, write_table
from auditor.embeddings import Embeddings, embedding_table
from auditor.errors import RowError
from auditor.estimators.crossfit import FoldedClub
from auditor.interface import Array, Encoder
from auditor.isolate import Content, Encoded, encode_rows, failure_of
from auditor.parts import read_unit
from auditor.records import MediaPolicy, load_image, records_from_table
from auditor.rows import RowKeys, answers, descriptors, image_items, input_texts, row_keys, usable
from auditor.shards import ContentItem, Shard, text_item
from auditor.sketching import sketch_shard
from auditor.streamed import Streamed, write_streamed
from schemas.record import Quarantined, Record

READERS = 4
"""Threads that read images (from disk or afar) while others are encoded: they wait more than they work."""
CHUNK = 256
"""Images encoded at a time: those read ahead for the next time are in memory, too."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of a window's rows (see `auditor.parts`)."""

    digest: str
    """Of the rows' content."""
    window: str
    positions: Path
    start: int
    stop: int

    def shard(self, name: str) -> Shard[UnitRow]:
        """Its rows as the items of a shard."""
        return Shard(name, tuple(UnitRow(self, row) for row in range(self.start, self.stop)))


@dataclass(frozen=True, slots=True)
class UnitRow:
    """One row of a unit, so that one that ends or hangs its worker can be told from the others."""

    unit: Unit
    row: int
    """Counted within the window."""

    @property
    def key(self) -> str:
        return f"{self.unit.window}/{self.row}"


@dataclass(frozen=True)
class StreamEncoder:
    """An encoder of a worker's."""

    make: Callable[[], Encoder]
    identity: str
    """What it must be (see `EmbedSettings`)."""
    keep: Path | None = None
    """Folder of embedding shards, where embeddings are kept."""


@dataclass(frozen=True)
class StreamSettings:
    """What a `StreamWorker` is made from; pickled to its process."""

    records: Path
    """File of admitted records."""
    folder: Path
    """Where the sums go: `<shard>.npz`."""
    text: StreamEncoder
    image: StreamEncoder | None
    critics: tuple[tuple[Path, ...], ...]
    """The files of each critic, one or one a fold."""
    sample: int
    """Rows that travel with a window's sketch."""
    model: str
    """Whose recorded responses; empty: nobody's."""
    with_texts: bool = True
    """False: no record of the whole file has any text."""
    media: MediaPolicy = field(default_factory=MediaPolicy)


class StreamWorker:
    """A worker of the pool."""

    def __init__(self, settings: StreamSettings) -> None:
        self._settings = settings
        self._text = settings.text.make()
        check_identity(self._text.identity, settings.text.identity)
        self._image = None if settings.image is None else settings.image.make()
        if self._image is not None and settings.image is not None:
            check_identity(self._image.identity, settings.image.identity)
        self._critics = [FoldedClub.load(paths) for paths in settings.critics]

    def run(self, shard: Shard[UnitRow]) -> ShardResult:
        began, settings = time.monotonic(), self._settings
        unit = shard.items[0].unit
        rows = self._rows(unit, shard)
        encoded = encode_rows(self._text, list(rows.texts.values()))
        if settings.text.keep is not None:
            table = embedding_table(list(rows.texts), encoded.vectors, encoded.failures)
            write_table(settings.text.keep / f"{shard.name}.parquet", table)
        pictures = rows.pictures
        if pictures is not None and settings.image is not None and settings.image.keep is not None:
            table = embedding_table(pictures.keys, pictures.vectors(), pictures.failures)
            write_table(settings.image.keep / f"{shard.name}.parquet", table)
        streamed = self._streamed(unit, rows, encoded)
        write_streamed(settings.folder / f"{shard.name}.npz", streamed)
        errors = len({row.record_id for row in streamed.aside})
        return ShardResult(shard.name, len(shard), errors, time.monotonic() - began)

    def probe(self, shard: Shard[UnitRow]) -> None:
        if not shard.items:
            encode_rows(self._text, [BLANK])
            if self._image is not None:
                encode_rows(self._image, [BLANK])
            return
        rows = self._rows(shard.items[0].unit, shard)
        self._streamed(shard.items[0].unit, rows, encode_rows(self._text, list(rows.texts.values())))

    def _rows(self, unit: Unit, shard: Shard[UnitRow]) -> _Rows:
        """The shard's rows (all of the unit, or a part of it), their images embedded."""
        wanted, condemned = {item.row for item in shard.items}, condemned_of(shard)
        pictures = None if self._image is None else _Pictures(self._image, self._settings.media)
        rows, at = _Rows(pictures), unit.start
        for table in read_unit(self._settings.records, unit.positions, unit.start, unit.stop, unit.digest):
            batch = records_from_table(table)
            there = [(row, record) for row, record in enumerate(batch, start=at) if row in wanted]
            at += len(batch)
            records = [record for _, record in there]
            given = answers(records, self._settings.model, None)
            for name, value in descriptors(records, given).items():
                rows.facts[name] = rows.facts.get(name, 0) + value
            failures = [condemned.get(UnitRow(unit, row).key) for row, _ in there]
            for (row, record), failure in zip(there, failures, strict=True):
                if failure is not None:
                    rows.aside.append(
                        Quarantined(
                            unit.window, row, failure.reason, failure.detail, record.record_id, unit.window
                        )
                    )
            sound = [i for i, failure in enumerate(failures) if failure is None]
            rows.add([there[i][0] for i in sound], [records[i] for i in sound], [given[i] for i in sound])
        return rows

    def _streamed(self, unit: Unit, rows: _Rows, encoded: Encoded) -> Streamed:
        settings, pictures = self._settings, rows.pictures
        # None of the whole has a text: then rows have no text vectors, instead of zeros for vectors.
        vectors = encoded.vectors if settings.with_texts else np.zeros((0, 0), np.float32)
        texts = Embeddings(list(rows.texts), vectors, encoded.failures)
        images = None
        if pictures is not None:
            images = Embeddings(pictures.keys, pictures.vectors(), pictures.failures)
        kept, aside = usable(rows.keys, images, texts, unit.window, settings.model)
        placed = [replace(row, row=rows.at[row.row]) for row in aside]
        sketches = sketch_shard(kept, images, texts, self._critics, settings.sample) if kept else None
        every = sorted([*rows.aside, *placed], key=lambda row: row.row)
        return Streamed(sketches, rows.facts, tuple(every))


class _Rows:
    """The rows of a shard without their images' bytes."""

    def __init__(self, pictures: _Pictures | None) -> None:
        self.pictures = pictures
        self.at: list[int] = []
        """(n,) where each row stands in its window."""
        self.keys: list[RowKeys] = []
        self.texts: dict[str, str] = {}
        """Content key -> text, each once."""
        self.facts: dict[str, int] = {}
        """Of all rows, condemned ones too."""
        self.aside: list[Quarantined] = []
        """Condemned rows."""

    def add(self, at: Sequence[int], records: Sequence[Record], given: Sequence[tuple[str, ...]]) -> None:
        self.at += at
        self.keys += row_keys(records, given)
        for text in _texts(records, given):
            self.texts.setdefault(text.key, text.text or "")
        if self.pictures is not None:  # now, while their bytes are at hand: then they can go
            self.pictures.embed(image_items(records))


def _texts(records: Sequence[Record], given: Sequence[tuple[str, ...]]) -> Iterator[ContentItem]:
    """Queries, references and (of several samples the first) responses."""
    yield from input_texts(records)
    for answer in given:
        if answer and answer[0].strip():
            yield text_item(answer[0])


class _Pictures:
    """The distinct images of a unit, embedded as they come."""

    def __init__(self, encoder: Encoder, media: MediaPolicy) -> None:
        self._encoder, self._media = encoder, media
        self.keys: list[str] = []
        self.failures: list[Failure | None] = []
        self._vectors: list[Array] = []
        self._seen: set[str] = set()

    def vectors(self) -> Array:
        """(n, d) as the encoder gave them."""
        return np.concatenate([np.zeros((0, self._encoder.dim), np.float32), *self._vectors])

    def embed(self, items: Iterable[ContentItem]) -> None:
        """Those that are new. An image's vector does not depend on who is encoded with it."""
        new = list({item.key: item for item in items if item.key not in self._seen}.values())
        self._seen.update(item.key for item in new)
        if not new:
            return
        chunks = [new[i : i + CHUNK] for i in range(0, len(new), CHUNK)]
        with ThreadPoolExecutor(READERS) as readers:
            coming = [readers.submit(self._read, item) for item in new[:CHUNK]]
            for chunk, following in zip(chunks, [*chunks[1:], []], strict=True):
                read = [future.result() for future in coming]
                coming = [readers.submit(self._read, item) for item in following]
                encoded = encode_rows(self._encoder, read)
                self.keys += [item.key for item in chunk]
                self.failures += encoded.failures
                self._vectors.append(encoded.vectors)

    def _read(self, item: ContentItem) -> Content | Failure:
        assert item.image is not None
        try:
            return load_image(item.image, self._media)
        except RowError as error:
            return failure_of(error)
