"""The format `records`: our own, with the public fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from auditor.records.formats.reading import Reading
from auditor.records.formats.registry import stream_format
from auditor.records.raw import Raw

RECORDS = "records"


def recognises(row: Mapping[str, Any]) -> bool:
    """Return whether a row has an id of ours."""
    return "record_id" in row


@stream_format(RECORDS, told_by="`record_id`", recognises=recognises, order=1)
def records(raws: Iterator[Raw], reading: Reading) -> Iterator[Raw]:
    """The rows as they are. Their ids are never made up: rows are joined, paired and deleted by them."""
    yield from raws
