"""Records to sums in one go: windows of records embedded and sketched by critics that exist, nothing kept.

Where a critic is to be trained on the pool of all rows (audit, baseline) every row must be embedded before
any CLUB sum can be taken, so embeddings are kept there for a second pass (`jobs.pipeline.train`, `sketch`).
The driver holds no row: windows are positions on disk, shards are made as workers ask for them, and their
files are folded as they come.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from actors.pool import ShardResult, run_shards
from actors.stream import StreamEncoder, StreamSettings, StreamWorker, Unit, UnitRow
from auditor.estimators.crossfit import FoldedClub
from auditor.parts import Part
from auditor.rundir import digest, work_identity
from auditor.shards import Shard
from auditor.streamed import Fold
from jobs.pipeline import Chosen, Workplace


@dataclass(frozen=True)
class Encoders:
    """What contents are embedded by."""

    text: Chosen
    image: Chosen | None
    """None: images are left out."""

    @property
    def identities(self) -> dict[str, str]:
        """By modality."""
        return {"text": self.text.identity} | ({"image": self.image.identity} if self.image else {})


def stream(
    at: Workplace,
    records: Path,
    parts: Sequence[Part],
    encoders: Encoders,
    critics: Sequence[Sequence[Path]],
    *,
    sample: int,
    model: str | None,
    with_texts: bool = True,
    keep: bool = False,
) -> dict[str, tuple[Path, ...]]:
    """Embed and sketch the rows of every part of the record file; window -> the files whose fold, in their
    order, is what is kept of its rows (`auditor.streamed.folded`).

    With the same critics and sizes the sums are those of `embed` and `sketch`, to the bit while no row is set
    aside; else to rounding, since rows are cut into shards before that is known. `keep`: embeddings are
    written, too.
    """
    identity = json.dumps(
        {
            "records": {"model": model, "texts": with_texts, "shard": at.shards.stream},
            "encoders": encoders.identities,
            "critics": [FoldedClub.load(paths).digest for paths in critics],
            "sample": sample,
            "threads": at.shards.threads,
            "keep": keep,
        },
        sort_keys=True,
    )
    folder = at.run.sketches(identity)
    names = {part.window.name: [_name(identity, part, mark) for mark in part.digests] for part in parts}
    folds = {window: Fold(folder, of) for window, of in names.items()}
    fold_of = {name: folds[window] for window, of in names.items() for name in of}

    def kept(chosen: Chosen) -> StreamEncoder:
        place = at.run.embeddings(work_identity(chosen.identity, records=at.shards.stream)) if keep else None
        return StreamEncoder(chosen.make, chosen.identity, place)

    def came(result: ShardResult) -> None:
        fold_of[result.shard].advance()

    left = sum(_rows(part, folds[part.window.name].missing()) for part in parts)
    run_shards(
        StreamWorker,
        StreamSettings(
            records,
            folder,
            kept(encoders.text),
            kept(encoders.image) if encoders.image else None,
            tuple(map(tuple, critics)),
            sample,
            model or "",
            with_texts,
            at.media,
        ),
        _shards(parts, names, folds),
        at.pool("stream"),
        stage="embed and sketch",
        stall_seconds=at.stall,
        hang_seconds=at.hang,
        poison_rows=at.poison_rows,
        retries=at.retries,
        on_done=came,
        progress=at.progress,
        total=left,
    )
    return {window: fold.files() for window, fold in folds.items()}


def _shards(
    parts: Sequence[Part], names: Mapping[str, Sequence[str]], folds: Mapping[str, Fold]
) -> Iterator[Shard[UnitRow]]:
    """The units that are yet to be made, one window after the other."""
    for part in parts:
        window, units = part.window.name, list(part.units())
        fold = folds[window]
        fold.advance()
        for k in fold.missing():
            yield Unit(part.digests[k], window, part.positions, *units[k]).shard(names[window][k])


def _rows(part: Part, units: Sequence[int]) -> int:
    every = list(part.units())
    return sum(every[k][1] - every[k][0] for k in units)


def _name(identity: str, part: Part, mark: str) -> str:
    return digest(json.dumps([identity, part.window.name, mark]))
