"""JSON lines: one object a line."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from typing import BinaryIO, cast

from auditor.errors import BadInput, RowError
from auditor.records.limits import Limits
from auditor.records.lines import json_lines
from auditor.records.raw import Raw
from auditor.records.screen import Place
from auditor.records.sources import why
from schemas.record import Reason


def rows(
    stream: BinaryIO, source: str, limits: Limits, columns: tuple[str, ...] | None = None
) -> Iterator[Raw]:
    """Yield the rows by their line, from 1. All fields are given, whatever `columns` are wanted."""
    if source.lower().endswith(".gz"):
        stream = cast(BinaryIO, gzip.GzipFile(fileobj=stream))
    last = 0
    try:
        for number, line in json_lines(stream, limits.line_bytes):
            last = number
            yield Raw(Place(source, number), line)
    except (OSError, EOFError, zlib.error) as error:
        if last == 0:
            raise BadInput(f"{source}: cannot be read ({why(error)}); is the file whole?") from None
        rest = RowError(Reason.UNREADABLE_LINE, f"the file breaks off after line {last}: {why(error)}")
        yield Raw(Place(source, last + 1), rest)
