"""Records are written to files: in the public format for people, in the Arrow schema `RECORDS` for run
directories."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from datetime import UTC
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from auditor.errors import BadInput
from auditor.records.atomic import atomic_path
from auditor.records.sources import open_source, shown, why
from schemas.record import RECORDS, TURN_TYPE, Image, Record, Turn

_BATCH = 1024

_LISTED_IMAGE = pa.struct([("image", pa.string()), ("image_bytes", pa.binary())])
_PUBLIC = pa.schema(
    [
        pa.field("record_id", pa.string(), nullable=False),
        ("base_id", pa.string()),
        ("image", pa.string()),
        ("image_bytes", pa.binary()),
        ("images", pa.list_(_LISTED_IMAGE)),
        ("query", pa.string()),
        ("history", pa.list_(TURN_TYPE)),
        ("responses", pa.map_(pa.string(), pa.list_(pa.string()))),
        ("reference", pa.string()),
        ("references", pa.list_(pa.string())),
        ("timestamp", pa.timestamp("us", tz="UTC")),
        ("tags", pa.list_(pa.string())),
        ("scores", pa.map_(pa.string(), pa.float64())),
        ("group", pa.list_(pa.string())),
        ("conversation_id", pa.string()),
    ]
)


def write_records(path: str | Path, records: Iterable[Record]) -> int:
    """Write the public record format to `.jsonl`, `.ndjson` (also `.gz`) or `.parquet`, atomically; a local
    path or an fsspec URI. Return the number of records.

    What is written is what `read_records` reads back, digests excepted: they belong to a run. Raises
    `BadInput` for another ending.
    """
    name = str(path).lower()
    if name.endswith(".parquet"):
        with atomic_path(path) as temporary:
            return _write_parquet(temporary, records)
    if name.endswith((".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")):
        with atomic_path(path) as temporary, open(temporary, "wb") as raw:
            if not name.endswith(".gz"):
                return _write_jsonl(raw, records)
            # Neither name nor time in the header: the same records make the same bytes.
            with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed:
                return _write_jsonl(cast(BinaryIO, packed), records)
    raise BadInput(f"{shown(str(path))}: unknown file type; write to .jsonl, .jsonl.gz or .parquet")


def _write_jsonl(file: BinaryIO, records: Iterable[Record]) -> int:
    count = 0
    for record in records:
        row = {key: value for key, value in _public(record).items() if value is not None}
        text = json.dumps(row, ensure_ascii=False, default=_json_value)
        file.write(text.encode("utf-8", errors="replace") + b"\n")
        count += 1
    return count


def _json_value(value: object) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    raise TypeError(f"{type(value).__name__} is no part of a record")


def _write_parquet(path: Path, records: Iterable[Record]) -> int:
    count = 0
    source = iter(records)
    with pq.ParquetWriter(path, _PUBLIC, compression="zstd") as writer:
        while batch := list(islice(source, _BATCH)):
            rows = [_public(record) | {"timestamp": record.timestamp} for record in batch]
            for row in rows:
                row["responses"] = _pairs(row["responses"])
                row["scores"] = None if row["scores"] is None else list(row["scores"].items())
            writer.write_table(pa.Table.from_pylist(rows, schema=_PUBLIC))
            count += len(batch)
    return count


def _pairs(responses: dict[str, Any] | None) -> list[tuple[str, list[str]]] | None:
    if responses is None:
        return None
    return [(model, [answer] if isinstance(answer, str) else answer) for model, answer in responses.items()]


def _public(record: Record) -> dict[str, Any]:
    """The record's fields in the public format; what is absent is None."""
    images = [_public_image(image) for image in record.images]
    single = images[0] if len(images) == 1 else {"image": None, "image_bytes": None}
    return {
        "record_id": record.record_id,
        "base_id": record.base_id if record.base_id != record.record_id else None,
        **single,
        "images": images if len(images) > 1 else None,
        "query": record.query,
        "history": [asdict(turn) for turn in record.history] or None,
        "responses": {
            model: answers[0] if len(answers) == 1 else list(answers)
            for model, answers in record.responses.items()
        }
        or None,
        "reference": record.reference,
        "references": list(record.other_references) or None,
        "timestamp": record.timestamp.isoformat() if record.timestamp else None,
        "tags": list(record.tags) or None,
        "scores": dict(record.scores) or None,
        "group": list(record.group) or None,
        "conversation_id": record.conversation_id,
    }


def _public_image(image: Image) -> dict[str, Any]:
    """Return an image in the public format: with bytes, the path is only the name they once had and is left
    out."""
    return {"image": image.path if image.data is None else None, "image_bytes": image.data}


def records_table(records: Iterable[Record]) -> pa.Table:
    """Return the records as a table of the schema `RECORDS`."""
    return pa.Table.from_pylist([_row(record) for record in records], schema=RECORDS)


def records_from_table(table: pa.Table | pa.RecordBatch) -> list[Record]:
    """Return the records of a table of the schema `RECORDS`."""
    return [_record(row) for row in table.to_pylist()]


class RecordWriter:
    """A `RecordWriter` writes admitted records to one Parquet file of a run directory, in batches of bounded
    memory.

    It is a context manager: the file appears, whole, when the block ends, and not at all when the block
    fails.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = path
        self.count = 0
        self._pending: list[Record] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            temporary = stack.enter_context(atomic_path(self.path))
            self._file = stack.enter_context(pq.ParquetWriter(temporary, RECORDS, compression="zstd"))
            self._stack = stack.pop_all()
        return self

    def write(self, record: Record) -> None:
        """Add one record."""
        self._pending.append(record)
        self.count += 1
        if len(self._pending) == _BATCH:
            self._flush()

    def _flush(self) -> None:
        if self._pending:
            self._file.write_table(records_table(self._pending))
            self._pending.clear()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:  # the last batch may fail too: then nothing is published either
            self._flush()


def read_run_records(path: str | Path, batch: int = _BATCH) -> Iterator[list[Record]]:
    """Yield the records that a `RecordWriter` wrote, in lists of at most `batch`. Raises `BadInput` for a
    file that is missing or is no such file."""
    for rows in _run_batches(path, batch):
        yield records_from_table(rows)


def read_run_tags(path: str | Path) -> Iterator[tuple[str, list[str]]]:
    """Yield id and tags of each record that a `RecordWriter` wrote; nothing else of it is read. Raises
    `BadInput` as `read_run_records`."""
    for rows in _run_batches(path, _BATCH, ["record_id", "tags"]):
        yield from zip(rows["record_id"].to_pylist(), rows["tags"].to_pylist(), strict=True)


def read_run_rows(path: str | Path, positions: NDArray[np.int64]) -> Iterator[pa.Table]:
    """Yield the records at ascending `positions` (n,) of what a `RecordWriter` wrote, as tables of the schema
    `RECORDS` (see `records_from_table`), one for each group of rows that the file was written in. Raises
    `BadInput` as `read_run_records`, and where there is no such position."""
    with _run_file(path) as file:
        starts = np.cumsum([0, *(file.metadata.row_group(i).num_rows for i in range(file.num_row_groups))])
        if len(positions) and not 0 <= positions[0] <= positions[-1] < starts[-1]:
            raise BadInput(f"{shown(str(path))}: has {starts[-1]} rows, not one at {positions[-1]}")
        groups = np.searchsorted(starts, positions, side="right") - 1
        for group in np.unique(groups).tolist():
            inside = positions[groups == group] - starts[group]
            yield file.read_row_group(group, use_threads=False).take(pa.array(inside))


def write_run_groups(path: str | Path, group_ids: Sequence[str]) -> None:
    """Write the group of each record (n,) into what a `RecordWriter` wrote, where it does not stand there
    already. The file is replaced whole, row group by row group. Raises `BadInput` as `read_run_records`."""
    known = [i for rows in read_run_columns(path, ["group_id"]) for i in rows["group_id"].to_pylist()]
    if known == list(group_ids):
        return
    column, start = RECORDS.get_field_index("group_id"), 0
    with (
        _run_file(path) as file,
        atomic_path(path) as temporary,
        pq.ParquetWriter(temporary, RECORDS, compression="zstd") as writer,
    ):
        for number in range(file.num_row_groups):
            rows = file.read_row_group(number, use_threads=False)
            names = pa.array(group_ids[start : start + rows.num_rows], pa.string())
            writer.write_table(rows.set_column(column, RECORDS.field(column), names))
            start += rows.num_rows


def read_run_columns(
    path: str | Path, columns: Sequence[str], batch: int = _BATCH
) -> Iterator[pa.RecordBatch]:
    """Yield only these columns (`images.list.element.digest` may be one of them), in batches of at most
    `batch` rows. Raises `BadInput` as `read_run_records`."""
    return _run_batches(path, batch, list(columns))


def _run_batches(path: str | Path, batch: int, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    with _run_file(path) as file:
        yield from file.iter_batches(batch, columns=columns, use_threads=False)


@contextmanager
def _run_file(path: str | Path) -> Iterator[pq.ParquetFile]:
    with open_source(str(path)) as stream:
        try:
            file = pq.ParquetFile(stream)
            if file.schema_arrow.names != RECORDS.names:
                raise BadInput(f"{shown(str(path))}: not records of a run; use read_records for other files")
            yield file
        except (pa.ArrowException, OSError) as error:
            raise BadInput(
                f"{shown(str(path))}: damaged ({why(error)}); delete it to have it made again"
            ) from None


def _row(record: Record) -> dict[str, Any]:
    return {
        "record_id": record.record_id,
        "base_id": record.base_id,
        "images": [asdict(image) for image in record.images],
        "query": record.query,
        "history": [asdict(turn) for turn in record.history],
        "responses": [(model, list(answers)) for model, answers in record.responses.items()],
        "reference": record.reference,
        "timestamp": record.timestamp,
        "tags": list(record.tags),
        "scores": list(record.scores.items()),
        "group": list(record.group),
        "conversation_id": record.conversation_id,
        "group_id": record.group_id,
        "other_references": list(record.other_references),
    }


def _record(row: dict[str, Any]) -> Record:
    return Record(
        record_id=row["record_id"],
        base_id=row["base_id"],
        images=tuple(Image(**image) for image in row["images"]),
        query=row["query"],
        history=tuple(Turn(**turn) for turn in row["history"]),
        responses={model: tuple(answers) for model, answers in row["responses"]},
        reference=row["reference"],
        timestamp=row["timestamp"] and row["timestamp"].astimezone(UTC),
        tags=tuple(row["tags"]),
        scores=dict(row["scores"]),
        group=tuple(row["group"]),
        conversation_id=row["conversation_id"],
        group_id=row["group_id"],
        other_references=tuple(row["other_references"]),
    )
