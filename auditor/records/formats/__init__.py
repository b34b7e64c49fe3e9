"""Formats: the objects of a vendor's log become rows with the fields of the public format.

A format sees the rows of files of its own as a stream of `Raw`, and gives a stream of `Raw`: it may rename,
join or split rows, and holds none in memory beyond the one at hand (those that wait for their other half lie
outside of it). A row that it cannot translate stays a row, with a `RowError` as its fields, so that nothing
that was read disappears.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, groupby
from typing import Any

from auditor.errors import RowError, one_line
from auditor.records.formats.detect import told
from auditor.records.formats.ids import ContentIds
from auditor.records.formats.mapping import MAP, Path, mapping_format
from auditor.records.formats.reading import Reading
from auditor.records.formats.records import RECORDS
from auditor.records.formats.registry import (
    FORMATS,
    Format,
    Row,
    format,
    in_order,
    stream_format,
)
from auditor.records.formats.unread import way_out
from auditor.records.raw import Raw
from schemas.record import Reason

__all__ = [
    "AUTO",
    "FORMATS",
    "MAP",
    "RECORDS",
    "Chosen",
    "Format",
    "Reading",
    "Row",
    "format",
    "in_order",
    "stream_format",
    "translate",
]

AUTO = "auto"
NONE = "none that is known"
"""What stands for the format of a file of which no row was recognised."""


@dataclass(frozen=True)
class Chosen:
    """A `Chosen` is what the config says of the format of files (`data.format`, `data.map`). Raises
    `BadInput` for a format that is not known, or a mapping that cannot be used."""

    format: str = AUTO
    map: Mapping[str, Path] | None = None

    def __post_init__(self) -> None:
        if self.format != AUTO:
            FORMATS.find(self.format, "data.format")
        if self.map is not None:
            mapping_format(self.map)

    def formats(self) -> list[Format]:
        """Return the formats that a file may be of, in the order in which they are asked: the mapping
        first."""
        if self.format != AUTO:
            return [FORMATS.find(self.format, "data.format")]
        return [*([mapping_format(self.map)] if self.map is not None else []), *in_order()]


def translate(
    files: Iterable[tuple[str, Iterator[Raw]]], chosen: Chosen, reading: Reading, found: dict[str, str]
) -> Iterator[Raw]:
    """Yield the rows of files with the fields of the public format.

    Each file's format is told from its first rows, unless it was chosen; `files` have their names, and
    `found` is told the name of the format of each. Files of one format that follow each other are read
    together, so that requests find their results.
    """
    ids = ContentIds()
    formats = chosen.formats()

    def each() -> Iterator[tuple[Format | None, Iterator[Raw]]]:
        for source, raws in files:
            its: Format | None = formats[0]
            if chosen.format == AUTO:
                its, raws = told(raws, formats)
            found[source] = its.name if its is not None else NONE
            yield its, raws

    for its, group in groupby(each(), key=lambda file: file[0]):
        raws = chain.from_iterable(rows for _, rows in group)
        for raw in _unrecognised(raws) if its is None else its.translate(raws, reading):
            if isinstance(raw.fields, dict) and its is not None and its.name != RECORDS:
                raw = _with_id(raw, raw.fields, ids, reading)
            yield raw


def _unrecognised(raws: Iterator[Raw]) -> Iterator[Raw]:
    """Yield rows of no format: those with an id of ours as they are, others with the way out."""
    for raw in raws:
        if isinstance(raw.fields, dict) and "record_id" not in raw.fields:
            raw = Raw(raw.place, RowError(Reason.MISSING_ID, way_out(raw.fields)))
        yield raw


def _with_id(raw: Raw, fields: dict[str, Any], ids: ContentIds, reading: Reading) -> Raw:
    if fields.get("record_id") is not None:
        return raw
    try:
        made = ids.give(fields)
    except Exception as error:  # fields that are nested deeper than Python goes
        return Raw(
            raw.place, RowError(Reason.MISSING_ID, f"no id can be made of its contents ({one_line(error)})")
        )
    reading.count("record_id", "made of the contents, since rows have none")
    return raw._replace(fields={**fields, "record_id": made})
