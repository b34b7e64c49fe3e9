"""Rows in memory are read from dicts, tables of pandas and pyarrow, and data sets of Hugging Face.

pandas and datasets are known by the names of their modules and never imported: whoever has such a table has
imported them. Rows are taken a batch at a time and not kept, so memory holds nothing beyond what the user
holds.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image as Pillow

from auditor.errors import BadInput, RowError, one_line
from auditor.records.coercions import Coercions
from auditor.records.containers.cells import batch_fields
from auditor.records.fields import FIELDS, parse_id
from auditor.records.limits import Limits
from auditor.records.pictures import MAX_PIXELS, rgb, too_many_pixels, upright
from auditor.records.readers import one_row
from auditor.records.rows import Progress, Rows
from schemas.record import Quarantined, Reason, Record

BATCH_ROWS = 1024
"""Rows of a table that are made into Python values at a time."""
_PNG_MODES = {"1", "L", "LA", "P", "RGB", "RGBA"}
_MISSING = {"NaTType", "NAType"}
"""Types of pandas whose one value says that there is none."""

RowSource = Callable[[], Iterator[Any]]
"""A function that gives the rows as their source has them, from the first row on in every call."""


@dataclass(frozen=True)
class Held:
    """`Held` rows are in memory."""

    label: str
    """Name of the rows in messages and reports."""
    rows: RowSource


def held(source: Any) -> Held | None:
    """Return `source` as rows in memory; None where it holds no rows.

    Raises `BadInput` for a table without the column `record_id`, and for a source that does not say which of
    its rows are meant.
    """
    kind, name = _package(source), type(source).__name__
    if isinstance(source, pa.RecordBatch):
        source = pa.Table.from_batches([source])
    if isinstance(source, pa.Table):
        return Held(_table_label(source.num_rows), _arrow_rows(source))
    if kind == "pandas" and hasattr(source, "columns"):
        return Held(_table_label(len(source)), _pandas_rows(source))
    if kind == "datasets" and isinstance(source, Mapping):
        splits = ", ".join(map(repr, source))
        raise BadInput(f"a {name} holds several data sets: give one of them, by its name ({splits})")
    if kind == "datasets" and hasattr(source, "with_format") and hasattr(source, "__len__"):
        return Held(f"a data set of {_count(len(source))}", _data_set_rows(source))
    if isinstance(source, Mapping):
        raise BadInput("a dict is no table of records: give a list of dicts, one a record, or a table")
    if isinstance(source, str | bytes | bytearray) or not isinstance(source, Iterable):
        return None
    if isinstance(source, Iterator):  # it can be gone through only once
        source = list(source)
    if isinstance(source, Sequence) and source and all(isinstance(batch, pa.RecordBatch) for batch in source):
        return held(_one_table(source))
    count = _count(len(source)) if hasattr(source, "__len__") else "rows"
    return Held(f"{count} in memory", lambda: iter(source))


def read_held(source: Held, limits: Limits, max_pixels: int = MAX_PIXELS) -> Rows:
    """Return the rows, each a `Record` or a `Quarantined` (its source the label, its row counted from 0),
    with answers quarantined as `screen` does. Pictures become PNG; those of more than `max_pixels` are
    quarantined."""
    progress = Progress()
    return Rows(_read(source, limits, max_pixels, progress), progress)


def _read(
    source: Held, limits: Limits, max_pixels: int, progress: Progress
) -> Iterator[Record | Quarantined]:
    for number, row in enumerate(source.rows()):
        place, record_id = progress.advance(source.label, number), None
        try:
            mapping = _mapping(row)
            id_fields = (
                {"record_id": _plain(mapping["record_id"], max_pixels)} if "record_id" in mapping else {}
            )
            record_id = parse_id(id_fields, Coercions())
            fields = _fields(mapping, max_pixels)
        except RowError as error:
            yield place.quarantined(error, record_id)
            continue
        except Exception as error:  # rows are whatever objects a program has made
            yield place.quarantined(RowError(Reason.UNREADABLE_LINE, one_line(error)), record_id)
            continue
        yield from one_row(fields, limits, place, progress)


# Tables.


def _package(value: object) -> str:
    return type(value).__module__.partition(".")[0]


def _table_label(rows: int) -> str:
    return f"a table of {_count(rows)}"


def _count(rows: int) -> str:
    return f"{rows:,} row{'' if rows == 1 else 's'}"


def _columns(names: Iterable[object], what: str) -> list[str]:
    """Return the columns that are read. Raises `BadInput` where there is no record_id, or a name occurs
    twice."""
    present = [str(name) for name in names]
    if "record_id" not in present:
        shown = ", ".join(sorted(present))[:200] or "no column"
        raise BadInput(f"{what}: has no column `record_id` (it has {shown}); rename or add it")
    if twice := [name for name in FIELDS if present.count(name) > 1]:
        raise BadInput(f"{what}: has the column `{twice[0]}` twice; rename one of them")
    return [name for name in FIELDS if name in present]


def _arrow_rows(table: pa.Table) -> RowSource:
    chosen = table.select(_columns(table.column_names, _table_label(table.num_rows)))

    def rows() -> Iterator[Any]:
        for batch in chosen.to_batches(max_chunksize=BATCH_ROWS):
            yield from batch_fields(batch)

    return rows


def _one_table(batches: Sequence[pa.RecordBatch]) -> pa.Table:
    try:
        return pa.Table.from_batches(batches)
    except pa.ArrowException as error:
        raise BadInput(f"the record batches do not make one table ({one_line(error)})") from None


def _pandas_rows(frame: Any) -> RowSource:
    names = _columns(frame.columns, _table_label(len(frame)))

    def rows() -> Iterator[Any]:
        for start in range(0, len(frame), BATCH_ROWS):
            part = frame.iloc[start : start + BATCH_ROWS]
            for cells in zip(*(list(part[name]) for name in names), strict=True):
                yield dict(zip(names, cells, strict=True))

    return rows


def _data_set_rows(data: Any) -> RowSource:
    """Rows of a `datasets.Dataset`; its images are not decoded on the way."""
    names = _columns(data.column_names, f"a data set of {_count(len(data))}")

    def rows() -> Iterator[Any]:
        for table in data.select_columns(names).with_format("arrow").iter(batch_size=BATCH_ROWS):
            for batch in table.to_batches():
                yield from batch_fields(batch)

    return rows


# Values.


def _mapping(row: object) -> Mapping[str, Any]:
    if isinstance(row, Record):
        return _record_fields(row)
    if not isinstance(row, Mapping):
        raise RowError(Reason.NOT_AN_OBJECT, f"a row is {type(row).__name__}, not a dict")
    return row


def _fields(row: Mapping[str, Any], max_pixels: int) -> dict[str, Any]:
    fields = {name: _plain(row[name], max_pixels) for name in FIELDS if name in row}
    for name in ("responses", "scores"):
        pairs = row.get(name)
        if isinstance(pairs, list):  # an Arrow map: its pairs stay pairs
            fields[name] = [tuple(_plain(p, max_pixels)) if isinstance(p, tuple) else p for p in pairs]
    return fields


def _record_fields(record: Record) -> dict[str, Any]:
    """Return the fields of a record that a program has made: they are checked like any others."""
    return {
        "record_id": record.record_id,
        "base_id": record.base_id,
        "query": record.query,
        "reference": record.reference,
        "references": list(record.other_references),
        "timestamp": record.timestamp,
        "images": [{"image": image.path, "image_bytes": image.data} for image in record.images],
        "history": [{"role": turn.role, "text": turn.text} for turn in record.history],
        "responses": {model: list(answers) for model, answers in record.responses.items()},
        "tags": list(record.tags),
        "scores": dict(record.scores),
        "group": list(record.group),
        "conversation_id": record.conversation_id,
    }


def _plain(value: Any, max_pixels: int) -> Any:
    """A value as a JSON file or a table would have held it."""
    if value is None or isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, np.datetime64):
        return value.astype("datetime64[us]").item()
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, float) and math.isnan(value):
        return None
    if _package(value) == "pandas":
        if type(value).__name__ in _MISSING:
            return None
        if isinstance(value, datetime):
            return value.to_pydatetime(warn=False) if hasattr(value, "to_pydatetime") else value
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime.combine(value, time())
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    if isinstance(value, Pillow.Image):
        return encoded(value, max_pixels)
    if isinstance(value, Mapping):
        return {key: _plain(item, max_pixels) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, max_pixels) for item in value]
    return value


def encoded(image: Pillow.Image, max_pixels: int = MAX_PIXELS) -> bytes:
    """Return a picture as PNG, upright. Raises `RowError`: image_too_large, image_corrupt."""
    if image.width * image.height > max_pixels:
        raise too_many_pixels(image.size, max_pixels)
    out = io.BytesIO()
    try:
        picture = upright(image.copy())  # the picture itself is its owner's
        (picture if picture.mode in _PNG_MODES else rgb(picture)).save(out, "PNG")
    except Exception as error:  # what Pillow's decoders and encoders raise is documented nowhere
        raise RowError(Reason.IMAGE_CORRUPT, f"cannot be kept as PNG ({type(error).__name__})") from None
    return out.getvalue()
