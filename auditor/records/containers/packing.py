"""Compression and encoding are told by the first bytes of a file, and taken off while it is read."""

from __future__ import annotations

import bz2
import gzip
import io
import zlib
from codecs import getincrementaldecoder
from collections.abc import Callable
from tempfile import TemporaryFile
from typing import Any, BinaryIO, Protocol, cast

import pyarrow as pa

from auditor.errors import BadInput
from auditor.records.sources import why

HEAD_BYTES = 2**16
"""So much of a file is looked at to tell what it is."""
BROKEN = (OSError, EOFError, ValueError, zlib.error)  # pyarrow's errors are ValueError or OSError
"""What reading a damaged file raises."""
_PIECE = 2**18
_MOST_LAYERS = 3
_MOST_SPOOLED = 8 * 2**30


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Again(io.RawIOBase):
    """What was read already, then the rest; or the error that came after it."""

    def __init__(self, head: bytes, rest: _Readable, error: BaseException | None) -> None:
        self._head, self._rest, self._error = memoryview(head), rest, error

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        if self._head:
            piece: Any = self._head[: len(buffer)]
            self._head = self._head[len(piece) :]
        elif self._error is not None:
            raise self._error
        else:
            piece = self._rest.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)


class _Utf16:
    """UTF-16, with or without a byte order mark, as UTF-8."""

    def __init__(self, stream: _Readable, encoding: str) -> None:
        self._stream, self._decoder = stream, getincrementaldecoder(encoding)("replace")

    def read(self, size: int, /) -> bytes:
        ready = b""
        while not ready:
            piece = self._stream.read(max(size // 4, 2))  # two bytes become three at most
            ready = self._decoder.decode(piece, final=not piece).encode("utf-8", "replace")
            if not piece:
                break
        return ready[:size] if len(ready) <= size else self._refuse()

    def _refuse(self) -> bytes:
        raise ValueError("no UTF-16 text")


def _gzip(stream: BinaryIO) -> _Readable:
    return gzip.GzipFile(fileobj=stream)


def _bz2(stream: BinaryIO) -> _Readable:
    return bz2.BZ2File(stream)


def _zstd(stream: BinaryIO) -> _Readable:
    return cast(_Readable, pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), "zstd"))


_LAYERS: tuple[tuple[bytes, Callable[[BinaryIO], _Readable]], ...] = (
    (b"\x1f\x8b", _gzip),
    (b"BZh", _bz2),
    (b"\x28\xb5\x2f\xfd", _zstd),
    (b"\xff\xfe", lambda stream: _Utf16(stream, "utf-16")),
    (b"\xfe\xff", lambda stream: _Utf16(stream, "utf-16")),
)


def unpacked(stream: BinaryIO, source: str) -> tuple[bytes, BinaryIO, bool]:
    """Return the first bytes of what the file holds, a stream of all of it in UTF-8 if it is text, and
    whether that is another than `stream`, and so cannot be read but from its start to its end.

    Raises `BadInput` where not even its first bytes can be read.
    """
    base: _Readable = stream
    for layers in range(_MOST_LAYERS + 1):
        head, error = _head(base)
        if not head and error is not None:
            raise BadInput(f"{source}: cannot be read ({why(error)}); is the file whole?") from None
        opened = cast(BinaryIO, io.BufferedReader(_Again(head, base, error), _PIECE))
        layer = _layer(head)
        if layer is None:
            return head, opened, layers > 0
        base = layer(opened)
    raise BadInput(f"{source}: is compressed more than {_MOST_LAYERS} times; unpack it")


def _head(stream: _Readable) -> tuple[bytes, BaseException | None]:
    head = bytearray()
    try:
        while len(head) < HEAD_BYTES:
            take = getattr(stream, "read1", stream.read)  # so that what comes before an error is kept
            piece = take(HEAD_BYTES - len(head))
            if not piece:
                break
            head += piece
    except BROKEN as error:
        return bytes(head), error
    return bytes(head), None


def _layer(head: bytes) -> Callable[[BinaryIO], _Readable] | None:
    for magic, layer in _LAYERS:
        if head.startswith(magic):
            return layer
    if len(head) >= 4 and head[:2] in (b"{\0", b"[\0"):
        return lambda stream: _Utf16(stream, "utf-16-le")
    if len(head) >= 4 and head[:2] in (b"\0{", b"\0["):
        return lambda stream: _Utf16(stream, "utf-16-be")
    return None


def spooled(stream: BinaryIO, source: str) -> BinaryIO:
    """Return a temporary file with what `stream` holds, for readers that go back and forth. Raises `BadInput`
    where it is too large for that, or breaks off."""
    file = cast(BinaryIO, TemporaryFile())  # noqa: SIM115 (the caller closes it)
    try:
        while piece := stream.read(_PIECE):
            if file.tell() > _MOST_SPOOLED:
                raise BadInput(f"{source}: holds more than {_MOST_SPOOLED // 2**30} GiB; unpack it")
            file.write(piece)
    except BROKEN as error:
        file.close()
        raise BadInput(f"{source}: cannot be read ({why(error)}); is the file whole?") from None
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return file
