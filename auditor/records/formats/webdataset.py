"""The format `webdataset`: samples of tar shards, each the files of one key by their endings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from auditor.records.formats.detect import recognised, told
from auditor.records.formats.reading import Reading
from auditor.records.formats.records import RECORDS
from auditor.records.formats.registry import Format, in_order, stream_format
from auditor.records.formats.values import first_name
from auditor.records.raw import Raw

KEY = "__key__"
_TEXTS = ("txt", "text", "caption")


def recognises(row: Mapping[str, Any]) -> bool:
    """Return whether a row is a sample of a shard."""
    return KEY in row


@stream_format(
    "webdataset",
    told_by="samples of a tar shard (`__key__`), with images and `json` or `txt`",
    recognises=recognises,
    order=0,
)
def webdataset(raws: Iterator[Raw], reading: Reading) -> Iterator[Raw]:
    """Translate the samples. What their `json` holds may be of any other format, which is told from the first
    of them; else it is of ours, and its key is the id. A text alone is the reference of its image."""
    chosen, samples = told(_samples(raws, reading), _others())
    if chosen is not None and chosen.name != RECORDS:
        yield from chosen.translate(samples, reading)
        return
    for raw in samples:
        if isinstance(raw.fields, dict) and "record_id" not in raw.fields:
            raw = raw._replace(fields={**raw.fields, "record_id": raw.fields.get("id")})
        yield raw


def _samples(raws: Iterator[Raw], reading: Reading) -> Iterator[Raw]:
    for raw in raws:
        yield raw._replace(fields=_fields(raw.fields, reading)) if isinstance(raw.fields, dict) else raw


def _fields(sample: Mapping[str, Any], reading: Reading) -> dict[str, Any]:
    """A sample with an id, and with its text as the reference, where nothing else says what it is."""
    fields = dict(sample)
    if "record_id" not in fields and first_name(fields, "id") is None:
        reading.count("record_id", "absent, and the key in the tar taken in its place")
        fields["id"] = sample.get(KEY)
    text = next((fields[name] for name in _TEXTS if isinstance(fields.get(name), str)), None)
    if text is not None and not any(recognised(fields, format) for format in _others()):
        fields.setdefault("reference", text)
    return fields


def _others() -> list[Format]:
    return [format for format in in_order() if format.name != "webdataset"]
