"""Files of records are local paths and fsspec URIs, which are opened and listed here. Errors are one line for
the user."""

from __future__ import annotations

import glob
import hashlib
import io
import os
import re
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import fsspec
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from auditor.errors import BadInput

ENDINGS = (".jsonl", ".ndjson", ".jsonlines", ".json", ".csv", ".tsv", ".parquet", ".arrow", ".tar", ".eval")
"""How the names of files of records end."""
_PACKED = (".gz", ".zst", ".zstd", ".bz2")
_ROTATED = re.compile(r"(?<=[a-z])[._-][0-9][0-9t._:-]*z?$")
_OF_A_DATA_SET = {"state.json", "dataset_info.json", "dataset_dict.json"}
"""What `datasets` writes beside the tables of a data set; it holds no rows."""
_TEMPORARY = ("~", ".tmp", ".temp", ".part", ".partial", ".crdownload", ".swp", ".lock", ".bak")
_MOST_DIGESTED = 64 * 2**20
_USERINFO = re.compile(r"//[^/@]*@")
_QUERY = re.compile(r"\?.*$", re.DOTALL)


def is_uri(path: str) -> bool:
    """Return whether `path` names a protocol (`s3://...`, chained ones too) rather than a local file."""
    return "://" in path


def shown(path: str) -> str:
    """Return `path` as it may be written to a log or a report: a URI without credentials and signatures."""
    return _QUERY.sub("", _USERINFO.sub("//", path)) if is_uri(path) else path


def why(error: BaseException) -> str:
    """Return the reason of `error` on one line, without the path that the caller names already."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split())[:200] or type(error).__name__


def open_source(path: str) -> BinaryIO:
    """Open a buffered binary stream of `path`. Raises `BadInput` where it cannot be opened."""
    try:
        local, remote = locate(path)
        if local is None:
            # fsspec's own readline takes no limit; a BufferedReader's does.
            return cast(BinaryIO, io.BufferedReader(remote.fs.open(remote.path, "rb"), 2**20))
        if os.path.isdir(local):
            raise BadInput(f"{shown(path)}: is a folder without files of records; name its files")
        return open(local, "rb", buffering=2**20)
    except BadInput:
        raise
    except FileNotFoundError:
        raise BadInput(f"{shown(path)}: no such file; check the path") from None
    except ImportError as error:
        raise BadInput(f"{shown(path)}: {why(error)}") from None
    except Exception as error:  # storage clients have exception families of their own
        raise BadInput(f"{shown(path)}: cannot be opened ({why(error)}); check path and rights") from None


def expand(paths: str | Path | Sequence[str | Path]) -> list[str]:
    """List the files that a path, a glob, a folder or a list of these names: sorted within each glob and
    folder, and each file once, however many links lead to it.

    Of a folder those below it are taken whose names say that they hold records, or that have no ending; files
    and folders that are hidden (`.x`, `_x`) or temporary are not. Raises `BadInput` where one of `paths`
    names nothing.
    """
    if isinstance(paths, str | Path):
        paths = [paths]
    files: list[str] = []
    taken: set[object] = set()
    for pattern in map(str, paths):
        matches = _matches(pattern)
        if not matches:
            raise BadInput(f"{shown(pattern)}: no such file; check the path")
        named: dict[object, str] = {}
        for path in sorted(matches):  # a file comes under its own name rather than under that of a link to it
            key = _identity(path)
            if key not in named or (_is_link(named[key]) and not _is_link(path)):
                named[key] = path
        files += sorted(path for key, path in named.items() if key not in taken)
        taken |= named.keys()
    return files


def _matches(pattern: str) -> list[str]:
    if is_uri(pattern):
        return _remote_matches(pattern)
    # A file may be named with brackets: what exists is taken as it is written.
    if os.path.isdir(pattern):
        return _below(pattern)
    if not glob.has_magic(pattern) or os.path.exists(pattern):
        return [pattern]
    found = _glob(pattern)
    if files := [path for path in found if os.path.isfile(path)]:
        return files
    return [path for folder in found for path in _below(folder)]


def _glob(pattern: str) -> list[str]:
    """The paths that a glob names. `**` enters every folder once, whatever links lead back to it."""
    head, stars, tail = pattern.partition("**")
    if not stars:
        return glob.glob(pattern)
    if (head and not head.endswith(os.sep)) or (tail and not tail.startswith(os.sep)):
        return glob.glob(pattern)  # `a**b` is `a*b`
    tops = [head or os.curdir] if not glob.has_magic(head) else glob.glob(head)
    found = []
    for folder in (folder for top in tops for folder in _folders(top)):
        below = tail.lstrip(os.sep) or "*"
        here = glob.escape("" if folder == os.curdir else folder)
        found += _glob(os.path.join(here, below))
    return list(dict.fromkeys(found))


def _folders(top: str) -> Iterator[str]:
    """Yield a folder and those below it that are not hidden, each once; those behind links last."""
    waiting, links, seen = deque([top]), deque[str](), set[str]()
    while waiting or links:
        folder = waiting.popleft() if waiting else links.popleft()
        real = os.path.realpath(folder)
        if real in seen:
            continue
        seen.add(real)
        try:
            with os.scandir(folder) as entries:
                below = sorted((entry.name, entry.is_symlink()) for entry in entries if entry.is_dir())
        except OSError:  # not ours to read, or gone
            continue
        yield folder
        for name, is_link in below:
            if not name.startswith("."):
                path = name if folder == os.curdir else os.path.join(folder, name)
                (links if is_link else waiting).append(path)


def _below(top: str) -> list[str]:
    """The files below a folder that may hold records."""
    found = []
    for folder in _folders(top):
        inner = os.path.relpath(folder, top)
        if any(part.startswith("_") for part in inner.split(os.sep)):
            continue
        names = os.listdir(folder)
        described = _OF_A_DATA_SET if any(name.endswith(".arrow") for name in names) else set[str]()
        for name in sorted(set(names) - described):
            path = os.path.join(folder, name)
            if may_hold_records(name) and os.path.isfile(path):
                found.append(path)
    return found


def may_hold_records(name: str) -> bool:
    """Return whether a file found in a folder is taken: its name ends as one of records does, or has no
    ending (`part-00000`), and is neither hidden nor temporary."""
    if name.startswith((".", "_", "#")) or name.lower().endswith(_TEMPORARY):
        return False
    return record_ending(name) is not None or "." not in name


def record_ending(name: str) -> str | None:
    """Return the ending of a file's name that tells what is read from it, without that of a compression or a
    rotation (`.jsonl` of `x.jsonl.2025-06-01.gz`); None where there is none."""
    base = name.rsplit("/", 1)[-1].lower()
    for packed in _PACKED:
        base = base.removesuffix(packed)
    base = _ROTATED.sub("", base)
    return next((ending for ending in ENDINGS if base.endswith(ending)), None)


def is_packed_name(name: str) -> bool:
    """Return whether a file's name says that it is compressed."""
    return name.lower().endswith(_PACKED)


def _remote_matches(pattern: str) -> list[str]:
    if not glob.has_magic(pattern) and not pattern.endswith("/"):
        return [pattern]
    try:
        fs, inner = url_to_fs(pattern)
        if glob.has_magic(pattern):
            return sorted(fs.unstrip_protocol(path) for path in fs.glob(inner))
        found = (fs.unstrip_protocol(path) for path in fs.find(inner))
        return sorted(path for path in found if may_hold_records(path.rsplit("/", 1)[-1]))
    except Exception as error:  # storage clients have exception families of their own
        raise BadInput(f"{shown(pattern)}: cannot be listed ({why(error)}); check path and rights") from None


def _identity(path: str) -> object:
    """What is the same for every name of one file: links to it, and hard links."""
    if is_uri(path):
        return path
    try:
        status = os.stat(path)
    except OSError:  # it is told where it is opened
        return path
    return (status.st_dev, status.st_ino) if status.st_nlink > 1 else os.path.realpath(path)


def _is_link(path: str) -> bool:
    return not is_uri(path) and os.path.realpath(path) != os.path.abspath(path)


class Remote(NamedTuple):
    """A `Remote` is a file system and a path in it."""

    fs: fsspec.AbstractFileSystem
    path: str


def locate(path: str) -> tuple[str | None, Remote]:
    """Return the local path (None for a remote file), and the file system with the path in it. Raises what
    fsspec raises for an unknown or uninstalled protocol."""
    if not is_uri(path):
        return path, Remote(None, path)
    fs, inner = url_to_fs(path)
    return (inner if isinstance(fs, LocalFileSystem) else None), Remote(fs, inner)


class FileMark(NamedTuple):
    """A `FileMark` tells whether a file is the one that was read."""

    size: int | None
    """Bytes."""
    digest: str | None
    """SHA-256 (hex) of a local file of at most 64 MiB; None where that would be dear."""
    changed: str
    """Where there is no digest: its version (ETag) or time of change, as its storage tells it."""


def mark(path: str) -> FileMark | None:
    """Return what tells whether the file is still the same; None where its storage does not say."""
    try:
        local, _ = locate(path)
        size, changed = _state(path)
        if local is None or size is None or size > _MOST_DIGESTED or not os.path.isfile(local):
            return FileMark(size, None, changed)
        with open(local, "rb") as file:
            return FileMark(size, hashlib.file_digest(file, "sha256").hexdigest(), "")
    except Exception:  # storage clients have exception families of their own; the file is read all the same
        return None


def _state(path: str) -> tuple[int | None, str]:
    """The size and the version (or time of change) of a file. Raises what its storage raises."""
    local, remote = locate(path)
    if local is not None:
        status = os.stat(local)
        return status.st_size, str(status.st_mtime_ns)
    info = remote.fs.info(remote.path)
    names = ("ETag", "etag", "mtime", "LastModified", "updated")
    return info.get("size"), str(next((info[name] for name in names if name in info), ""))


def fingerprint(paths: str | Sequence[str]) -> str:
    """Return what changes when the files of a path or glob (or a list of either) change: names, sizes and
    times of change.

    Raises `BadInput` where there is no such file.
    """
    marks: list[str] = []
    for path in expand(paths):
        try:
            size, changed = _state(path)
        except FileNotFoundError:
            raise BadInput(f"{shown(path)}: no such file; check the path") from None
        except OSError as error:
            raise BadInput(f"{shown(path)}: cannot be read ({why(error)}); check path and rights") from None
        marks.append(f"{shown(path)} {size} {changed}")
    return "\n".join(marks)
