"""Records are read from files in layers: a container gives rows, a format gives them the public fields, and
the fields become a `Record`. A bad row is a `Quarantined`, a bad file a `BadInput`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from auditor.errors import BadInput, RowError
from auditor.records.coercions import Coercions
from auditor.records.containers import check, raw_rows
from auditor.records.fields import FIELDS, parse_id, parse_moment, parse_record
from auditor.records.formats import Chosen, Reading, translate
from auditor.records.limits import DEFAULT_LIMITS, Limits
from auditor.records.raw import Failed, Raw
from auditor.records.rows import Progress, Rows
from auditor.records.screen import Place, screen
from auditor.records.sources import expand, mark, open_source, record_ending, shown
from schemas.record import Quarantined, Reason, Record


def read_records(
    path: str | Path,
    limits: Limits = DEFAULT_LIMITS,
    chosen: Chosen | None = None,
    media_root: str | Path | None = None,
) -> Rows:
    """Return the rows of one file, a local path or fsspec URI: JSON lines, JSON, CSV, TSV, Parquet or a tar
    of WebDataset, also compressed by gzip, zstd or bzip2. The content tells which, whatever the name says.

    Every row comes out as a `Record` or a `Quarantined`; see `screen` for answers that are quarantined while
    their row stays. Where a file breaks half-way, the rows before count and one unreadable_line stands for
    the rest. Raises `BadInput` (at once, or when the first row is taken) for a file that cannot be read.
    """
    return read_many([path], limits, chosen, media_root)


def read_many(
    paths: str | Path | Sequence[str | Path],
    limits: Limits = DEFAULT_LIMITS,
    chosen: Chosen | None = None,
    media_root: str | Path | None = None,
) -> Rows:
    """Return the rows of all files of a path, a glob, a folder or a list of these (see `expand`), one file
    after the other. `chosen`: the format of their rows (None: told from the first rows of each).
    `media_root`: where files lie that rows name.

    Of several files, one that cannot be read is one unreadable_line, and the others are read. Raises
    `BadInput` where none can be, else as `read_records`.
    """
    files = expand(paths)
    if len(files) == 1 and record_ending(files[0]) is None and os.path.isfile(files[0]):
        with open_source(files[0]) as stream:
            check(stream, files[0])
    progress = Progress()
    reading = Reading(limits, media_root, progress.coercions, progress.joined)
    raws = translate(_raw_files(files, limits, progress), chosen or Chosen(), reading, progress.formats)
    return Rows(_rows(raws, limits, progress), progress)


def _raw_files(files: list[str], limits: Limits, progress: Progress) -> Iterator[tuple[str, Iterator[Raw]]]:
    refused: list[BadInput] = []

    def rows(path: str) -> Iterator[Raw]:
        try:
            yield from _raw_rows(path, limits, progress)
        except BadInput as error:
            refused.append(error)
            if len(refused) == len(files):
                raise refused[0] from None
            yield Raw(Place(shown(path), 0), RowError(Reason.UNREADABLE_LINE, str(error)))

    for path in files:
        yield shown(path), rows(path)


def _raw_rows(path: str, limits: Limits, progress: Progress) -> Iterator[Raw]:
    source = shown(path)
    with open_source(path) as stream:
        progress.open(source, mark(path))
        yield from raw_rows(stream, source, limits, progress.coercions, FIELDS)


def _rows(raws: Iterator[Raw], limits: Limits, progress: Progress) -> Iterator[Record | Quarantined]:
    for raw in raws:
        yield from one_row(raw.fields, limits, progress.advance(*raw.place), progress, raw.failed)


def one_row(
    fields: dict[str, Any] | RowError,
    limits: Limits,
    place: Place,
    progress: Progress,
    failed: Sequence[Failed] = (),
) -> Iterator[Record | Quarantined]:
    """Yield the record of a row's fields, or why it is quarantined, as `screen` does; before a record also
    the models that failed on it."""
    record_id = None
    try:
        if isinstance(fields, RowError):
            raise fields
        of_id = Coercions()
        record_id = parse_id(fields, of_id)
        record, coercions = parse_record(fields, record_id)
    except RowError as error:
        moment = None if isinstance(fields, RowError) else parse_moment(fields)
        yield place.quarantined(error, record_id, timestamp=moment)
        return
    for counted in (of_id, coercions):
        if counted:  # for most rows there are none, and adding them up takes a while
            progress.coercions.update(counted)
    for row in screen(record, limits, place):
        if isinstance(row, Record):
            for model, why in failed:
                yield place.quarantined(RowError(Reason.MODEL_FAILED, why), record_id, model=model)
        yield row
