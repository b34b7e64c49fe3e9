"""Arrow: a table as `datasets` keeps it on disk (a stream), or as a feather file. Batches are read one at a
time, as they were written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa

from auditor.errors import BadInput, RowError
from auditor.records.containers.cells import batch_fields, wanted
from auditor.records.raw import Raw
from auditor.records.screen import Place
from auditor.records.sources import why
from schemas.record import Reason

FILE = b"ARROW1"
STREAM = b"\xff\xff\xff\xff"
_SLICE = 256
_BROKEN = (pa.ArrowException, OSError, ValueError)


def rows(stream: BinaryIO, source: str, columns: tuple[str, ...] | None) -> Iterator[Raw]:
    """Yield the rows by their number, from 0, of the columns that are `wanted`."""
    try:
        magic = stream.read(len(FILE))
        stream.seek(0)
        # Not mapped into memory: a file that is cut while it is read would end the process.
        reader = pa.ipc.open_file(stream) if magic == FILE else pa.ipc.open_stream(stream)
        names = wanted(reader.schema.names, columns)
    except _BROKEN as error:
        raise BadInput(f"{source}: no readable Arrow file ({why(error)}); is the file whole?") from None
    row = 0
    try:
        for batch in _batches(reader):
            chosen = batch.select(names)
            chosen.validate(full=True)  # offsets of a spoiled file may lie outside of it
            for start in range(0, chosen.num_rows, _SLICE):
                for fields in batch_fields(chosen.slice(start, _SLICE)):
                    yield Raw(Place(source, row), fields)
                    row += 1
    except _BROKEN as error:
        rest = f"the rows from {row} on cannot be read: {why(error)}"
        yield Raw(Place(source, row), RowError(Reason.UNREADABLE_LINE, rest))


def _batches(reader: pa.RecordBatchFileReader | pa.RecordBatchStreamReader) -> Iterator[pa.RecordBatch]:
    if isinstance(reader, pa.RecordBatchFileReader):
        for index in range(reader.num_record_batches):
            yield reader.get_batch(index)
    else:
        yield from reader
