"""Plain arrays in npz files: written whole, never pickled, and named where they cannot be read."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditor.errors import AuditError
from auditor.storage.atomic import write_whole


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays whole."""

    def write(temporary: Path) -> None:
        with open(temporary, "wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]

    write_whole(path, write)


@contextmanager
def opened(path: Path, delete: str = "it") -> Iterator[Any]:
    """The file, array by array. Raises `AuditError` where it is no npz file, or where what is made of it in
    the block finds arrays missing or not fitting; `delete`: what the way out is to delete."""
    try:
        with np.load(path, allow_pickle=False) as file:
            yield file
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise AuditError(f"{path}: not readable ({error}); delete {delete} and run again") from error
