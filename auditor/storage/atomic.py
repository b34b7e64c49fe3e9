"""Every file of this program is written here: it is whole, or it is not there."""

from __future__ import annotations

import os
import re
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

from auditor.errors import AuditError
from auditor.storage.disk import is_full, no_space

ORPHAN_SECONDS = 3600.0
"""Age at which a temporary file is swept even if a process of that number lives (or is on another host)."""

_TEMPORARY = re.compile(r"\..+\.(?P<host>[0-9a-f]{8})-(?P<pid>\d+)-[0-9a-f]{8}\.tmp")


def temporary_name(path: Path) -> str:
    """Return the name of a temporary file for `path`. It tells host and process, so that the next driver can
    sweep the file if the process dies."""
    return f".{path.name[:100]}.{_host()}-{os.getpid()}-{secrets.token_hex(4)}.tmp"


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a temporary file beside `path`. It takes the name of `path` when the block ends, and is removed
    when the block fails: nobody ever sees half a file. The folder must exist.

    Writing a file again replaces it. Raises `AuditError` where there is no space.
    """
    temporary = path.with_name(temporary_name(path))
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    except Exception as error:
        if is_full(error):
            temporary.unlink(missing_ok=True)  # before the free space is measured
            raise AuditError(no_space(path)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill the temporary file of `whole`."""
    with whole(path) as temporary:
        write(temporary)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a small file whole."""
    with whole(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole, in UTF-8; its folder is made where it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, text.encode())


def sweep(root: Path) -> int:
    """Delete temporary files whose process is dead; returns how many.

    Workers of a driver that died go on writing for some seconds: their files stay until these workers are
    gone.
    """
    swept = 0
    for file in root.rglob(".*.tmp"):
        match = _TEMPORARY.fullmatch(file.name)
        if match is None:
            continue
        try:
            dead = match["host"] == _host() and not _alive(int(match["pid"]))
            if dead or time.time() - file.stat().st_mtime > ORPHAN_SECONDS:
                file.unlink()
                swept += 1
        except FileNotFoundError:  # renamed by a worker that still lives
            continue
    return swept


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (
        PermissionError,
        OverflowError,
    ):  # another user's process, or no valid number: the file's age decides
        return True
    return True


def _host() -> str:
    return blake2b(socket.gethostname().encode(), digest_size=4).hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
