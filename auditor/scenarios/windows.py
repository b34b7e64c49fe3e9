"""This module cuts traffic into windows: one, by the clock of a zone, or by rows in the order of the
files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo

from auditor.errors import BadInput, RowError
from auditor.records import Rows
from auditor.records.screen import Place
from schemas.config import WINDOW_LENGTH
from schemas.record import Quarantined, Reason, Record

ALL = "all traffic"
"""Name of the one window, where the traffic is not cut."""

_MONDAY = datetime(1970, 1, 5)
_DAY = timedelta(days=1)
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


def by_time(length: timedelta, zone: tzinfo = UTC, offset: timedelta = timedelta()) -> Splitter:
    """Return the rule that cuts records into windows of `length` by the clock of `zone`: days begin at
    midnight, weeks on Mondays, and all of them `offset` later where it is given.

    Where a clock is put back, the hour that comes twice is in one window; where it is put forward, a window
    is shorter. Every record must have a timestamp (see `timed`).
    """

    def place(record: Record) -> Window:
        if record.timestamp is None:
            raise ValueError(f"record {record.record_id} has no timestamp")
        clock = record.timestamp.astimezone(zone).replace(tzinfo=None)
        start = _MONDAY + (clock - offset - _MONDAY) // length * length + offset
        first, end = (moment.replace(tzinfo=zone) for moment in (start, start + length))
        return Window(_name(start, length), first, end)

    return place


def _name(start: datetime, length: timedelta) -> str:
    """Return the name of a window as people write it: a day by its date, several days by the first and the
    last one, others by the moment at which they begin."""
    if start.time() != time() or length % _DAY:
        return start.strftime("%Y-%m-%d %H:%M")
    last = start + length - _DAY
    return str(start.date()) if last == start else f"{start.date()} to {last.date()}"


def by_rows(size: int, total: int) -> Splitter:
    """Return the rule that cuts records into windows of `size` records in the order they come, of `total` in
    all; the last one may be shorter."""
    position = -1

    def place(record: Record) -> Window:
        nonlocal position
        position += 1
        first = position // size * size
        return Window(f"rows {first}-{min(first + size, total) - 1}")

    return place


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


def gaps(windows: Sequence[Window]) -> int:
    """Count how many windows of time between the first and the last of `windows` hold no row: a feed that
    broke."""
    starts = sorted(w.start for w in windows if w.start is not None)
    lengths = [w.end - w.start for w in windows if w.start is not None and w.end is not None]
    if not starts or not lengths:
        return 0
    return (starts[-1] - starts[0]) // lengths[0] + 1 - len(starts)
