"""JSON in general: an array of objects, or objects one after the other, over as many lines as they like.

A whole array never lies in memory: values are cut out of the stream by their brackets, and each is read by
itself, so that a broken one costs only its row.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from auditor.errors import RowError
from auditor.records.limits import Limits
from auditor.records.lines import BOM, json_object
from auditor.records.raw import Raw
from auditor.records.screen import Place
from schemas.record import Reason

_PIECE = 2**18
_OUTSIDE = re.compile(rb'["\[\]{},]')
_IN_TEXT = re.compile(rb'["\\\n]')  # no text of JSON holds a line's end: there a broken one ends
_OPENED_BY = {b"]": ord("["), b"}": ord("{")}


def rows(stream: BinaryIO, source: str, limits: Limits) -> Iterator[Raw]:
    """Yield the objects by their number, from 1; those of an array one by one."""
    for number, value in enumerate(_values(stream, limits.line_bytes), start=1):
        yield Raw(Place(source, number), value if isinstance(value, RowError) else json_object(value))


def _values(stream: BinaryIO, limit: int) -> Iterator[bytes | RowError]:
    """Yield the text of every value of the top level, and of every item of an array there."""
    cutter = _Cutter(limit)
    first = True
    while piece := stream.read(_PIECE):
        yield from cutter.cut(piece.removeprefix(BOM) if first else piece)
        first = False
    yield from cutter.end()


class _Cutter:
    """A `_Cutter` cuts values out of pieces of JSON text, and holds no more than the value that it is in."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._value = bytearray()
        self._too_long = False
        self._open = bytearray()
        """The brackets that are open within the value."""
        self._in_array = self._in_text = self._escaped = False

    def cut(self, piece: bytes) -> Iterator[bytes | RowError]:
        at = start = 0
        while at < len(piece):
            if self._in_text:
                at = self._skip_text(piece, at)
                continue
            match = _OUTSIDE.search(piece, at)
            if match is None:
                break
            sign, before, at = match[0], match.start(), match.end()
            if sign == b'"':
                self._in_text = True
            elif sign in b"[{":
                if sign == b"[" and not (self._in_array or self._open) and self._blank(piece[start:before]):
                    self._in_array, start = True, at
                    self._value.clear()
                else:
                    self._open += sign
            elif sign == b"," and not self._open:
                yield from self._finish(piece[start:before])
                start = at
            elif sign in b"]}":
                if _OPENED_BY[sign] in self._open:
                    while self._open.pop() != _OPENED_BY[sign]:  # what is left open inside is broken
                        pass
                    if not self._open and not self._in_array:
                        yield from self._finish(piece[start:at])
                        start = at
                elif sign == b"]" and self._in_array:
                    yield from self._finish(piece[start:before])
                    self._in_array, start = False, at
                    self._open.clear()
        self._keep(piece[start:])

    def end(self) -> Iterator[bytes | RowError]:
        """Yield what is left at the end of the file."""
        whole = not (self._open or self._in_text or self._in_array)
        if whole:
            yield from self._finish(b"")
        else:
            yield RowError(Reason.UNREADABLE_LINE, "the file breaks off within this value")

    def _skip_text(self, piece: bytes, at: int) -> int:
        if self._escaped:
            self._escaped = False
            return at + 1
        match = _IN_TEXT.search(piece, at)
        if match is None:
            return len(piece)
        if match[0] == b"\\":
            self._escaped = True
        else:
            self._in_text = False
        return match.end()

    def _blank(self, text: bytes) -> bool:
        return not (self._value.strip() or text.strip() or self._too_long)

    def _keep(self, text: bytes) -> None:
        if self._too_long or len(self._value) + len(text) > self._limit:
            self._too_long = True
            self._value.clear()
        else:
            self._value += text

    def _finish(self, text: bytes) -> Iterator[bytes | RowError]:
        self._keep(text)
        if self._too_long:
            yield RowError(Reason.UNREADABLE_LINE, f"longer than {self._limit:,} bytes")
        elif value := self._value.strip():
            yield bytes(value).removeprefix(BOM)
        self._value.clear()
        self._too_long = False
