"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from auditor.errors import AuditError
from auditor.records.sources import locate, shown, why
from auditor.storage.disk import is_full, no_space


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary local path to write to; becomes `path` (local or an fsspec URI) when the block ends, and
    is removed when it fails.

    Beside its target where that is local (a rename does not cross file systems), its name carrying the
    process id; else on local disk, from where it is uploaded whole. Raises `AuditError` for what the disk
    or the storage refuses.
    """
    try:
        local, remote = locate(str(path))
        folder = Path(tempfile.gettempdir() if local is None else Path(local).parent)
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{Path(str(path)).name[:100]}.{os.getpid()}.{secrets.token_hex(4)}.tmp"
        temporary.touch(exist_ok=False)
    except Exception as error:  # storage clients have exception families of their own
        raise AuditError(_refused(path, error)) from None
    try:
        yield temporary
        try:
            if local is None:
                remote.fs.put_file(str(temporary), remote.path)
            else:
                _publish(temporary, local)
        except Exception as error:
            raise AuditError(_refused(path, error)) from None
    except OSError as error:  # of the block: only a full disk is surely about this file
        if is_full(error):
            temporary.unlink(missing_ok=True)  # before it is told how much is free
            raise AuditError(_refused(path, error)) from None
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _refused(path: str | Path, error: Exception) -> str:
    if is_full(error) and locate(str(path))[0] is not None:
        return no_space(path)
    return f"{shown(str(path))}: cannot be written ({why(error)}); check path, rights and space"


def _publish(temporary: Path, name: str) -> None:
    with open(temporary, "rb") as file:
        os.fsync(file.fileno())
    os.replace(temporary, name)
