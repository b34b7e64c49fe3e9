"""Containers: what a file is made of (JSON lines, CSV, Parquet, ...), and how its rows are taken out of it.

A container gives a `Raw` for every row of a file, in bounded memory, and knows nothing of records. Where a
file breaks half-way, the rows before count, and one `Raw` with an error stands for the rest.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import BinaryIO

from auditor.errors import BadInput, RowError
from auditor.records.coercions import Coercions
from auditor.records.containers import arrow, inspect_log, json_document, json_lines, parquet, table, tar
from auditor.records.containers.kinds import Kind, kind_of
from auditor.records.containers.packing import BROKEN, spooled, unpacked
from auditor.records.limits import Limits
from auditor.records.lines import Repeated
from auditor.records.raw import Raw
from auditor.records.screen import Place
from auditor.records.sources import why
from schemas.record import Reason


def check(stream: BinaryIO, source: str) -> None:
    """Raise `BadInput` where the file is of a kind that is not read."""
    head, _, packed = unpacked(stream, source)
    kind_of(head, source, packed)


def raw_rows(
    stream: BinaryIO,
    source: str,
    limits: Limits,
    coercions: Coercions,
    columns: tuple[str, ...] | None = None,
) -> Iterator[Raw]:
    """Yield every row of the file `source`; of a table that has the first of `columns`, its id, only these.

    A row that gives its first column, the id, more than once is an error; other names that an object repeats
    are counted in `coercions`. Raises `BadInput` for a file that cannot be read at all.
    """
    head, opened, packed = unpacked(stream, source)
    kind = kind_of(head, source, packed)
    match kind:
        case Kind.PARQUET | Kind.ARROW:
            yield from _table(kind, stream, opened, packed, source, columns)
            return
        case Kind.JSONL:
            rows = json_lines.rows(opened, source, limits)
        case Kind.JSON:
            rows = json_document.rows(opened, source, limits)
        case Kind.CSV:
            rows = table.rows(opened, head, source, limits, columns)
        case Kind.INSPECT:
            rows = inspect_log.rows(opened, source, limits)
        case Kind.TAR:
            rows = tar.rows(opened, source, limits)
    last = None
    try:
        for raw in rows:
            last = raw.place
            yield _once(raw, columns, coercions) if isinstance(raw.fields, Repeated) else raw
    except (*BROKEN, csv.Error) as error:
        if last is None:
            raise BadInput(f"{source}: cannot be read ({why(error)}); is the file whole?") from None
        rest = RowError(Reason.UNREADABLE_LINE, f"the file breaks off after row {last.row}: {why(error)}")
        yield Raw(Place(source, last.row + 1), rest)


def _table(
    kind: Kind,
    stream: BinaryIO,
    opened: BinaryIO,
    packed: bool,
    source: str,
    columns: tuple[str, ...] | None,
) -> Iterator[Raw]:
    read = parquet.rows if kind is Kind.PARQUET else arrow.rows
    if packed or not stream.seekable():
        with spooled(opened, source) as file:
            yield from read(file, source, columns)
    else:
        stream.seek(0)
        yield from read(stream, source, columns)


def _once(raw: Raw, columns: tuple[str, ...] | None, coercions: Coercions) -> Raw:
    assert isinstance(raw.fields, Repeated)
    if columns is not None and columns[0] in raw.fields.repeated:
        return raw._replace(fields=RowError(Reason.MISSING_ID, f"`{columns[0]}` is given more than once"))
    for name in {"a field"} if columns is None else raw.fields.repeated.intersection(columns):
        coercions[name, "given more than once in a row, and taken as it stands last"] += 1
    return raw
