"""Formats: the objects of a vendor's log become rows with the fields of the public format.

A format sees the rows of one file as a stream of `Raw`, and gives a stream of `Raw`: it may rename, join or
split rows, and keeps none in memory beyond those that it joins. A row that it cannot translate stays a row,
with a `RowError` as its fields, so that nothing that was read disappears.
"""

from __future__ import annotations

from collections.abc import Iterator

from auditor.records.coercions import Coercions
from auditor.records.raw import Raw

RECORDS = "records"
"""The public format itself."""


def translate(raws: Iterator[Raw], format: str, coercions: Coercions) -> Iterator[Raw]:
    """Yield the rows of one file, which are in `format`, with the fields of the public format.

    What is read otherwise than it stands is counted in `coercions`. The public format passes as it is.
    """
    yield from raws


def columns(format: str, public: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the columns of a table that are read for `format`; None for all. `public` are those of the
    public format."""
    return public if format == RECORDS else None
