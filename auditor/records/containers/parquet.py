"""Parquet: a table, read a batch of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from auditor.errors import BadInput, RowError
from auditor.records.containers.cells import batch_fields, wanted
from auditor.records.raw import Raw
from auditor.records.screen import Place
from auditor.records.sources import why
from schemas.record import Reason

_BATCH_BYTES = 64 * 2**20
_MOST_BATCH_ROWS = 4096


def rows(stream: BinaryIO, source: str, columns: tuple[str, ...] | None) -> Iterator[Raw]:
    """Yield the rows by their number, from 0, of the columns that are `wanted`."""
    try:
        # Column chunks are streamed through a buffer instead of being held whole.
        file = pq.ParquetFile(stream, buffer_size=2**20, pre_buffer=False, page_checksum_verification=True)
        names = wanted(file.schema_arrow.names, columns)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise BadInput(f"{source}: no readable Parquet file ({why(error)}); is the file whole?") from None
    row = 0
    try:
        for batch in _batches(file, names):
            for fields in batch_fields(batch):
                yield Raw(Place(source, row), fields)
                row += 1
    except (pa.ArrowException, OSError, ValueError) as error:
        rest = f"rows {row} to {file.metadata.num_rows - 1} cannot be read: {why(error)}"
        yield Raw(Place(source, row), RowError(Reason.UNREADABLE_LINE, rest))


def _batches(file: pq.ParquetFile, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Batches of about `_BATCH_BYTES` by the file's own figures (images make rows heavy); none reaches over
    row groups, so that a damaged group takes no rows of the one before with it."""
    for index in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(index)
        row_bytes = max(group.total_byte_size / max(group.num_rows, 1), 1.0)
        rows = int(min(max(_BATCH_BYTES / row_bytes, 1), _MOST_BATCH_ROWS))
        yield from file.iter_batches(rows, row_groups=[index], columns=columns, use_threads=False)
