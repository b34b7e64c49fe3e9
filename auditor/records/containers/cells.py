"""The cells of an Arrow table become Python values: moments to the microsecond, what Python cannot hold an
`Unreadable`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pyarrow as pa

from auditor.records.sources import why
from auditor.records.values import Unreadable

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def wanted(names: Sequence[str], columns: tuple[str, ...] | None) -> list[str]:
    """Return which columns of a table with these names are read: of `columns` those that are there. A table
    without the first of `columns`, the row's id, is of another format: all its columns are read."""
    if columns is None or columns[0] not in names:
        return list(names)
    return [name for name in columns if name in names]


def batch_fields(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """Yield the rows of a batch, each as a field's name -> its value, or an `Unreadable`."""
    columns = {name: _values(batch.column(i)) for i, name in enumerate(batch.schema.names)}
    for row in range(batch.num_rows):
        yield {name: cells[row] for name, cells in columns.items()}


def _values(column: pa.Array) -> list[Any]:
    """The column's values; a value that Python cannot hold becomes an `Unreadable`."""
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("s" if column.type == pa.date32() else "ms"))
    if pa.types.is_timestamp(column.type):
        return _moments(column)
    try:
        return cast(list[Any], column.to_pylist())
    except (ValueError, OverflowError, pa.ArrowException):  # such as a text that is not UTF-8
        return [_value(column, i) for i in range(len(column))]


def _value(column: pa.Array, i: int) -> Any:
    try:
        return column[i].as_py()
    except UnicodeDecodeError as error:
        return Unreadable(f"not UTF-8 at byte {error.start}")
    except (ValueError, OverflowError, pa.ArrowException) as error:
        return Unreadable(why(error))


def _moments(column: pa.Array) -> list[datetime | Unreadable | None]:
    """Moments to the microsecond; one beyond Python's years is an `Unreadable`."""
    unit = _PER_SECOND[column.type.unit]
    zone = _EPOCH if column.type.tz is not None else _EPOCH.replace(tzinfo=None)
    moments: list[datetime | Unreadable | None] = []
    for value in column.cast(pa.int64()).to_pylist():
        try:
            moments.append(value if value is None else zone + timedelta(microseconds=value * 10**6 // unit))
        except OverflowError:
            moments.append(Unreadable("a moment beyond the calendar"))
    return moments
