"""Plain arrays are kept in npz files, which are written whole and never pickled."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditor.errors import AuditError
from auditor.storage.atomic import write_whole

_DAMAGES = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    AttributeError,
    ArithmeticError,
    MemoryError,
    RuntimeError,
    SyntaxError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
"""Errors that reading damaged or malicious arrays ends in."""


MOST_UNFOLDED = 16 * 2**20
"""Bytes of arrays up to which a file may be compressed: one that unfolds to more is not ours."""


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], compressed: bool = False) -> None:
    """Write arrays whole; `compressed` (where they are few bytes) costs some 50 ms a megabyte."""
    small = compressed and sum(array.nbytes + 1024 for array in arrays.values()) <= MOST_UNFOLDED

    def write(temporary: Path) -> None:
        with open(temporary, "wb") as file:
            (np.savez_compressed if small else np.savez)(file, **arrays)  # type: ignore[arg-type]

    write_whole(path, write)


@contextmanager
def opened(path: Path, delete: str = "it") -> Iterator[Any]:
    """Yield the open file, from which each array is read by its name. Raises `AuditError` where it is no npz
    file of this program, or where the block finds that arrays are missing or do not fit. `delete` is what the
    message tells the user to delete."""
    try:
        loaded = np.load(path, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            raise ValueError("it is a single array, no npz file")
        with loaded as file:
            members = [m for m in file.zip.infolist() if m.compress_type != zipfile.ZIP_STORED]
            if any(member.compress_type != zipfile.ZIP_DEFLATED for member in members):
                raise ValueError("it is compressed in a way that this program's files never are")
            if sum(member.file_size for member in members) > MOST_UNFOLDED:
                raise ValueError("it is compressed and unfolds to more than this program's files ever do")
            yield file
    except KeyError as error:
        raise AuditError(f"{path}: not readable (it lacks {error}); delete {delete} and run again") from error
    except _DAMAGES as error:
        raise AuditError(
            f"{path}: not readable ({_one_line(error)}); delete {delete} and run again"
        ) from error


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
