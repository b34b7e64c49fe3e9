"""A worker turns records into profiles: the rows of a unit are embedded (or their kept vectors looked up) and
summed.

For critics that exist already. What travels to a worker is where its records lie, never a record.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from auditor.encoders.isolation import encode_rows
from auditor.estimators.crossfit import CrossFitted
from auditor.graders import Score, make_grader, scores
from auditor.pipeline.executor import ShardResult
from auditor.pipeline.workers.embeddings import BLANK, Contents, check_identity, condemned_of
from auditor.profiles.answer_sample import AnswerSample, RecordAnswers, record_answers, smallest
from auditor.profiles.folding import LASTING
from auditor.profiles.profile import Profile, failed_rows, group_marks, write_profile
from auditor.profiles.row_sums import sketch_shard
from auditor.profiles.rows import (
    RowKeys,
    answers,
    descriptors,
    image_items,
    input_texts,
    row_keys,
    unanswered,
    usable,
)
from auditor.protocols import Array, Encoder
from auditor.records import MediaPolicy, records_from_table
from auditor.scenarios.row_ranges import read_unit
from auditor.storage.embedding_store import Embeddings, EmbeddingStore, Vectors, embedding_table
from auditor.storage.response_store import ResponseStore
from auditor.storage.row_cache import ARROW, Failure
from auditor.storage.work_units import ContentItem, Shard, text_item, text_key
from schemas.config import GraderConfig
from schemas.record import Quarantined, Record


@dataclass(frozen=True, slots=True)
class Unit:
    """This is a unit of a window's rows (see `auditor.scenarios.row_ranges`)."""

    records: Path
    """File of admitted records."""
    digest: str
    """The digest of the rows' content."""
    window: str
    positions: Path
    start: int
    stop: int
    again: tuple[int, ...] = ()
    """Rows that failed in an earlier run: unless one of them can be done now, all stays as it is."""
    limit: int = 2**64
    """Records with larger hashes are not in the window's sample of answers (`answer_sample.hash_limit`)."""

    def shard(self, name: str) -> Shard[UnitRow]:
        """Return the unit's rows as the items of a shard."""
        return Shard(name, tuple(UnitRow(self, row) for row in range(self.start, self.stop)))


@dataclass(frozen=True, slots=True)
class UnitRow:
    """This is one row of a unit, so that a row that ends or hangs its worker can be found."""

    unit: Unit
    row: int
    """Counted within the window."""

    @property
    def key(self) -> str:
        return f"{self.unit.window}/{self.row}"


@dataclass(frozen=True)
class Kept:
    """These vectors were embedded before."""

    folder: Path
    """The folder of embedding shards."""


@dataclass(frozen=True)
class Encoding:
    """A worker has this encoder: contents are embedded as they come."""

    make: Callable[[], Encoder]
    identity: str
    """What it must be (see `EmbedSettings`)."""
    keep: Path | None = None
    """Folder of embedding shards, where embeddings are kept."""


@dataclass(frozen=True)
class ModelAnswers:
    """The responses of this model are sketched."""

    name: str
    """Empty: nobody's, rows have no responses."""
    responses: Path | None = None
    """Folder of its generated answers; None: they stand in the records."""
    drawn: bool = False
    """Whether these were drawn from its law (and are not the likeliest), so that their log-probabilities tell
    its entropy."""


def profile_file(folder: Path, shard: str, model: int) -> Path:
    """Return the file of what is kept of a shard's rows under the model of this number."""
    return folder / f"{shard}-{model}.npz"


@dataclass(frozen=True)
class ProfileSettings:
    """A `ProfileWorker` is made from these settings, which are pickled to its process."""

    folder: Path
    """Where the profiles go (see `profile_file`)."""
    text: Encoding | Kept
    image: Encoding | Kept | None
    """None: images are left out."""
    critics: tuple[tuple[Path, ...], ...]
    """The files of each critic, one or one a fold."""
    sample: int
    """Rows that travel with a window's sketch."""
    models: tuple[ModelAnswers, ...]
    """Whose responses; the rows of each are sketched by themselves."""
    grader: GraderConfig
    """The grader by name, never `auto`."""
    made_with: str = ""
    """What stands for encoders and critics (`Profile.made_with`)."""
    answers: int = 0
    """Records whose sampled answers travel with it, too; 0: nobody asks for entropies."""
    with_texts: bool = True
    """False: no record of the whole file has any text."""
    media: MediaPolicy = field(default_factory=MediaPolicy)


class ProfileWorker:
    """This worker makes profiles."""

    def __init__(self, settings: ProfileSettings) -> None:
        self._settings = settings
        self._text = _source(settings.text)
        self._image = None if settings.image is None else _source(settings.image)
        self._grader = make_grader(settings.grader)
        self._critics = [CrossFitted.load(paths) for paths in settings.critics]
        self._responses = [
            None if model.responses is None else ResponseStore(model.responses) for model in settings.models
        ]

    def run(self, shard: Shard[UnitRow]) -> ShardResult:
        began, unit = time.monotonic(), shard.items[0].unit
        if unit.again and not self._recovered(shard):
            return ShardResult(shard.name, len(shard), len(unit.again), time.monotonic() - began)
        rows = self._rows(shard)
        texts, images = self._vectors(rows, shard.name)
        quarantined: set[str | None] = set()
        for model, profile in enumerate(self._profiles(rows, texts, images)):
            path = profile_file(self._settings.folder, shard.name, model)
            # Where more has failed than in an earlier run, what that one has is not given up for it.
            if not (unit.again and path.exists() and len(failed_rows(path)) < len(profile.again)):
                write_profile(path, profile, inputs_apart=len(self._settings.models) > 1)
            quarantined.update(row.record_id for row in profile.set_aside)
        return ShardResult(shard.name, len(shard), len(quarantined), time.monotonic() - began)

    def probe(self, shard: Shard[UnitRow]) -> None:
        if shard.items:
            self._failed(shard)
            return
        for source in (self._text, self._image):
            if isinstance(source, _Encoder):
                encode_rows(source.encoder, [BLANK])

    def _vectors(self, rows: _Rows, name: str | None = None) -> tuple[Vectors, Vectors | None]:
        """Return the vectors of all texts and images of the rows; they are written under `name`, where
        embeddings are kept."""
        pictures = rows.pictures
        if isinstance(self._image, _Encoder) and pictures is not None:
            images: Vectors | None = self._image.done(
                pictures.keys, pictures.vectors(), pictures.failures, name
            )
        else:
            images = self._image if isinstance(self._image, EmbeddingStore) else None
        if isinstance(self._text, EmbeddingStore):
            return self._text, images
        encoded = encode_rows(self._text.encoder, list(rows.texts.values()))
        # None of the whole has a text: then rows have no text vectors, instead of zeros for vectors.
        vectors = encoded.vectors if self._settings.with_texts else np.zeros((0, 0), np.float32)
        return self._text.done(list(rows.texts), vectors, encoded.failures, name), images

    def _recovered(self, shard: Shard[UnitRow]) -> bool:
        """Return whether any of the rows that failed in an earlier run can be done now. They alone are tried:
        rows that fail for good do not cost their whole unit in every run."""
        failed = set(shard.items[0].unit.again)
        those = tuple(item for item in shard.items if item.row in failed)
        return not failed <= self._failed(replace(shard, items=those))

    def _failed(self, shard: Shard[UnitRow]) -> set[int]:
        """Do these rows, keep nothing, and tell which failed for a reason that may go."""
        rows = self._rows(shard)
        return {row for profile in self._profiles(rows, *self._vectors(rows)) for row in profile.again}

    def _rows(self, shard: Shard[UnitRow]) -> _Rows:
        """Return the shard's rows (all of its unit, or a part of it), their images embedded."""
        unit, condemned = shard.items[0].unit, condemned_of(shard)
        wanted = {item.row: condemned.get(item.key) for item in shard.items}
        pictures = None
        if isinstance(self._image, _Encoder):
            pictures = _Pictures(self._image.encoder, self._settings.media)
        rows, position = (
            _Rows(unit.window, pictures, [_ModelRows() for _ in self._settings.models]),
            unit.start,
        )
        for table in read_unit(unit.records, unit.positions, unit.start, unit.stop, unit.digest):
            batch = list(enumerate(records_from_table(table), start=position))
            position += len(batch)
            numbered = [(row, record) for row, record in batch if row in wanted]
            for row, record in numbered:
                if (failure := wanted[row]) is not None:
                    rows.condemn(row, record, failure)
            self._add(rows, [(row, record) for row, record in numbered if wanted[row] is None], sound=True)
            self._add(
                rows, [(row, record) for row, record in numbered if wanted[row] is not None], sound=False
            )
        for model_rows in rows.by_model:
            model_rows.answers = smallest(model_rows.answers, self._settings.answers, unit.limit)
            for text in (text for record in model_rows.answers for text in record.texts):
                rows.text(text_item(text))
        return rows

    def _add(self, rows: _Rows, numbered: Sequence[tuple[int, Record]], sound: bool) -> None:
        """Add rows to be sketched, or condemned ones (not `sound`), which are counted only."""
        records = [record for _, record in numbered]
        if sound:
            rows.add([row for row, _ in numbered], records)
        for model_rows, model, store in zip(
            rows.by_model, self._settings.models, self._responses, strict=True
        ):
            responses = answers(records, model.name, store)
            model_rows.facts.update(descriptors(records, responses))
            model_rows.scores += scores(records, responses, self._grader, model.name)
            if self._settings.answers:
                numbers = [row for row, _ in numbered]
                sampled = record_answers(numbers, records, responses, store if model.drawn else None)
                if not sound:  # nothing of them is embedded
                    sampled = [replace(entry, texts=()) for entry in sampled if entry.log_probabilities]
                model_rows.answered += len(sampled)
                model_rows.answers += sampled
            if not sound:
                continue
            model_rows.keys += row_keys(records, responses)
            for answer in responses:
                if answer and answer[0].strip():  # of several samples the first
                    rows.text(text_item(answer[0]))
            if store is not None:
                model_rows.quarantined += [
                    replace(row, row=numbered[row.row][0])
                    for row in unanswered(records, store, rows.window, model.name)
                ]

    def _profiles(self, rows: _Rows, texts: Vectors, images: Vectors | None) -> Iterator[Profile]:
        """Yield what is kept of the rows, model by model."""
        settings = self._settings
        for model_rows, model in zip(rows.by_model, settings.models, strict=True):
            usable_rows, unusable = usable(model_rows.keys, images, texts, rows.window, model.name)
            placed = [replace(row, row=rows.positions[row.row]) for row in unusable]
            quarantined = sorted([*rows.condemned, *model_rows.quarantined, *placed], key=lambda row: row.row)
            again = {row.row for row in quarantined if row.reason not in LASTING}
            sample = None
            if settings.answers:
                sample = AnswerSample.from_records(
                    model_rows.answers, model_rows.answered, texts, settings.answers
                )
                failed = {key for key, failure in texts.errors().items() if failure.reason not in LASTING}
                again |= {r.row for r in model_rows.answers if not failed.isdisjoint(map(text_key, r.texts))}
            sums = Profile()
            if usable_rows:
                sums = sketch_shard(usable_rows, images, texts, self._critics, settings.sample)
            yield replace(
                sums,
                answers=sample,
                facts=model_rows.facts,
                scores=np.array([score.value for score in model_rows.scores]),
                score_groups=group_marks(score.group for score in model_rows.scores),
                set_aside=tuple(quarantined),
                again=tuple(sorted(again)),
                made_with=settings.made_with,
            )


@dataclass(frozen=True)
class _Encoder:
    """This encoder is loaded."""

    encoder: Encoder
    keep: Path | None

    def done(
        self, keys: Sequence[str], vectors: Array, failures: Sequence[Failure | None], name: str | None
    ) -> Embeddings:
        """Return the contents that were encoded; they are written under `name`, where embeddings are kept."""
        if self.keep is not None and name is not None:
            ARROW.write(self.keep, name, embedding_table(keys, vectors, failures))
        return Embeddings(keys, vectors, failures)


def _source(source: Encoding | Kept) -> _Encoder | EmbeddingStore:
    if isinstance(source, Kept):
        return EmbeddingStore(source.folder)
    encoder = source.make()
    check_identity(encoder.identity, source.identity)
    return _Encoder(encoder, source.keep)


@dataclass
class _ModelRows:
    """These are the rows of a shard under one model."""

    keys: list[RowKeys] = field(default_factory=list)
    facts: Counter[str] = field(default_factory=Counter)
    """Facts of all rows, condemned ones too."""
    scores: list[Score] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)
    """Rows that the model gave no answer to."""
    answers: list[RecordAnswers] = field(default_factory=list)
    """What entropies are taken from; in the end of the few rows that may be in the window's sample."""
    answered: int = 0
    """Rows that `answers` is chosen from."""


class _Rows:
    """These are the rows of a shard without their images' bytes."""

    def __init__(self, window: str, pictures: _Pictures | None, by_model: list[_ModelRows]) -> None:
        self.window, self.pictures, self.by_model = window, pictures, by_model
        self.positions: list[int] = []
        """(n,) where each row stands in its window."""
        self.texts: dict[str, str] = {}
        """Content key -> text, each once."""
        self.condemned: list[Quarantined] = []

    def add(self, positions: Sequence[int], records: Sequence[Record]) -> None:
        self.positions += positions
        for item in input_texts(records):
            self.text(item)
        if self.pictures is not None:  # now, while their bytes are at hand: then they can go
            self.pictures.embed(image_items(records))

    def text(self, item: ContentItem) -> None:
        self.texts.setdefault(item.key, item.text or "")

    def condemn(self, row: int, record: Record, failure: Failure) -> None:
        self.condemned.append(
            Quarantined(self.window, row, failure.reason, failure.detail, record.record_id, self.window)
        )


class _Pictures:
    """These are the distinct images of a unit, embedded as they come."""

    def __init__(self, encoder: Encoder, media: MediaPolicy) -> None:
        self._encoder, self._media = encoder, media
        self.keys: list[str] = []
        self.failures: list[Failure | None] = []
        self._vectors: list[Array] = []
        self._seen: set[str] = set()

    def vectors(self) -> Array:
        """Return the vectors (n, d) as the encoder gave them."""
        return np.concatenate([np.zeros((0, self._encoder.dim), np.float32), *self._vectors])

    def embed(self, items: Iterable[ContentItem]) -> None:
        """Embed the images that are new. An image's vector does not depend on who is encoded with it."""
        new = list({item.key: item for item in items if item.key not in self._seen}.values())
        self._seen.update(item.key for item in new)
        if not new:
            return
        encoded = encode_rows(self._encoder, Contents(new, self._media))
        self.keys += [item.key for item in new]
        self.failures += encoded.failures
        self._vectors.append(encoded.vectors)
