"""This module cuts traffic into windows: one, by time (floored in UTC), or by rows in the order of the
files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from auditor.errors import BadInput, RowError
from auditor.records import Rows
from auditor.records.screen import Place
from schemas.config import WINDOW_LENGTH
from schemas.record import Quarantined, Reason, Record

ALL = "all traffic"
"""Name of the one window, where the traffic is not cut."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True, slots=True)
class Window:
    """A window has a name and, where it is one of time, bounds."""

    name: str
    start: datetime | None = None
    end: datetime | None = None
    """The first moment that is no longer in it."""


Splitter = Callable[[Record], Window]
"""Tells the window of each record; to be asked once a record, in their order."""


def window_length(text: str) -> timedelta:
    """Return `30m`, `6h`, `1d` or `2w` as a length of time. Raises `BadInput` for anything else."""
    match = WINDOW_LENGTH.fullmatch(text.strip())
    if match is None:
        raise BadInput(f"window: {text!r} is no length of time; write a number and m, h, d or w, e.g. 1d")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def one_window(name: str = ALL) -> Splitter:
    """Put any record into one window."""
    window = Window(name)
    return lambda record: window


def window_at(moment: datetime, length: timedelta) -> Window:
    """Return the window of `length` that holds a moment, counted from 1970-01-01 UTC: days begin at midnight
    UTC, weeks on Thursdays."""
    start = _EPOCH + (moment - _EPOCH) // length * length
    try:
        return Window(start.isoformat(), start, start + length)
    except OverflowError:  # the last window of year 9999
        return Window(start.isoformat(), start, datetime.max.replace(tzinfo=UTC))


def by_time(length: timedelta) -> Splitter:
    """Return the rule that cuts records into windows of `length` (see `window_at`).

    Every record must have a timestamp (see `timed`).
    """

    def place(record: Record) -> Window:
        if record.timestamp is None:
            raise ValueError(f"record {record.record_id} has no timestamp")
        return window_at(record.timestamp, length)

    return place


def by_rows(size: int, total: int) -> Splitter:
    """Return the rule that cuts records into windows of `size` records in the order they come, of `total` in
    all; the last one may be shorter."""
    position = -1

    def place(record: Record) -> Window:
        nonlocal position
        position += 1
        return _window_of_rows(position, size, total)

    return place


def _window_of_rows(position: int, size: int, total: int) -> Window:
    first = position // size * size
    return Window(f"rows {first}-{min(first + size, total) - 1}")


Placer = Callable[[Quarantined], Window | None]
"""Tells the window that a quarantined row would have been in; None where nobody knows."""


def placer(length: timedelta | None, size: int | None, total: int) -> Placer:
    """Return the rule for quarantined rows that goes with `by_time(length)`, `by_rows(size, total)` or, where
    both are None, with `one_window()`: by their moment, or by how many records came before them."""
    if length is not None:
        return lambda row: None if row.timestamp is None else window_at(row.timestamp, length)
    if size is not None and total:
        return lambda row: _window_of_rows(min(row.position, total - 1), size, total)
    return lambda row: Window(ALL)


def timed(rows: Rows) -> Rows:
    """Yield the rows, those without a timestamp quarantined: windows of time have no place for them."""

    def sifted() -> Iterator[Record | Quarantined]:
        error = RowError(Reason.BAD_TIMESTAMP, "no timestamp, and the windows are by time")
        for row in rows:
            if isinstance(row, Record) and row.timestamp is None:
                place = Place(rows.progress.source, rows.progress.row)
                yield place.quarantined(error, row.record_id)
            else:
                yield row

    return Rows(sifted(), rows.progress)


def gaps(windows: Sequence[Window]) -> list[tuple[datetime, datetime, int]]:
    """Return where windows of time between the first and the last of `windows` are missing: the first moment
    of each gap, the first one after it, and how many windows it is long."""
    starts = sorted({w.start for w in windows if w.start is not None})
    lengths = [w.end - w.start for w in windows if w.start is not None and w.end is not None]
    if not lengths:
        return []
    length = max(lengths)
    found = []
    for before, after in pairwise(starts):
        if (missing := (after - before) // length - 1) > 0:
            found.append((before + length, after, missing))
    return found
