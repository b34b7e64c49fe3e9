"""JSON lines are read from untrusted bytes in bounded memory: a bad line is an error of that line, never a
crash."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, BinaryIO

from auditor.errors import RowError
from schemas.record import Reason

BOM = b"\xef\xbb\xbf"
_LARGE_LINE = 2**20
_MOST_VALUES = 1_000_000


class Written(float):
    """A `Written` is a number of a JSON text that remembers its digits: `text` is as it stood there."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> Written:
        number = super().__new__(cls, text)
        number.text = text
        return number


class Repeated(dict[str, Any]):
    """A `Repeated` is an object of a JSON text that gives a name more than once; the last value is taken."""

    __slots__ = ("repeated",)
    repeated: frozenset[str]
    """The names that stood there more than once."""


def _object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) == len(pairs):
        return values
    several = Repeated(values)
    several.repeated = frozenset(name for name, n in Counter(name for name, _ in pairs).items() if n > 1)
    return several


# Python writes NaN and Infinity, which are no JSON, for numbers that are missing: they are read as null.
_DECODER = json.JSONDecoder(
    parse_constant=lambda name: None, parse_float=Written, object_pairs_hook=_object_of
)


def json_lines(stream: BinaryIO, limit: int) -> Iterator[tuple[int, dict[str, Any] | RowError]]:
    """Yield (line number from 1, object or the error of that line); blank lines are no rows.

    A line longer than `limit` bytes is skipped in pieces. I/O errors of `stream` pass through.
    """
    for number, line in enumerate(_bounded(stream, limit), start=1):
        if line is None:
            yield number, RowError(Reason.UNREADABLE_LINE, f"longer than {limit:,} bytes")
            continue
        line = line.removeprefix(BOM)  # files that were joined have one in their middle, too
        if line.strip():
            yield number, json_object(line)


def load_json(text: str) -> Any:
    """Return the value of a JSON text. Raises `RowError` (unreadable_line)."""
    # Millions of empty lists take twenty times their text as Python objects; images have no separators.
    if len(text) > _LARGE_LINE and sum(map(text.count, "[{,")) > _MOST_VALUES:
        raise RowError(Reason.UNREADABLE_LINE, f"more than {_MOST_VALUES:,} values")
    try:
        return _DECODER.decode(text)
    except RecursionError:
        raise RowError(Reason.UNREADABLE_LINE, "nested too deeply") from None
    except ValueError as error:  # broken JSON, or an integer of thousands of digits
        raise RowError(Reason.UNREADABLE_LINE, str(error)) from None


def _bounded(stream: BinaryIO, limit: int) -> Iterator[bytes | None]:
    while line := stream.readline(limit + 1):
        if len(line) <= limit or line.endswith(b"\n"):
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = stream.readline(_LARGE_LINE)
        yield None


def json_object(line: bytes) -> dict[str, Any] | RowError:
    """Return the object that `line` is, or why it is none."""
    try:
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise RowError(Reason.UNREADABLE_LINE, f"not UTF-8 at byte {error.start}") from None
        value = load_json(text)
        if not isinstance(value, dict):
            raise RowError(Reason.NOT_AN_OBJECT, f"{kind(value)}, not an object")
        return value
    except RowError as error:
        return error


def kind(value: object) -> str:
    """Return in words what `value` is, for a message; never its content."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case bytes():
            return "bytes"
        case list() | tuple():
            return "a list"
        case dict():
            return "an object"
        case _:
            return f"of type {type(value).__name__}"
