"""One row's fields become a `Record`: this is the public record format, whatever file the row came from."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from auditor.errors import RowError
from auditor.records.lines import kind, load_json
from schemas.record import Image, Reason, Record, Turn

FIELDS = (
    "record_id",
    "base_id",
    "image",
    "image_bytes",
    "images",
    "query",
    "history",
    "responses",
    "reference",
    "timestamp",
    "tags",
    "score",
    "scores",
    "group",
    "conversation_id",
)
"""The fields of the public format; all others are ignored."""

_SCORES = ("score", "scores")
_UNUSABLE = re.compile("[\x00\ud800-\udfff]")
_ENCODED_IMAGE = ("/9j/", "iVBORw0KGgo", "R0lGOD", "UklGR", "SUkqA", "TU0AK")
_BASE64 = re.compile(r"[A-Za-z0-9+/\s]{48,}={0,2}\s*")


class Parsed(NamedTuple):
    """A `Parsed` is a record, and what was mended in it."""

    record: Record
    naive: bool
    """Whether its timestamp came without a zone (and was taken as UTC)."""
    lost_scores: int
    """Scores that were left out (see `_scores`)."""


class Unreadable:
    """An `Unreadable` stands for a value that a file holds but that cannot be read; `detail` says why."""

    def __init__(self, detail: str) -> None:
        self.detail = detail


def clean(text: str) -> str:
    """Return `text` with NUL and lone surrogates, which no UTF-8 file or tokenizer takes, replaced by
    U+FFFD."""
    return _UNUSABLE.sub("\ufffd", text)


def parse_id(fields: Mapping[str, Any]) -> str:
    """Return the row's record_id. Raises `RowError` (missing_id): ids are never mended, since rows are
    joined, paired and deleted by them."""
    value = fields.get("record_id")
    if not isinstance(value, str):
        raise RowError(Reason.MISSING_ID, f"`record_id` is {kind(value)}, not a text")
    if not value.strip():
        raise RowError(Reason.MISSING_ID, "`record_id` is blank")
    if _UNUSABLE.search(value):
        raise RowError(Reason.MISSING_ID, "`record_id` holds a NUL or a lone surrogate")
    return value


def parse_record(fields: Mapping[str, Any], record_id: str) -> Parsed:
    """Return the record of one row. Raises `RowError`: unreadable_line for a field of the wrong type,
    bad_timestamp, image_corrupt (undecodable base64), image_missing (a null among `images`).

    Blank texts are absent texts; lengths and emptiness are `screen`'s business. A score never costs the row:
    one that cannot be used is left out, and counted.
    """
    for name in FIELDS:
        value = fields.get(name)
        if isinstance(value, Unreadable) and name not in _SCORES:
            raise RowError(Reason.UNREADABLE_LINE, f"`{name}`: {value.detail}")
    timestamp, naive = _timestamp(fields.get("timestamp"))
    responses = _responses(fields.get("responses"))
    scores, lost_scores = _scores(fields, responses)
    record = Record(
        record_id=record_id,
        base_id=_text(fields, "base_id") or record_id,
        images=_images(fields),
        query=_text(fields, "query"),
        history=_history(fields.get("history")),
        responses=responses,
        reference=_text(fields, "reference"),
        timestamp=timestamp,
        tags=_tags(fields.get("tags")),
        scores=scores,
        group=_group(fields.get("group")),
        conversation_id=_text(fields, "conversation_id"),
    )
    return Parsed(record, naive, lost_scores)


def parse_moment(fields: Mapping[str, Any]) -> datetime | None:
    """Return the moment of a row that cannot be used for another reason; None where it has none, or none that
    can be read."""
    try:
        return _timestamp(fields.get("timestamp"))[0]
    except RowError:
        return None


def _wrong(name: str, value: object, wanted: str) -> RowError:
    return RowError(Reason.UNREADABLE_LINE, f"`{name}` is {kind(value)}, not {wanted}")


def _text(fields: Mapping[str, Any], name: str) -> str | None:
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise _wrong(name, value, "a text")
    return clean(value) if value.strip() else None


def _timestamp(value: object) -> tuple[datetime | None, bool]:
    if value is None:
        return None, False
    try:
        moment = datetime.fromisoformat(value.strip()) if isinstance(value, str) else value
        if isinstance(moment, datetime):
            naive = moment.tzinfo is None
            return (moment.replace(tzinfo=UTC) if naive else moment.astimezone(UTC)), naive
    except (ValueError, OverflowError):  # no such day, or beyond year 9999 once in UTC
        pass
    raise RowError(Reason.BAD_TIMESTAMP, "`timestamp` is no ISO 8601 moment, such as 2025-06-01T12:00:00Z")


def _images(fields: Mapping[str, Any]) -> tuple[Image, ...]:
    first = _image(fields)
    images = [] if first is None else [first]
    listed = fields.get("images")
    if listed is None:
        return tuple(images)
    if not isinstance(listed, list):
        raise _wrong("images", listed, "a list")
    for position, item in enumerate(listed):
        image = _listed_image(item)
        if image is None:
            raise RowError(Reason.IMAGE_MISSING, f"`images[{position}]` is empty")
        if image != first:  # `image` is often repeated as the first of `images`
            images.append(image)
    return tuple(images)


def _listed_image(item: object) -> Image | None:
    match item:
        case dict() if "image" in item or "image_bytes" in item:
            return _image(item)
        case dict():
            return _struct(item)
        case bytes():
            return _image({"image_bytes": item})
        case str() if item.startswith(_ENCODED_IMAGE) and _BASE64.fullmatch(item):
            return _image({"image_bytes": item})
        case _:
            return _image({"image": item})


def _image(fields: Mapping[str, Any]) -> Image | None:
    data, named = fields.get("image_bytes"), fields.get("image")
    if data is None and isinstance(named, bytes):
        data = named
    if data is None and isinstance(named, dict):
        return _struct(named)
    if data is None:
        path = _text(fields, "image")
        return None if path is None else Image(path=path)
    if isinstance(data, str):
        try:
            data = base64.b64decode("".join(data.split()), validate=True)
        except (binascii.Error, ValueError):
            raise RowError(Reason.IMAGE_CORRUPT, "`image_bytes` is not base64") from None
    if not isinstance(data, bytes):
        raise _wrong("image_bytes", data, "base64 or bytes")
    if not data:
        raise RowError(Reason.IMAGE_CORRUPT, "`image_bytes` is empty")
    return Image(data=data)


def _struct(fields: Mapping[str, Any]) -> Image | None:
    """An image as data sets of Hugging Face keep it: `{bytes, path}`, either of them null."""
    return _image({"image_bytes": fields.get("bytes"), "image": fields.get("path")})


def _history(value: object) -> tuple[Turn, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise _wrong("history", value, "a list of {role, text}")
    turns = []
    for turn in value:
        if not isinstance(turn, dict):
            raise _wrong("history", turn, "a list of {role, text}")
        role, text = turn.get("role"), turn.get("text")
        if not isinstance(role, str) or not isinstance(text, str):
            raise RowError(Reason.UNREADABLE_LINE, "`history` has a turn without role or text")
        turns.append(Turn(clean(role), clean(text)))
    return tuple(turns)


def _responses(value: object) -> dict[str, tuple[str, ...]]:
    """Model -> answers. A null is no answer; whatever else is no text becomes an empty answer."""
    if isinstance(value, str):  # a JSON object in a text column
        value = load_json(value)
    if value is None:
        return {}
    pairs = list(value.items()) if isinstance(value, dict) else value  # an Arrow map is a list of pairs
    if not isinstance(pairs, list):
        raise _wrong("responses", value, "an object of model -> answer")
    responses: dict[str, tuple[str, ...]] = {}
    for pair in pairs:
        if not isinstance(pair, tuple):
            raise _wrong("responses", value, "an object of model -> answer")
        model, answer = pair
        if not isinstance(model, str) or not model.strip():
            raise RowError(Reason.UNREADABLE_LINE, "`responses` has an answer without a model's name")
        if answer is None:
            continue
        answers = answer if isinstance(answer, list) else [answer]
        texts = tuple(clean(text) if isinstance(text, str) else "" for text in answers)
        responses[clean(model)] = responses.get(clean(model), ()) + texts  # an Arrow map may repeat a key
    return responses


def _scores(
    fields: Mapping[str, Any], responses: Mapping[str, tuple[str, ...]]
) -> tuple[dict[str, float], int]:
    """Model -> score of its answer, from `score` and `scores` (which goes before it), and how many were left
    out: those that are no number from 0 to 1, or of no named model. A number alone is the score of the row's
    one model; where the row has answers of several, or of none, nobody knows whose it is."""
    scores: dict[str, float] = {}
    lost = 0
    for name in _SCORES:
        pairs = _score_pairs(fields.get(name), responses)
        if pairs is None:
            lost += 1
            continue
        for model, value in pairs:
            if value is None or value != value:  # NaN is how data frames write that there is none
                continue
            named = isinstance(model, str) and model.strip()
            if named and isinstance(value, int | float | Decimal) and 0 <= value <= 1:
                scores[clean(model)] = float(value)
            else:
                lost += 1
    return scores, lost


def _score_pairs(value: object, responses: Mapping[str, tuple[str, ...]]) -> list[tuple[Any, Any]] | None:
    """The pairs of model and value that a field holds; None where they cannot be told."""
    if isinstance(value, str):  # a JSON object, or a number, in a text column
        try:
            value = load_json(value)
        except RowError:
            return None
    match value:
        case None:
            return []
        case int() | float() | Decimal():
            return [(model, value) for model in responses] if len(responses) == 1 or value != value else None
        case dict():
            return list(value.items())
        case list() if all(isinstance(pair, tuple) and len(pair) == 2 for pair in value):  # an Arrow map
            return value
        case _:
            return None


def _group(value: object) -> tuple[str, ...]:
    """Return the keys of a row's groups, each once: one text, or a list of them. Blank ones are left out."""
    if value is None:
        return ()
    keys = [value] if isinstance(value, str) else value
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise _wrong("group", value, "a text or a list of texts")
    return tuple(dict.fromkeys(clean(key) for key in keys if key.strip()))


def _tags(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(tag, str) for tag in value):
        raise _wrong("tags", value, "a list of texts")
    return tuple(clean(tag) for tag in value)
