"""This step goes from records to profiles, by critics that exist.

Two strategies give the same profiles. Where the critic is trained on the pairs of all rows, every content is
embedded first (`pipeline.embed`), and the kept vectors are looked up here. Where it is trained on a sample
(`pool_of`), or comes from a baseline, contents are embedded here as their records come by, and nothing but
the profiles is kept.
The driver holds no row: groups are positions on disk, shards are made as workers ask for them, and their
files are folded as they come.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from auditor.errors import BadInput
from auditor.estimators.crossfit import CrossFitted
from auditor.graders import Choice
from auditor.pipeline.embed import Chosen, Embedded, chosen
from auditor.pipeline.executor import ShardResult, Stage
from auditor.pipeline.workers.profiles import (
    Encoding,
    Kept,
    ModelAnswers,
    ProfileSettings,
    ProfileWorker,
    Unit,
    UnitRow,
    profile_file,
)
from auditor.pipeline.workplace import Workplace
from auditor.profiles.answer_sample import hash_limit
from auditor.profiles.folding import Fold
from auditor.profiles.profile import FORMAT, GroupKey, sweep_inputs
from auditor.records import records_from_table
from auditor.scenarios import Scenario, sampled
from auditor.scenarios.row_ranges import Part, Survey, first_rows, survey
from auditor.scenarios.windows import Splitter, one_window
from auditor.storage.run_dir import RunDir, digest, work_identity
from auditor.storage.work_units import Shard
from schemas.config import CriticConfig, EncodersConfig
from schemas.embedding import EMBEDDINGS_FORMAT
from schemas.record import Image

FIRST_ROWS = 64
"""Rows that are looked at for an image named by a path."""
CONTENTS = 4
"""Contents of a record: an image, a query, a response and a reference."""


@dataclass(frozen=True)
class Encoders:
    """Contents are embedded by these encoders."""

    text: Chosen
    image: Chosen | None
    """None: images are left out."""

    @property
    def gpus(self) -> float:
        """Return the GPUs of one worker, which holds both encoders."""
        return min(1.0, self.text.gpus + (self.image.gpus if self.image else 0.0))

    @property
    def identities(self) -> dict[str, str]:
        """Return the identities by modality."""
        return {"text": self.text.identity} | ({"image": self.image.identity} if self.image else {})


@dataclass(frozen=True)
class KeptVectors:
    """Contents were embedded to these vectors before."""

    text: Embedded
    image: Embedded | None
    """None: images are left out."""

    @property
    def identities(self) -> dict[str, str]:
        """Return the identities of the encoders, by modality."""
        return {"text": self.text.identity} | ({"image": self.image.identity} if self.image else {})


def surveyed(
    workplace: Workplace, scenarios: Sequence[Scenario], first: Splitter | None = None
) -> list[Survey]:
    """Survey each scenario as one window of its name; the first one in the windows of `first`, if given."""
    return [
        survey(
            s.path,
            first if first is not None and s is scenarios[0] else one_window(s.name),
            workplace.run.windows(s.name),
            workplace.shards.stream,
        )
        for s in scenarios
    ]


def pool_of(run: RunDir, scenarios: Sequence[Scenario], config: CriticConfig, seed: int) -> list[Scenario]:
    """Return the seeded sample of records that a critic is trained on, from each scenario by its size."""
    total = sum(s.n for s in scenarios)
    return [
        sampled(s, run, max(1, round(config.sample_rows * s.n / total)), seed) if s.n else s
        for s in scenarios
    ]


def used_encoders(
    workplace: Workplace, config: EncodersConfig, surveys: Sequence[Survey], images: Embedded | None
) -> Encoders:
    """Return the encoders of all records, given those of their sample. Raises `BadInput` where a modality has
    no record in the sample: its critic does not know it."""
    of_images = config.image if any(s.images for s in surveys) else None
    if of_images is not None and images is None:
        raise BadInput(
            "critic.sample_rows: some records have images, none of the sampled ones has; raise it, or set "
            "critic.train_on: pool"
        )
    return Encoders(
        chosen(workplace, config.text, "text"),
        None if of_images is None else chosen(workplace, of_images, "image"),
    )


def content(parts: Sequence[Part]) -> str:
    """Return the digest of every row of every part: what data the numbers are of."""
    return digest(json.dumps([[part.window.name, part.digests] for part in parts]))


def profile(
    workplace: Workplace,
    parts: Sequence[Part],
    vectors: Encoders | KeptVectors,
    critics: Sequence[Sequence[Path]],
    models: Sequence[ModelAnswers],
    *,
    sample: int,
    grader: Choice,
    answers: int = 0,
    with_texts: bool = True,
    keep: bool = False,
) -> dict[GroupKey, tuple[Path, ...]]:
    """Profile the rows of every part under every model, and return the files whose fold, in their order, is
    the profile (`auditor.profiles.profile.folded`).

    `sample`: rows of each group's row sample. `answers`: records of each group whose sampled answers are kept
    for entropies. `keep`: what is embedded here is written, too.

    Units with rows that failed in an earlier run (not for a reason in `LASTING`) are made again where one of
    these rows can be done now.
    """
    encoders = vectors if isinstance(vectors, Encoders) else None
    of_critics = [CrossFitted.load(paths).digest for paths in critics]
    identity = json.dumps(
        {
            "format": FORMAT,
            "records": {"texts": with_texts, "shard": workplace.shards.stream, "chars": True, "facts": 2},
            "models": [[m.name, m.responses and m.responses.name, m.drawn] for m in models],
            "encoders": vectors.identities,
            "vectors": "encoded" if encoders else "kept",
            "critics": of_critics,
            "sample": sample,
            "grader": grader.make().identity,
            "answers": answers,
            "threads": workplace.shards.threads,
            "keep": keep,
        },
        sort_keys=True,
    )
    folder = workplace.run.profiles(identity)
    windows = [_Window(part, identity, folder, len(models), answers) for part in parts]
    of_shard = {name: window for window in windows for name in window.names}

    def source(embedding: Chosen | Embedded) -> Encoding | Kept:
        if isinstance(embedding, Embedded):
            return Kept(embedding.folder)
        place = (
            workplace.run.embeddings(
                work_identity(embedding.identity, records=workplace.shards.stream, format=EMBEDDINGS_FORMAT)
            )
            if keep
            else None
        )
        return Encoding(embedding.make, embedding.identity, place)

    def finish(result: ShardResult) -> None:
        of_shard[result.shard].finish(result.shard)

    stage = Stage("profile rows")
    if encoders:
        workplace.executor.check_images(workplace.media, _some_images(parts))
        # The limit is meant for a shard of contents; here one has as many as its records have.
        longer = max(1, -(-CONTENTS * workplace.shards.stream // workplace.shards.embed))
        stage = Stage("embed and profile", encoders.gpus, longer=longer)
    settings = ProfileSettings(
        folder,
        source(vectors.text),
        source(vectors.image) if vectors.image else None,
        tuple(map(tuple, critics)),
        sample,
        tuple(models),
        grader.config,
        digest(json.dumps([vectors.identities, of_critics], sort_keys=True)),
        answers,
        with_texts,
        workplace.media,
    )
    with workplace.executor.staff(stage) as staff:
        staff.run(
            ProfileWorker,
            settings,
            (shard for window in windows for shard in window.shards()),
            total=sum(window.left() for window in windows),
            on_done=finish,
        )
    files = {
        GroupKey(window.part.window.name, model.name): fold.files()
        for window in windows
        for model, fold in zip(models, window.folds, strict=True)
    }
    sweep_inputs(folder)
    return files


def _some_images(parts: Sequence[Part]) -> list[Image]:
    """Return at most one of the first part's first rows, and one of the last part's, that is named by a
    path."""
    images: list[Image] = []
    for part in (*parts[:1], *parts[1:][-1:]):
        records = (record for table in first_rows(part) for record in records_from_table(table))
        first = islice(records, FIRST_ROWS)
        named = (image for record in first for image in record.images if image.path is not None)
        images += islice(named, 1)
    return images


class _Window:
    """A window holds a group's shards, and the folds of what was made of them, one a model."""

    def __init__(self, part: Part, identity: str, folder: Path, models: int, answers: int) -> None:
        self.part = part
        self.limit = hash_limit(answers, part.n)
        # Without a sample of answers a window that grows keeps its units.
        stamp = [identity, part.window.name, *([self.limit] if answers else [])]
        self.names = [digest(json.dumps([*stamp, mark])) for mark in part.digests]
        self.folds = [
            Fold(
                folder,
                [profile_file(folder, name, model).stem for name in self.names],
                inputs_apart=models > 1,
            )
            for model in range(models)
        ]

    def finish(self, name: str) -> None:
        index = self.names.index(name)
        for fold in self.folds:
            fold.came(index)

    def left(self) -> int:
        """Return the rows of the units that are still to be made, or to be tried again."""
        units = list(self.part.units())
        return sum(units[k][1] - units[k][0] for k in self._todo())

    def shards(self) -> Iterator[Shard[UnitRow]]:
        part, units = self.part, list(self.part.units())
        for fold in self.folds:
            fold.advance()
        for k, again in self._todo().items():
            start, stop = units[k]
            mark, window = part.digests[k], part.window.name
            unit = Unit(part.records, mark, window, part.positions, start, stop, again, self.limit)
            yield unit.shard(self.names[k])

    def _todo(self) -> dict[int, tuple[int, ...]]:
        """Return the units that some model lacks (no rows: all are to be made), or has with failed rows
        (those)."""
        missing = {k for fold in self.folds for k in fold.missing()}
        again: dict[int, set[int]] = {k: set() for k in missing}
        for fold in self.folds:
            for k, rows in fold.again().items():
                if k not in missing:
                    again.setdefault(k, set()).update(rows)
        return {k: tuple(sorted(again[k])) for k in sorted(again)}
