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
from auditor.records.formats import RECORDS, columns, translate
from auditor.records.limits import DEFAULT_LIMITS, Limits
from auditor.records.rows import Progress, Rows
from auditor.records.screen import Place, screen
from auditor.records.sources import expand, mark, open_source, record_ending, shown
from schemas.record import Quarantined, Reason, Record


def read_records(path: str | Path, limits: Limits = DEFAULT_LIMITS, format: str = RECORDS) -> Rows:
    """Return the rows of one file, a local path or fsspec URI: JSON lines, JSON, CSV, TSV, Parquet or a tar
    of WebDataset, also compressed by gzip, zstd or bzip2. The content tells which, whatever the name says.

    Every row comes out as a `Record` or a `Quarantined`; see `screen` for answers that are quarantined while
    their row stays. Where a file breaks half-way, the rows before count and one unreadable_line stands for
    the rest. Raises `BadInput` (at once, or when the first row is taken) for a file that cannot be read.
    """
    return read_many([path], limits, format)


def read_many(
    paths: str | Path | Sequence[str | Path], limits: Limits = DEFAULT_LIMITS, format: str = RECORDS
) -> Rows:
    """Return the rows of all files of a path, a glob, a folder or a list of these (see `expand`), one file
    after the other.

    Of several files, one that cannot be read is one unreadable_line, and the others are read. Raises
    `BadInput` where none can be, else as `read_records`.
    """
    files = expand(paths)
    if len(files) == 1 and record_ending(files[0]) is None and os.path.isfile(files[0]):
        with open_source(files[0]) as stream:
            check(stream, files[0])
    progress = Progress()
    return Rows(_read_files(files, limits, format, progress), progress)


def _read_files(
    files: list[str], limits: Limits, format: str, progress: Progress
) -> Iterator[Record | Quarantined]:
    refused: list[tuple[Place, BadInput]] = []
    for path in files:
        try:
            yield from _read_file(path, limits, format, progress)
        except BadInput as error:
            refused.append((progress.advance(shown(path), 0), error))
            if len(refused) == len(files):
                raise refused[0][1] from None
            if len(files) > 1:
                yield refused[-1][0].quarantined(RowError(Reason.UNREADABLE_LINE, str(error)))


def _read_file(path: str, limits: Limits, format: str, progress: Progress) -> Iterator[Record | Quarantined]:
    source = shown(path)
    with open_source(path) as stream:
        progress.open(source, mark(path))
        raws = raw_rows(stream, source, limits, progress.coercions, columns(format, FIELDS))
        for raw in translate(raws, format, progress.coercions):
            yield from one_row(raw.fields, limits, progress.advance(*raw.place), progress)


def one_row(
    fields: dict[str, Any] | RowError, limits: Limits, place: Place, progress: Progress
) -> Iterator[Record | Quarantined]:
    """Yield the record of a row's fields, or why it is quarantined, as `screen` does."""
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
    progress.coercions.update(of_id)
    progress.coercions.update(coercions)
    yield from screen(record, limits, place)
