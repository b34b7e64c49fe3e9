"""A critic's file is safetensors, with one entry of metadata that says what kind of critic it holds.

There is one entry only, since several are written in any order and equal critics must be equal files.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from auditor.storage.atomic import write_whole

_ENTRY = "critic"


class CriticFile(NamedTuple):
    """A `CriticFile` is the content of a critic's file."""

    arrays: dict[str, NDArray[Any]]
    settings: dict[str, Any]


def write_critic(
    path: str | os.PathLike[str],
    kind: str,
    arrays: Mapping[str, NDArray[Any]],
    settings: Mapping[str, Any],
) -> None:
    """Write a critic's arrays and settings (plain JSON values) whole: readers see all of it or none."""
    from safetensors.numpy import save_file

    metadata = {_ENTRY: json.dumps({"kind": kind, "settings": dict(settings)}, sort_keys=True)}
    contiguous = {name: np.ascontiguousarray(a) for name, a in sorted(arrays.items())}
    write_whole(Path(path), lambda temporary: save_file(contiguous, temporary, metadata=metadata))


def read_critic(
    path: str | os.PathLike[str], kind: str, names: tuple[str, ...], start: tuple[str, ...] = ()
) -> CriticFile:
    """Read what `write_critic` wrote. ValueError where the file is no critic's, is of another kind, holds
    other arrays than `names` (or `names` and those of its `start`), or numbers that are not finite."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            entry = json.loads((file.metadata() or {}).get(_ENTRY, "{}"))
    except (SafetensorError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: no critic's file ({error})") from error
    if entry.get("kind") != kind:
        raise ValueError(f"{path}: holds a critic of the kind {entry.get('kind')}, not {kind}")
    if set(arrays) not in (set(names), {*names, *start}):
        raise ValueError(f"{path}: expected {', '.join(sorted(names))}; got {', '.join(sorted(arrays))}")
    if not all(np.isfinite(a).all() for a in arrays.values()):
        raise ValueError(f"{path}: some numbers are not finite")
    return CriticFile(arrays, dict(entry["settings"]))


def kind_of(path: str | os.PathLike[str]) -> str:
    """Return the kind of critic in a file. The file of a CLUB critic tells its activation alone; a published
    state dict (.pt) tells nothing. ValueError where the file holds none."""
    if Path(path).suffix in (".pt", ".pth"):
        return "club"
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
        entry = json.loads(metadata.get(_ENTRY, "{}"))
    except (SafetensorError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: no critic's file ({error})") from error
    if "activation" in metadata:
        return "club"
    if "kind" not in entry:
        raise ValueError(f"{path}: no critic's file (its metadata name no kind)")
    return str(entry["kind"])


def digest_of(kind: str, arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a critic's kind, settings and arrays, in the order of their names."""
    state = sha256(json.dumps([kind, dict(settings)], sort_keys=True).encode())
    for name, a in sorted(arrays.items()):
        state.update(f"{name}{a.dtype}{a.shape}".encode())
        state.update(np.ascontiguousarray(a).tobytes())
    return state.hexdigest()
