"""Records are streamed from JSONL and Parquet. A bad row is a `Quarantined`, a bad file a `BadInput`."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from auditor.errors import BadInput, RowError
from auditor.records.fields import FIELDS, Unreadable, parse_id, parse_moment, parse_record
from auditor.records.limits import DEFAULT_LIMITS, Limits
from auditor.records.lines import json_lines
from auditor.records.rows import Progress, Rows
from auditor.records.screen import Place, screen
from auditor.records.sources import expand, open_source, shown, why
from schemas.record import Quarantined, Reason, Record

_JSONL = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")
_PARQUET = (".parquet",)
_BATCH_BYTES = 64 * 2**20
_MOST_BATCH_ROWS = 4096
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def read_records(path: str | Path, limits: Limits = DEFAULT_LIMITS) -> Rows:
    """Return the rows of one file: `.jsonl`, `.ndjson` (also `.gz`) or `.parquet`; a local path or fsspec
    URI.

    Every row comes out as a `Record` or a `Quarantined`; see `screen` for answers that are quarantined while
    their row stays. Where a file breaks half-way, the rows before count and one unreadable_line stands for
    the rest. Raises `BadInput` (at once, or when the first row is taken) for a file that cannot be read.
    """
    return read_many([path], limits)


def read_many(paths: str | Path | Sequence[str | Path], limits: Limits = DEFAULT_LIMITS) -> Rows:
    """Return the rows of all files of a glob, a path or a list of either, one file after the other; within a
    glob in the order of names. Errors as `read_records`."""
    files = expand(paths)
    for path in files:
        if not _ends_with(path, _JSONL + _PARQUET):
            known = ", ".join(_JSONL + _PARQUET)
            raise BadInput(f"{shown(path)}: unknown file type; records are read from {known}")
    progress = Progress()
    return Rows(_read_files(files, limits, progress), progress)


def _ends_with(path: str, endings: tuple[str, ...]) -> bool:
    return shown(path).lower().endswith(endings)


def _read_files(files: list[str], limits: Limits, progress: Progress) -> Iterator[Record | Quarantined]:
    for path in files:
        with open_source(path) as stream:
            read = _read_parquet if _ends_with(path, _PARQUET) else _read_jsonl
            yield from read(stream, path, limits, progress)


def _read_jsonl(
    stream: BinaryIO, path: str, limits: Limits, progress: Progress
) -> Iterator[Record | Quarantined]:
    source = shown(path)
    if _ends_with(path, (".gz",)):
        stream = cast(BinaryIO, gzip.GzipFile(fileobj=stream))
    last = 0
    try:
        for number, line in json_lines(stream, limits.line_bytes):
            last = number
            yield from one_row(line, limits, progress.advance(source, number), progress)
    except (OSError, EOFError, zlib.error) as error:
        if last == 0:
            raise BadInput(f"{source}: cannot be read ({why(error)}); is the file whole?") from None
        rest = RowError(Reason.UNREADABLE_LINE, f"the file breaks off after line {last}: {why(error)}")
        yield progress.advance(source, last + 1).quarantined(rest)


def _read_parquet(
    stream: BinaryIO, path: str, limits: Limits, progress: Progress
) -> Iterator[Record | Quarantined]:
    source = shown(path)
    try:
        # Column chunks are streamed through a buffer instead of being held whole.
        file = pq.ParquetFile(stream, buffer_size=2**20, pre_buffer=False, page_checksum_verification=True)
        names = set(file.schema_arrow.names)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise BadInput(f"{source}: no readable Parquet file ({why(error)}); is the file whole?") from None
    if "record_id" not in names:
        present = ", ".join(sorted(map(str, names)))[:200]
        raise BadInput(f"{source}: has no column `record_id` (it has {present}); rename or add it")
    columns = [name for name in FIELDS if name in names]
    row = 0
    try:
        for batch in _batches(file, columns):
            for fields in batch_fields(batch):
                yield from one_row(fields, limits, progress.advance(source, row), progress)
                row += 1
    except (pa.ArrowException, OSError, ValueError) as error:
        rest = RowError(
            Reason.UNREADABLE_LINE,
            f"rows {row} to {file.metadata.num_rows - 1} cannot be read: {why(error)}",
        )
        yield progress.advance(source, row).quarantined(rest)


def _batches(file: pq.ParquetFile, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Batches of about `_BATCH_BYTES` by the file's own figures (images make rows heavy); none reaches over
    row groups, so that a damaged group takes no rows of the one before with it."""
    for index in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(index)
        row_bytes = max(group.total_byte_size / max(group.num_rows, 1), 1.0)
        rows = int(min(max(_BATCH_BYTES / row_bytes, 1), _MOST_BATCH_ROWS))
        yield from file.iter_batches(rows, row_groups=[index], columns=columns, use_threads=False)


def one_row(
    fields: dict[str, Any] | RowError, limits: Limits, place: Place, progress: Progress
) -> Iterator[Record | Quarantined]:
    """Yield the record of a row's fields, or why it is quarantined, as `screen` does."""
    record_id = None
    try:
        if isinstance(fields, RowError):
            raise fields
        record_id = parse_id(fields)
        record, naive, lost_scores = parse_record(fields, record_id)
    except RowError as error:
        moment = None if isinstance(fields, RowError) else parse_moment(fields)
        yield place.quarantined(error, record_id, timestamp=moment)
        return
    progress.naive_timestamps += naive
    progress.lost_scores += lost_scores
    yield from screen(record, limits, place)


def batch_fields(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """Yield the rows of a batch, each as a field's name -> its value, or an `Unreadable`."""
    columns = {name: _values(batch.column(i)) for i, name in enumerate(batch.schema.names)}
    for row in range(batch.num_rows):
        yield {name: cells[row] for name, cells in columns.items()}


def _values(column: pa.Array) -> list[Any]:
    """The column's values; a value that Python cannot hold becomes an `Unreadable`."""
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("s" if column.type == pa.date32() else "ms"))
    if pa.types.is_timestamp(column.type):
        return _moments(column)
    try:
        return cast(list[Any], column.to_pylist())
    except (ValueError, OverflowError, pa.ArrowException):  # such as a text that is not UTF-8
        return [_value(column, i) for i in range(len(column))]


def _value(column: pa.Array, i: int) -> Any:
    try:
        return column[i].as_py()
    except UnicodeDecodeError as error:
        return Unreadable(f"not UTF-8 at byte {error.start}")
    except (ValueError, OverflowError, pa.ArrowException) as error:
        return Unreadable(why(error))


def _moments(column: pa.Array) -> list[datetime | int | None]:
    """Moments to the microsecond; one beyond Python's years stays the integer it was, which is no moment."""
    unit = _PER_SECOND[column.type.unit]
    zone = _EPOCH if column.type.tz is not None else _EPOCH.replace(tzinfo=None)
    moments: list[datetime | int | None] = []
    for value in column.cast(pa.int64()).to_pylist():
        try:
            moments.append(value if value is None else zone + timedelta(microseconds=value * 10**6 // unit))
        except OverflowError:
            moments.append(value)
    return moments
