"""Files of records are local paths and fsspec URIs, which are opened and listed here. Errors are one line for
the user."""

from __future__ import annotations

import glob
import io
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import fsspec
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from auditor.errors import BadInput

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
            raise BadInput(f"{shown(path)}: is a folder; name its files, such as {shown(path)}/*.jsonl")
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
    """List the files that a glob, a path or a list of either names, sorted within each glob.

    Raises `BadInput` where one of them names nothing.
    """
    if isinstance(paths, str | Path):
        paths = [paths]
    files: list[str] = []
    for pattern in map(str, paths):
        matches = _glob(pattern)
        if not matches:
            raise BadInput(f"{shown(pattern)}: no such file; check the path")
        files.extend(matches)
    return files


def _glob(pattern: str) -> list[str]:
    # A file may be named with brackets: what exists is taken as it is written.
    if not glob.has_magic(pattern) or (not is_uri(pattern) and os.path.exists(pattern)):
        return [pattern]
    if not is_uri(pattern):
        return sorted(path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path))
    try:
        fs, inner = url_to_fs(pattern)
        return sorted(fs.unstrip_protocol(path) for path in fs.glob(inner))
    except Exception as error:  # storage clients have exception families of their own
        raise BadInput(f"{shown(pattern)}: cannot be listed ({why(error)}); check path and rights") from None


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


def fingerprint(paths: str | Sequence[str]) -> str:
    """Return what changes when the files of a path or glob (or a list of either) change: names, sizes and
    times of change.

    Raises `BadInput` where there is no such file.
    """
    marks: list[str] = []
    for path in expand(paths):
        local, remote = locate(path)
        try:
            if local is not None:
                stat = os.stat(local)
                marks.append(f"{path} {stat.st_size} {stat.st_mtime_ns}")
            else:
                info = remote.fs.info(remote.path)
                changed = next(
                    (info[k] for k in ("ETag", "etag", "mtime", "LastModified", "updated") if k in info), ""
                )
                marks.append(f"{shown(path)} {info.get('size')} {changed}")
        except FileNotFoundError:
            raise BadInput(f"{shown(path)}: no such file; check the path") from None
        except OSError as error:
            raise BadInput(f"{shown(path)}: cannot be read ({why(error)}); check path and rights") from None
    return "\n".join(marks)
