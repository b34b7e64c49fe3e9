"""This module keeps windows as parts of a record file: which of its rows each window has, without holding any
of them.

One pass over the columns that make a row what it is. Positions go to files, and of content a digest is kept
for each unit of work, so memory grows with windows and units, not with rows.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from auditor.errors import AuditError
from auditor.records import read_run_columns, read_run_rows
from auditor.scenarios.windows import Splitter, Window
from schemas.record import TRUTH_TAG, Record

BATCH = 4096
_NO_TIME = datetime.min.replace(tzinfo=UTC)
_CONTENT = ("record_id", "base_id", "query", "history", "responses", "reference")
_COLUMNS = (
    *_CONTENT,
    "images.list.element.digest",
    "timestamp",
    "tags",
    "scores",
    "group_id",
    "other_references",
)


@dataclass(frozen=True, slots=True)
class Part:
    """A part is the rows of one window, in the order of the file."""

    window: Window
    records: Path
    """The record file."""
    n: int
    unit: int
    """Rows of a unit of work; the last one may have fewer."""
    positions: Path
    """File of where its rows stand in the record file."""
    digests: tuple[str, ...]
    """The digest of the content of each unit's rows."""
    tags: str
    """Digest of all tags of its rows."""
    times: tuple[datetime, datetime] | None
    """The earliest and the latest timestamp."""

    def units(self) -> Iterator[tuple[int, int]]:
        """Return the first and last + 1 row of each unit, counted within the window."""
        return ((start, min(start + self.unit, self.n)) for start in range(0, self.n, self.unit))


@dataclass(frozen=True)
class Survey:
    """A survey is what one pass over the records has found."""

    parts: tuple[Part, ...]
    """The windows' parts, in the order in which their first rows come."""
    models: tuple[str, ...]
    """Whose responses there are, sorted."""
    images: bool
    """Whether any record has an image."""
    texts: bool
    """Whether any record has a text: a query, a reference or a response."""


def in_order(parts: Iterable[Part]) -> list[Part]:
    """Return windows of time in the order of time, others as their rows come."""
    return sorted(parts, key=lambda part: part.window.start or _NO_TIME)


@dataclass
class _PartWriter:
    positions: Path
    n: int = 0
    pending: list[int] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    state: Any = field(default_factory=lambda: blake2b(digest_size=16))
    tags: Any = field(default_factory=lambda: blake2b(digest_size=16))
    first: datetime | None = None
    last: datetime | None = None

    def add(self, position: int, content: bytes, tags: list[str], moment: datetime | None, unit: int) -> None:
        self.pending.append(position)
        self.state.update(content)
        self.tags.update(json.dumps(tags).encode())
        self.n += 1
        if self.n % unit == 0:
            self.close()
        if moment is not None:
            self.first = moment if self.first is None else min(self.first, moment)
            self.last = moment if self.last is None else max(self.last, moment)

    def close(self) -> None:
        self.digests.append(self.state.hexdigest())
        self.state = blake2b(digest_size=16)

    def flush(self) -> None:
        if self.pending:
            with open(self.positions, "ab") as file:
                file.write(np.array(self.pending, dtype="<i8").tobytes())
            self.pending.clear()


def survey(records: Path, split: Splitter, folder: Path, unit: int) -> Survey:
    """Look at every row of a run's record file once, and put it into its window's part, of units of `unit`
    rows. `folder` (empty) gets a file of positions a window. O(n), some 20 microseconds a row."""
    growing: dict[Window, _PartWriter] = {}
    models: set[str] = set()
    images = texts = False
    position = 0
    for batch in read_run_columns(records, _COLUMNS, BATCH):
        moments = [m and m.astimezone(UTC) for m in batch["timestamp"].to_pylist()]
        tags = [row_tags or [] for row_tags in batch["tags"].to_pylist()]
        for row, content in enumerate(contents(batch)):
            record_id, base_id, query, history, responses, reference, digests, _ = content
            window = split(Record(record_id, base_id, timestamp=moments[row]))
            part = growing.get(window)
            if part is None:
                part = growing[window] = _PartWriter(folder / f"{len(growing)}.i64")
            part.add(position, _bytes(content), tags[row], moments[row], unit)
            models.update(name for name, _ in responses or ())
            images = images or bool(digests)
            texts = texts or any(
                t and t.strip()
                for t in (query, reference, *(answer for _, answers in responses or () for answer in answers))
            )
            texts = texts or bool(history)
            position += 1
        for part in growing.values():
            part.flush()
    for part in growing.values():
        if part.n % unit:
            part.close()
    return Survey(
        tuple(
            Part(
                window,
                records,
                part.n,
                unit,
                part.positions,
                tuple(part.digests),
                part.tags.hexdigest(),
                None if part.first is None or part.last is None else (part.first, part.last),
            )
            for window, part in growing.items()
        ),
        tuple(sorted(models)),
        images,
        texts,
    )


def contents(rows: pa.RecordBatch | pa.Table) -> Iterator[tuple[Any, ...]]:
    """Yield what makes each row what it is: _CONTENT as plain values, the digests of its images, and what
    grades may depend on (its scores, the tags that tell the right answer, and further right answers) with its
    group, if it has one of its own."""
    table = pa.table(rows) if isinstance(rows, pa.RecordBatch) else rows
    column = table["images"].combine_chunks()
    counts = pc.fill_null(pc.list_value_length(column), 0).to_pylist()
    flat = iter(pc.struct_field(pc.list_flatten(column), "digest").to_pylist())
    images = [[next(flat) for _ in range(count)] for count in counts]
    columns = (table[name].to_pylist() for name in ("scores", "tags", "group_id", "other_references"))
    graded = [
        [
            scores or [],
            [tag for tag in tags or () if tag.startswith(TRUTH_TAG)],
            *([group] if group else []),
            *([{"references": others}] if others else []),
        ]
        for scores, tags, group, others in zip(*columns, strict=True)
    ]
    return zip(*(table[name].to_pylist() for name in _CONTENT), images, graded, strict=True)


def _bytes(content: tuple[Any, ...]) -> bytes:
    return json.dumps(content if any(content[-1]) else content[:-1]).encode()


def positions(path: Path, start: int, stop: int) -> NDArray[np.int64]:
    """Return (stop - start,) positions: where the rows `start` to `stop` of a part stand in the record
    file."""
    return np.fromfile(path, dtype="<i8", count=stop - start, offset=8 * start).astype(np.int64)


def read_unit(records: Path, path: Path, start: int, stop: int, digest: str) -> Iterator[pa.Table]:
    """Read the rows of a unit as tables of the schema `RECORDS`. Raises `AuditError`, once they have come,
    where they are not those that `digest` was taken of: another run is writing into the folder."""
    state = blake2b(digest_size=16)
    for table in read_run_rows(records, positions(path, start, stop)):
        for content in contents(table):
            state.update(_bytes(content))
        yield table
    if state.hexdigest() != digest:
        raise AuditError(f"{records}: rows changed while they were read; run the same command again")


def first_rows(part: Part) -> Iterator[pa.Table]:
    """Yield the rows of a part from its first one on, as tables of the schema `RECORDS`."""
    for start in range(0, part.n, BATCH):
        yield from read_run_rows(part.records, positions(part.positions, start, min(start + BATCH, part.n)))


def part_tags(part: Part, ids: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Return the tags of the part's records with these ids, those without any left out."""
    tags_by_id: dict[str, tuple[str, ...]] = {}
    for rows in first_rows(part):
        for record_id, tags in zip(rows["record_id"].to_pylist(), rows["tags"].to_pylist(), strict=True):
            if tags and record_id in ids:
                tags_by_id[record_id] = tuple(tags)
    return tags_by_id
