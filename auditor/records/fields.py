"""One row's fields become a `Record`: this is the public record format, whatever file the row came from.

Only an id, and one of image and query, must be there. Whatever else cannot be read is left out of the record
and counted, and so is whatever was read otherwise than it stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from auditor.errors import RowError
from auditor.records import image_fields
from auditor.records.coercions import Coercions
from auditor.records.lines import kind, load_json
from auditor.records.timestamps import moment
from auditor.records.values import Unreadable, clean, message_text, nested, plain, scalar_text, unusable
from schemas.record import Reason, Record, Turn

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
    "references",
    "timestamp",
    "tags",
    "score",
    "scores",
    "group",
    "conversation_id",
)
"""The fields of the public format; all others are ignored."""

_SCORES = ("score", "scores")
_MOST_TAG_CHARS = 100_000
_LOST_SCORE = "left out, since it was no number from 0 to 1, or of no one model"


class Parsed(NamedTuple):
    """A `Parsed` is a record, and what was read in it otherwise than it stands."""

    record: Record
    coercions: Coercions


def parse_id(fields: Mapping[str, Any], coercions: Coercions) -> str:
    """Return the row's record_id: a text, or a single value as its text, which is counted. Raises `RowError`
    (missing_id): beyond that ids are never mended, since rows are joined, paired and deleted by them."""
    value = fields.get("record_id")
    if isinstance(value, Unreadable):
        raise RowError(Reason.MISSING_ID, f"`record_id`: {value.detail}")
    value = plain(value)
    if value is None:
        missing = "null" if "record_id" in fields else "absent"
        raise RowError(
            Reason.MISSING_ID,
            f"`record_id` is {missing}; say which field holds it (`map`, see the formats), or add one",
        )
    text = scalar_text(value)
    if text is None:
        raise RowError(Reason.MISSING_ID, f"`record_id` is {kind(value)}, not a text or a number")
    if not text.text.strip():
        raise RowError(Reason.MISSING_ID, "`record_id` is blank")
    if unusable(text.text):
        raise RowError(Reason.MISSING_ID, "`record_id` holds a NUL or a lone surrogate")
    if text.source is not None:
        coercions["record_id", f"taken from {text.source}"] += 1
    return text.text


def parse_record(fields: Mapping[str, Any], record_id: str) -> Parsed:
    """Return the record of one row. Raises `RowError` for images that cannot be read (image_corrupt,
    image_missing) and where neither an image nor a query is left (missing_input).

    Blank texts are absent texts; lengths are `screen`'s business. Any other field that cannot be used is left
    out, and counted.
    """
    row = _Row(fields)
    responses = row.responses()
    record = Record(
        record_id=record_id,
        base_id=row.text("base_id") or record_id,
        images=image_fields.images(fields, row.coercions),
        query=row.text("query"),
        history=row.history(),
        responses=responses,
        **row.references(),
        timestamp=row.timestamp(),
        tags=row.tags(),
        scores=row.scores(responses),
        group=row.group(),
        conversation_id=row.text("conversation_id"),
    )
    if not record.images and record.query is None:
        raise RowError(Reason.MISSING_INPUT, row.no_input())
    return Parsed(record, row.coercions)


def parse_moment(fields: Mapping[str, Any]) -> datetime | None:
    """Return the moment of a row that cannot be used for another reason; None where it has none, or none that
    can be read."""
    return _Row(fields).timestamp()


class _Row:
    """A `_Row` reads one row's fields, and counts what it reads otherwise than it stands."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self.fields = fields
        self.coercions = Coercions()

    def text(self, name: str) -> str | None:
        value = self._value(name)
        if value is None:
            return None
        text = message_text(value, name, self.coercions)
        if text is None:
            self._left_out(name, f"it was {kind(value)}, not a text")
            return None
        return clean(text) if text.strip() else None

    def references(self) -> dict[str, Any]:
        """The right answer, and the further ones where there are several: `reference` is one or a list of
        them, and `references` holds further ones."""
        usable: list[str] = []
        for name in ("reference", "references"):
            value = self._nested(name) if name == "references" else self._value(name)
            if value is None:
                continue
            several = value if isinstance(value, list) and not _are_parts(value) else [value]
            texts = [message_text(item, name, self.coercions) for item in several]
            if several and all(text is None for text in texts):
                self._left_out(name, f"it was {kind(value)}, not a text or a list of texts")
            usable += [clean(text) for text in texts if text is not None and text.strip()]
        usable = list(dict.fromkeys(usable))
        if len(usable) > 1:
            self._note("reference", "several: graders take the best of them, all else the first")
        return {"reference": usable[0], "other_references": tuple(usable[1:])} if usable else {}

    def timestamp(self) -> datetime | None:
        value = self._value("timestamp")
        if value is None:
            return None
        try:
            found = moment(value)
        except ValueError:
            self._left_out("timestamp", "it was no moment, such as 2025-06-01T12:00:00Z")
            return None
        for said in found.kinds:
            self._note("timestamp", said)
        return found.moment

    def history(self) -> tuple[Turn, ...]:
        value = self._nested("history")
        if value is None:
            return ()
        turns = value if isinstance(value, list) else [value]
        if not all(isinstance(turn, dict) and isinstance(turn.get("role"), str) for turn in turns):
            self._left_out("history", "it was no list of {role, text}")
            return ()
        found = []
        for turn in turns:
            text = message_text(turn, "history", self.coercions)
            if text is None:
                self._note("history", "read without its turns that have no text")
            else:
                found.append(Turn(clean(turn["role"]), clean(text)))
        return tuple(found)

    def responses(self) -> dict[str, tuple[str, ...]]:
        """Model -> answers. A null is no answer; what has no text becomes an empty answer."""
        value = self._nested("responses")
        if value is None:
            return {}
        pairs = _pairs(value)
        if pairs is None:
            self._left_out("responses", f"it was {kind(value)}, not an object of model -> answer")
            return {}
        responses: dict[str, tuple[str, ...]] = {}
        for key, answer in pairs:
            model, answer = scalar_text(plain(key)), plain(answer)
            if answer is None:
                continue
            if model is None or not model.text.strip():
                self._note("responses", "read without the answers of a model that has no name")
                continue
            name = clean(model.text)
            responses[name] = responses.get(name, ()) + self._answers(answer)  # a map may repeat a key
        return responses

    def _answers(self, value: Any) -> tuple[str, ...]:
        """The answers of one model; one that has no text is empty."""
        several = value if isinstance(value, list) and not _are_parts(value) else [value]
        texts = (message_text(item, "responses", self.coercions) for item in several)
        return tuple("" if text is None else clean(text) for text in texts)

    def scores(self, responses: Mapping[str, tuple[str, ...]]) -> dict[str, float]:
        """Model -> score of its answer, from `score` and `scores` (which goes before it). A number alone is
        the score of the row's one model; where the row has answers of several, or of none, nobody knows whose
        it is."""
        scores: dict[str, float] = {}
        for name in _SCORES:
            pairs = _score_pairs(plain(self.fields.get(name)), responses)
            if pairs is None:
                self._note(name, _LOST_SCORE)
                continue
            for model, value in pairs:
                if (value := plain(value)) is None:  # NaN is how data frames write that there is none
                    continue
                named = scalar_text(model)
                number = isinstance(value, int | float | Decimal) and 0 <= value <= 1
                if named is not None and named.text.strip() and number:
                    scores[clean(named.text)] = float(value)
                else:
                    self._note(name, _LOST_SCORE)
        return scores

    def group(self) -> tuple[str, ...]:
        """The keys of the row's groups, each once: one, or a list of them. Blank ones are left out."""
        value = self._nested("group")
        keys = value if isinstance(value, list) else [] if value is None else [value]
        return tuple(dict.fromkeys(key for key in self._texts("group", keys) if key.strip()))

    def tags(self) -> tuple[str, ...]:
        value = self._nested("tags")
        if value is None:
            return ()
        if isinstance(value, dict) or (isinstance(value, list) and value and _pairs(value) is not None):
            self._note("tags", "an object, whose names and values were joined (name:value)")
            items = []
            for key, part in _pairs(value) or []:
                parts = part if isinstance(part, list) else [part]
                names = self._texts("tags", [key])
                items += [f"{n}:{text}" for n in names for text in self._texts("tags", parts) if text.strip()]
            return self._short(items)
        if not isinstance(value, list):
            self._note("tags", "taken as one tag")
            value = [value]
        return self._short([tag for tag in self._texts("tags", value) if tag.strip()])

    def _short(self, tags: list[str]) -> tuple[str, ...]:
        if any(len(tag) > _MOST_TAG_CHARS for tag in tags):
            self._note("tags", f"read without tags of more than {_MOST_TAG_CHARS:,} characters")
        return tuple(tag for tag in tags if len(tag) <= _MOST_TAG_CHARS)

    def no_input(self) -> str:
        """Why there is neither an image nor a query."""
        lost = [f"`{name}` was {said}" for name, said in self.coercions if said.startswith("left out")]
        lost = [text for text in lost if text.startswith(("`query`", "`image"))]
        return "; ".join(["neither an image nor a query", *lost])

    def _texts(self, name: str, items: list[Any]) -> list[str]:
        texts = []
        for item in items:
            if (item := plain(item)) is None:
                continue
            if (text := scalar_text(item)) is None:
                self._note(name, f"read without what was {kind(item)}")
                continue
            if text.source is not None:
                self._note(name, f"taken from {text.source}")
            texts.append(clean(text.text))
        return texts

    def _value(self, name: str) -> Any:
        """The field's value; None where it is absent, blank, or cannot be read."""
        value = self.fields.get(name)
        if value is None:
            return None
        if isinstance(value, Unreadable):
            self._left_out(name, "it could not be read")
            return None
        value = plain(value)
        return None if isinstance(value, str) and not value.strip() else value

    def _nested(self, name: str) -> Any:
        return nested(self._value(name), name, self.coercions)

    def _note(self, name: str, said: str) -> None:
        self.coercions[name, said] += 1

    def _left_out(self, name: str, because: str) -> None:
        self._note(name, f"left out, since {because}")


def _are_parts(items: list[Any]) -> bool:
    """Whether a list is one message in parts (each says its `type`) rather than several."""
    return bool(items) and all(isinstance(item, dict) and "type" in item for item in items)


def _pairs(value: Any) -> list[tuple[Any, Any]] | None:
    """The pairs of an object, or of an Arrow map (a list of pairs); None for anything else."""
    if isinstance(value, dict):
        return list(value.items())
    if isinstance(value, list) and all(isinstance(pair, tuple) and len(pair) == 2 for pair in value):
        return value
    return None


def _score_pairs(value: object, responses: Mapping[str, tuple[str, ...]]) -> list[tuple[Any, Any]] | None:
    """The pairs of model and value that a field holds; None where they cannot be told."""
    if isinstance(value, str):  # a JSON object, or a number, in a text column
        if not value.strip():
            return []
        try:
            value = load_json(value)
        except RowError:
            return None
    match value:
        case None:
            return []
        case int() | float() | Decimal():
            return [(model, value) for model in responses] if len(responses) == 1 else None
    return _pairs(value)
