"""The format `webdataset`: samples of tar shards, each the files of one key by their endings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from auditor.errors import RowError
from auditor.records.formats.detect import told
from auditor.records.formats.reading import Reading
from auditor.records.formats.registry import in_order, stream_format
from auditor.records.lines import load_json
from auditor.records.raw import Raw
from schemas.record import Reason

KEY = "__key__"
IMAGES = ("png", "jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff", "ppm", "img", "image")
_TEXTS = ("txt", "text", "caption")


def recognises(row: Mapping[str, Any]) -> bool:
    """Return whether a row is a sample of a shard."""
    return KEY in row


@stream_format(
    "webdataset",
    told_by="samples of a tar shard (`__key__`), with images and `json` or `txt`",
    recognises=recognises,
    order=5,
)
def webdataset(raws: Iterator[Raw], reading: Reading) -> Iterator[Raw]:
    """Translate the samples. What their `json` holds may be of any other format, which is told from the first
    of them; the images of the sample are its images. A text alone is the reference of its image."""
    formats = [format for format in in_order() if format.name != "webdataset"]
    chosen, samples = told((_sample(raw) for raw in raws), formats)
    yield from samples if chosen is None else chosen.translate(samples, reading)


def _sample(raw: Raw) -> Raw:
    if isinstance(raw.fields, RowError):
        return raw
    try:
        return Raw(raw.place, _fields(raw.fields))
    except RowError as error:
        return Raw(raw.place, error)


def _fields(sample: Mapping[str, Any]) -> dict[str, Any]:
    key = sample.get(KEY)
    endings = {ending: value for ending, value in sample.items() if not ending.startswith("__")}
    images = [
        value
        for ending, value in sorted(endings.items())
        if ending.lower().rpartition(".")[2] in IMAGES and value is not None
    ]
    inner = _json(endings.get("json"))
    if not isinstance(inner, Mapping):
        text = next((_text(endings[name]) for name in _TEXTS if name in endings), None)
        return {"record_id": key, "images": images, "reference": text}
    fields = dict(inner)
    if not {"record_id", "id"} & set(fields):
        fields["id"] = key
    if images:  # those of the shard, in the place of what the names in the json may mean
        fields.pop("image", None)
        fields["images"] = images
    if not any(format.recognises(fields) for format in in_order() if format.name != "webdataset"):
        caption = next((fields[name] for name in _TEXTS if isinstance(fields.get(name), str)), None)
        caption = caption or next((_text(endings[name]) for name in _TEXTS if name in endings), None)
        return {"record_id": key, "images": images, "reference": caption}
    return fields


def _json(value: Any) -> Any:
    if isinstance(value, bytes):
        value = _text(value)
    return load_json(value) if isinstance(value, str) else value


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise RowError(Reason.UNREADABLE_LINE, f"not UTF-8 at byte {error.start}") from None
    return str(value)
