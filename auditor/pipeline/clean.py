"""Cleaning a folder deletes what no result was made of; everything that a result was made of stays."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from auditor.errors import BadInput
from auditor.pipeline.gather import REFERENCE
from auditor.report.store import Store
from auditor.storage.run_dir import RunDir


@dataclass(frozen=True)
class Cleaned:
    """These folders were deleted, or would be."""

    folders: tuple[Path, ...]
    bytes: int


def clean(out: Path, *, latest: bool = False, dry_run: bool = False) -> Cleaned:
    """Delete the shards under `out` (of embeddings, answers, profiles, critics, measures) that none of its
    results was made of. With `latest`, only its latest result counts. What is deleted is made again where a
    command needs it; no result, store or baseline is touched.

    Raises `BadInput` where the folder holds no finished job, `AuditError` where it is in use, or where it is
    not known what a result was made of.
    """
    run = RunDir(out)
    if not run.root.is_dir():
        raise BadInput(f"{out}: holds no run; give the --out of a finished audit, drift or baseline")
    with run.lock():
        results = [REFERENCE] if (out / "baseline.json").is_file() else []
        if (out / "audit.duckdb").is_file():
            runs = Store(out).runs()
            newest = max(runs, key=lambda info: info.created, default=None)
            results += [newest.run_id] if latest and newest is not None else [info.run_id for info in runs]
        if not results:
            raise BadInput(f"{out}: holds no finished result, so everything in it may be needed yet")
        folders = tuple(run.unused(results))
        size = sum(_size(folder) for folder in folders)
        if not dry_run:
            for folder in folders:
                shutil.rmtree(folder)
    return Cleaned(folders, size)


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
