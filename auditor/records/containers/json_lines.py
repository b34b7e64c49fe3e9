"""JSON lines: one object a line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from auditor.records.limits import Limits
from auditor.records.lines import json_lines
from auditor.records.raw import Raw
from auditor.records.screen import Place


def rows(stream: BinaryIO, source: str, limits: Limits) -> Iterator[Raw]:
    """Yield the rows by their line, from 1. Blank lines are no rows."""
    for number, line in json_lines(stream, limits.line_bytes):
        yield Raw(Place(source, number), line)
