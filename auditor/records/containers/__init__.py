"""Containers: what a file is made of (JSON lines, Parquet, ...), and how its rows are taken out of it.

A container gives a `Raw` for every row of a file, in bounded memory, and knows nothing of records. Where a
file breaks half-way, the rows before count, and one `Raw` with an error stands for the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from auditor.errors import BadInput
from auditor.records.containers import jsonl, parquet
from auditor.records.limits import Limits
from auditor.records.raw import Raw

_JSONL = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")
_PARQUET = (".parquet",)


def check_name(source: str) -> None:
    """Raise `BadInput` where the name of a file says that it is none that is read."""
    if not source.lower().endswith(_JSONL + _PARQUET):
        known = ", ".join(_JSONL + _PARQUET)
        raise BadInput(f"{source}: unknown file type; records are read from {known}")


def raw_rows(
    stream: BinaryIO, source: str, limits: Limits, columns: tuple[str, ...] | None = None
) -> Iterator[Raw]:
    """Yield every row of the file `source`; of a table only `columns`, where they are given.

    Raises `BadInput` for a file that cannot be read at all.
    """
    read = parquet.rows if source.lower().endswith(_PARQUET) else jsonl.rows
    yield from read(stream, source, limits, columns)
