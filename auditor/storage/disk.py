"""This module recognises a full disk and words the error for it."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_WORDS = ("no space left", "file too large", "quota exceeded")
"""Parts of messages of libraries that keep no error number (DuckDB, safetensors)."""


def is_full(error: BaseException) -> bool:
    """Return whether a write failed because there was no room for it."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _FULL
    text = str(error).lower()
    return any(word in text for word in _WORDS)


def no_space(path: Path | str) -> str:
    """Return one line about `path`, which could not be written, with its folder and the space that is left
    there."""
    folder = Path(path).parent
    try:
        usage = shutil.disk_usage(folder)
        left = f"{usage.free / 2**20:,.1f} of {usage.total / 2**20:,.1f} MiB are free"
    except OSError:
        left = "how much is free cannot be told"
    return (
        f"{folder}: no space left to write {Path(path).name} ({left}); free some or choose another --out, "
        "then run the same command: what is done is kept"
    )
