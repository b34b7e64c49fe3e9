"""The format of a file is told from its first rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from auditor.records.formats.registry import Format
from auditor.records.raw import Raw

ENOUGH = 3
"""Rows of one format that tell it."""
MOST_ROWS = 20
"""Rows that are looked at, where they do not agree or cannot be read."""


def told(raws: Iterator[Raw], formats: Sequence[Format]) -> tuple[Format | None, Iterator[Raw]]:
    """Return the format of the rows, and the rows from the first one on. Each row is of the first of
    `formats` that recognises it; the format is that of most of the first rows. None where no row is
    recognised."""
    seen: list[Raw] = []
    votes: Counter[str] = Counter()
    for raw in raws:
        seen.append(raw)
        if isinstance(raw.fields, dict):
            found = next((format for format in formats if recognised(raw.fields, format)), None)
            if found is not None:
                votes[found.name] += 1
        if len(seen) >= MOST_ROWS or any(count >= ENOUGH for count in votes.values()):
            break
    most = max(votes.values(), default=0)
    chosen = next((format for format in formats if most and votes[format.name] == most), None)
    return chosen, chain(seen, raws)


def recognised(row: Mapping[str, Any], format: Format) -> bool:
    """Return whether a row looks like one of the format; one that it cannot even be asked about does not."""
    try:
        return format.recognises(row)
    except Exception:  # nested deeper than Python goes, or a recogniser of somebody else that raises
        return False
