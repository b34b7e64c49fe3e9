"""This module turns the config into scenarios: named sets of admitted records, kept in the run directory.

A scenario is gathered once: a fingerprint of all that its rows depend on (files with their size and time,
perturbation, seed, limits) stands beside its records, and a second run with the same fingerprint reads them.
"""

from __future__ import annotations

import heapq
import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from auditor import __version__
from auditor.errors import BadInput
from auditor.records import (
    Limits,
    MediaPolicy,
    Quarantine,
    Records,
    RecordWriter,
    Tally,
    admit,
    read_run_columns,
    read_run_records,
    read_run_rows,
    read_run_tags,
    records_from_table,
)
from auditor.records.pictures import readable_formats
from auditor.scenarios.reading import NOT_READ, Reading, lost_fields, reading
from auditor.scenarios.registry import READERS
from auditor.sketch.blocks import hash64
from auditor.storage.run_dir import RunDir, digest, write_bytes
from schemas.config import DataConfig, Partitioning
from schemas.record import QUARANTINE, RECORDS, Quarantined, Record

Rows = Iterable[Record | Quarantined]
ID, TRAFFIC = "id", "traffic"
"""Names of the reference records and of the traffic."""
Given = Mapping[str, Records]
"""Name -> records that a program hands in, in the place of what the config names: `ID` the reference ones,
`TRAFFIC` those that drift compares, else a scenario of that name."""
MOST_ADMITTING = 16
"""Threads that verify images: each may hold one of the largest size that is allowed."""


@dataclass(frozen=True, slots=True)
class Source:
    """A source says where a scenario's rows come from; nothing is read yet."""

    name: str
    family: str
    """id, visual, text, joint, natural or mix."""
    fingerprint: str
    rows: Callable[[], Rows]
    partition: Partitioning | None = None
    files: Callable[[], Sequence[str]] = tuple
    """Lists the files that its rows come from, as reports name them, so that one without rows is missed."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario is the admitted records under `path`, and how many rows were quarantined on the way."""

    name: str
    family: str
    path: Path
    n: int
    partition: Partitioning | None = None
    notes: tuple[str, ...] = ()
    """What the report says beside it."""
    reading: Reading = NOT_READ
    """What reading its rows found beside the records."""

    def batches(self) -> Iterator[list[Record]]:
        """Yield the records, in lists of bounded length."""
        return read_run_records(self.path)

    def tags(self, ids: Collection[str]) -> dict[str, tuple[str, ...]]:
        """Return the tags of the records with these ids, those without any left out; one pass over ids and
        tags."""
        return {i: tuple(tags) for i, tags in read_run_tags(self.path) if tags and i in ids}

    def quarantine(self) -> Quarantine:
        return Quarantine.read(_sibling_path(self.path, "quarantine"))


def records_of(scenarios: Iterable[Scenario]) -> Iterator[Record]:
    """Yield the admitted records of all scenarios, one by one."""
    for scenario in scenarios:
        for batch in scenario.batches():
            yield from batch


def check_recorded(models: Sequence[str], scenarios: Iterable[Scenario]) -> None:
    """Raise `BadInput` where the records have no response of one of these models, which has no generator."""
    recorded_models: set[str] = set()
    read: list[Reading] = []
    for scenario in scenarios if models else ():
        read.append(scenario.reading)
        for batch in scenario.batches():
            recorded_models.update(name for record in batch for name in record.responses)
        if recorded_models.issuperset(models):
            return
    if missing := [name for name in models if name not in recorded_models]:
        raise BadInput(
            f"models: no recorded responses of {', '.join(missing)}; the records have "
            f"{', '.join(sorted(recorded_models)) or 'none'} (or give the model a generator)"
            f"{lost_fields(read, 'responses')}"
        )


def media_policy(data: DataConfig) -> MediaPolicy:
    """Return what may be opened for images."""
    root = data.media_root
    if root is None and (key := READERS.find(data.reader, "data.reader").media_root) is not None:
        root = getattr(data, key)
    return MediaPolicy(root, data.max_image_bytes, data.max_image_pixels, data.url_allow, data.url_private)


def limits(data: DataConfig) -> Limits:
    return Limits(text_chars=data.max_text_chars, images=data.max_images)


def gather(source: Source, run: RunDir, data: DataConfig) -> Scenario:
    """Read, admit and keep the records of `source`, unless that was done. Its bad rows are quarantined."""
    path = run.records(source.name)
    print_ = digest(
        json.dumps(
            [
                source.fingerprint,
                asdict(limits(data)),
                asdict(media_policy(data)),
                readable_formats(),
                __version__,
                RECORDS.names,
                QUARANTINE.names,
            ],
            default=str,
        )
    )
    stamp = _sibling_path(path, "meta")
    if stamp.exists() and path.exists():
        meta = json.loads(stamp.read_text(encoding="utf-8"))
        if meta["fingerprint"] == print_:
            return _scenario(source, path, meta)
    stamp.unlink(missing_ok=True)
    quarantine, rows, tally = Quarantine(), source.rows(), Tally(source.name)
    with ThreadPoolExecutor(_threads()) as threads, RecordWriter(path) as writer:
        counted = tally.counted(rows)
        for row in admit(counted, media_policy(data), limits(data), source.name, threads):
            if isinstance(row, Record):
                writer.write(row)
            else:
                quarantine.add(replace(row, position=writer.count))
    quarantine = tally.dated(quarantine)
    quarantine.write(_sibling_path(path, "quarantine"))
    progress = getattr(rows, "progress", None)
    meta = {
        "fingerprint": print_,
        "n": writer.count,
        "reading": reading(source.name, progress, tally.files(quarantine, source.files())).as_json(),
    }
    write_bytes(stamp, json.dumps(meta).encode())
    return _scenario(source, path, meta)


def _scenario(source: Source, path: Path, meta: dict[str, Any]) -> Scenario:
    return Scenario(
        source.name,
        source.family,
        path,
        meta["n"],
        source.partition,
        reading=Reading.from_json(meta["reading"]),
    )


def _threads() -> int:
    """Return the number of threads that images are waited for in, where they are far away. Of near ones most
    of the time is Python's, and more threads are no faster."""
    return min(MOST_ADMITTING, len(os.sched_getaffinity(0)))


def sampled(scenario: Scenario, run: RunDir, rows: int, seed: int) -> Scenario:
    """Keep at most `rows` of the records, by a hash of seed and id: the same ones in whatever order they
    stand."""
    hashes = (
        (hash64(f"{seed}:{record_id}", b"pool"), position)
        for batch, start in _number_batches(read_run_columns(scenario.path, ["record_id"]))
        for position, record_id in enumerate(batch["record_id"].to_pylist(), start)
    )
    chosen = np.array(sorted(position for _, position in heapq.nsmallest(rows, hashes)), dtype=np.int64)
    path = run.records(f"{scenario.name} (sample)")
    with RecordWriter(path) as writer:
        for table in read_run_rows(scenario.path, chosen):
            for record in records_from_table(table):
                writer.write(record)
    Quarantine().write(_sibling_path(path, "quarantine"))
    return replace(scenario, path=path, n=writer.count)


def _number_batches(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[pa.RecordBatch, int]]:
    """Yield each batch, and how many rows came before it."""
    start = 0
    for batch in batches:
        yield batch, start
        start += batch.num_rows


def _sibling_path(path: Path, suffix: str) -> Path:
    return path.with_name(f"{path.stem}.{suffix}.{'json' if suffix == 'meta' else 'parquet'}")
