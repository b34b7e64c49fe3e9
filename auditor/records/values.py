"""Single values become texts exactly: 42 is "42", true is "true", and digits stay as they stand."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from auditor.errors import RowError
from auditor.records.coercions import Coercions
from auditor.records.lines import Written, load_json

_UNUSABLE = re.compile("[\x00\ud800-\udfff]")
_EXTENDED = ("$oid", "$uuid", "$numberLong", "$numberInt", "$numberDouble", "$numberDecimal", "$symbol")
"""How MongoDB writes single values as JSON."""
_MOST_ZEROS = 40
_TEXT_KEYS = ("text", "content", "answer")
_DEEPEST = 3


class Unreadable:
    """An `Unreadable` stands for a value that a file holds but that cannot be read; `detail` says why."""

    def __init__(self, detail: str) -> None:
        self.detail = detail


class Text(NamedTuple):
    """A `Text` is the text of a value, and from what it was taken where that was no text."""

    text: str
    source: str | None = None


def clean(text: str) -> str:
    """Return `text` with NUL and lone surrogates, which no UTF-8 file or tokenizer takes, replaced by
    U+FFFD."""
    return _UNUSABLE.sub("\ufffd", text)


def unusable(text: str) -> bool:
    """Return whether `text` holds a NUL or a lone surrogate."""
    return _UNUSABLE.search(text) is not None


def plain(value: Any) -> Any:
    """Return `value` without the wrapping that says only its type; None for what stands for a missing value
    (NaN)."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, dict) and len(value) == 1 and (name := next(iter(value))) in _EXTENDED:
        value = value[name]
    if isinstance(value, float | Decimal) and value != value:
        return None
    return value


def scalar_text(value: Any) -> Text | None:
    """Return a single value as text; None for what is no single value."""
    match value:
        case str():
            return Text(value)
        case bool():
            return Text("true" if value else "false", "a boolean")
        case Written():
            return Text(value.text, "a number")
        case float() if value.is_integer():
            return Text(str(int(value)), "a number")
        case int() | float():
            try:
                return Text(str(int(value)) if isinstance(value, int) else repr(value), "a number")
            except ValueError:  # of thousands of digits
                return None
        case Decimal():
            exponent = value.as_tuple().exponent
            short = isinstance(exponent, int) and abs(exponent) <= _MOST_ZEROS
            return Text(format(value, "f") if short else str(value), "a number")
        case UUID():
            return Text(str(value), "a UUID")
        case bytes():
            try:
                return Text(value.decode("utf-8"), "bytes")
            except UnicodeDecodeError:
                return None
    return None


def nested(value: Any, name: str, coercions: Coercions) -> Any:
    """Return the list or object that `value` is, or that its JSON text holds; else `value` as it is."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            parsed = load_json(value.strip())
        except RowError:
            return value
        coercions[name, "read from JSON text"] += 1
        return parsed
    return value


def message_text(value: Any, name: str, coercions: Coercions, depth: int = 0) -> str | None:
    """Return the text of a message: a text, a single value, an object with `text` or `content`, or a list of
    parts, whose texts are joined by lines. Parts without text, such as images, are left out and counted.
    None where there is no text."""
    if isinstance(value, str):
        return value
    value = plain(value)
    if (scalar := scalar_text(value)) is not None:
        if scalar.source is not None:
            coercions[name, f"taken from {scalar.source}"] += 1
        return scalar.text
    if depth == _DEEPEST:
        return None
    if isinstance(value, Mapping):
        for key in _TEXT_KEYS:
            if value.get(key) is not None:
                if key != _TEXT_KEYS[0]:
                    coercions[name, f"taken from the `{key}` of an object"] += 1
                return message_text(value[key], name, coercions, depth + 1)
        return None
    if isinstance(value, list):
        texts = []
        for part in value:
            text = message_text(part, name, coercions, depth + 1)
            if text is not None:
                texts.append(text)
            elif part is not None:
                coercions[name, "read without its parts that are no text, such as images"] += 1
        return "\n".join(texts) if texts else None
    return None
