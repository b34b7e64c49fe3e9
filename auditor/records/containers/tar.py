"""Tar shards of WebDataset: members that share a key (their name up to the first dot) are one row.

The fields of `.json` become the row's, pictures its `images`, and any other member a field by its extension
(`txt`, `cls`); `__key__` is the key. Members are read in their order and never
written to disk.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

from auditor.errors import RowError
from auditor.records.limits import Limits
from auditor.records.lines import Repeated, json_object
from auditor.records.raw import Raw
from auditor.records.screen import Place
from schemas.record import Reason

_BLOCK = 512
_PIECE = 2**20
_MOST_NAME = 2**16
_MOST_MEMBERS = 256
_PICTURES = {"jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "ppm", "avif", "heic", "jxl"}
_TEXTS = {"txt", "text", "caption", "cls", "cls2", "index", "id"}


class _Member(NamedTuple):
    name: str
    data: bytes | None
    """None for one that is larger than a row may be."""


def rows(stream: BinaryIO, source: str, limits: Limits) -> Iterator[Raw]:
    """Yield the rows by their number, from 1.

    Raises ValueError or EOFError where the file is damaged; the row before that is given.
    """
    number, key = 0, None
    row = _Row("")
    members = _members(stream, limits.line_bytes)
    while True:
        broken: Exception | None = None
        try:
            member = next(members, None)
        except (ValueError, EOFError, OSError) as error:
            member, broken = None, error
        if member is not None and member.name.rpartition("/")[2].startswith("."):
            continue  # hidden, such as what macOS keeps beside a file
        if member is None or _key(member.name) != key:
            if row.members:
                number += 1
                yield Raw(Place(source, number), row.fields())
            if broken is not None:
                raise broken
            if member is None:
                return
            key = _key(member.name)
            row = _Row(key)
        row.add(member, limits)


def _key(name: str) -> str:
    folder, slash, base = name.removeprefix("./").rpartition("/")
    return folder + slash + base.partition(".")[0]


class _Row:
    """A `_Row` gathers the members of one key."""

    def __init__(self, key: str) -> None:
        self.members = 0
        self.key, self._bytes = key, 0
        self._json: dict[str, Any] = {}
        self._fields: dict[str, Any] = {}
        self._pictures: dict[str, bytes] = {}
        self._error: RowError | None = None

    def add(self, member: _Member, limits: Limits) -> None:
        self.members += 1
        self._bytes += len(member.data or b"")
        base = member.name.rpartition("/")[2]
        extension = base.partition(".")[2].lower()
        if member.data is None or self._bytes > limits.line_bytes or self.members > _MOST_MEMBERS:
            said = f"its members are more than {limits.line_bytes:,} bytes or {_MOST_MEMBERS} files"
            self._error = RowError(Reason.UNREADABLE_LINE, said)
            self._pictures.clear()
            self._fields.clear()
        elif self._error is None:
            self._place(base, extension, member.data)

    def _place(self, base: str, extension: str, data: bytes) -> None:
        last = extension.rpartition(".")[2]
        if last in _PICTURES:
            self._pictures[base] = data
        elif last == "json":
            value = json_object(data)
            if isinstance(value, RowError):
                self._error = RowError(value.reason, f"{base}: {value.detail}")
            elif extension == "json":
                self._json = value
            else:
                self._fields[extension] = value
        elif last in _TEXTS:
            self._fields[extension] = data.decode("utf-8", "replace")
        else:
            self._fields[extension or "data"] = data

    def fields(self) -> dict[str, Any] | RowError:
        if self._error is not None:
            return self._error
        fields = Repeated(self._json)
        fields.repeated = self._json.repeated if isinstance(self._json, Repeated) else frozenset()
        for name, value in self._fields.items():
            fields.setdefault(name, value)
        fields.setdefault("__key__", self.key)
        if self._pictures:
            # A path that names one of the members stands for it.
            for name in ("image", "images"):
                if self._all_members(fields.get(name)):
                    del fields[name]
            listed = fields.get("images")
            kept = listed if isinstance(listed, list) else [] if listed is None else [listed]
            fields["images"] = [*kept, *self._pictures.values()]
        return fields

    def _all_members(self, value: Any) -> bool:
        named = value if isinstance(value, list) else [value]
        return bool(named) and all(
            isinstance(name, str) and name.rpartition("/")[2] in self._pictures for name in named
        )


def _members(stream: BinaryIO, limit: int) -> Iterator[_Member]:
    """Yield the regular files of a tar stream in their order. The names of long ones are bounded, and what a
    member holds is read only where it is at most `limit` bytes."""
    name: str | None = None
    while True:
        block = _exactly(stream, _BLOCK)
        if not block.strip(b"\0"):
            return
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "replace")
        except tarfile.TarError as error:
            raise ValueError(f"no header of a tar file ({error})") from None
        if info.size < 0:
            raise ValueError("a member of a negative size")
        padded = info.size + -info.size % _BLOCK
        if info.type in (b"L", b"x"):
            if info.size > _MOST_NAME:
                raise ValueError("a member's name is too long")
            data = _exactly(stream, padded)[: info.size]
            name = _long_name(data) if info.type == b"L" else _pax_name(data) or name
        elif info.isreg() and info.size <= limit:
            yield _Member(name or info.name, _exactly(stream, padded)[: info.size])
            name = None
        elif info.isreg():
            _skip(stream, padded)
            yield _Member(name or info.name, None)
            name = None
        else:
            _skip(stream, padded)
            name = name if info.type in (b"K", b"g") else None


def _long_name(data: bytes) -> str:
    return data.partition(b"\0")[0].decode("utf-8", "replace")


def _pax_name(data: bytes) -> str | None:
    """The `path` of an extended header: lines of length, key and value. Sizes there (of 8 GiB and more) are
    larger than any member that is read."""
    while data:
        length, _, _ = data.partition(b" ")
        if not length.isdigit() or not 0 < int(length) <= len(data):
            raise ValueError("no extended header of a tar file")
        key, _, value = data[len(length) + 1 : int(length)].partition(b"=")
        if key == b"path":
            return value.rstrip(b"\n").decode("utf-8", "replace")
        data = data[int(length) :]
    return None


def _exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise EOFError("the file ends within a member")
    return data


def _skip(stream: BinaryIO, size: int) -> None:
    while size > 0:
        size -= len(_exactly(stream, min(size, _PIECE)))
