"""This module cuts traffic into windows: one, by the clock of a zone, or by rows in the order of the
files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from itertools import pairwise
from zoneinfo import ZoneInfo

from auditor.errors import BadInput, RowError
from auditor.records import Rows
from auditor.records.screen import Place
from schemas.config import WINDOW_LENGTH, WindowedConfig
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


@dataclass(frozen=True, slots=True)
class Clock:
    """A clock cuts time into windows of `length`, as it runs in `zone`: days begin at midnight, weeks on
    Mondays, and all of them `offset` later.

    Where it is put back, the hour that comes twice is in one window; where it is put forward, a window is
    shorter.
    """

    length: timedelta
    zone: tzinfo = UTC
    offset: timedelta = timedelta()

    def window(self, moment: datetime) -> Window:
        """Return the window that holds a moment."""
        clock = moment.astimezone(self.zone).replace(tzinfo=None)
        start = _MONDAY + (clock - self.offset - _MONDAY) // self.length * self.length + self.offset
        try:
            end = start + self.length
        except OverflowError:  # the last window of year 9999
            end = datetime.max
        return Window(_name(start, end), start.replace(tzinfo=self.zone), end.replace(tzinfo=self.zone))

    def named(self, name: str) -> Window:
        """Return the window of that name."""
        return self.window(datetime.fromisoformat(name.partition(" to ")[0]).replace(tzinfo=self.zone))


def _name(start: datetime, end: datetime) -> str:
    """Return the name of a window as people write it: a day by its date, several days by the first and the
    last one, others by the moment at which they begin."""
    if start.time() != time() or (end - start) % _DAY:
        return start.strftime("%Y-%m-%d %H:%M")
    first, last = start.date(), end.date() - _DAY
    return str(first) if last == first else f"{first} to {last}"


def cut(config: WindowedConfig) -> tuple[Clock | None, int | None]:
    """Return how a config cuts records into windows: by a clock, or by rows."""
    if config.window is None:
        return None, config.window_rows
    offset = window_length(config.window_offset) if config.window_offset else timedelta()
    return Clock(window_length(config.window), ZoneInfo(config.timezone), offset), None


def by_time(clock: Clock) -> Splitter:
    """Return the rule that cuts records into the windows of a clock. Every record must have a timestamp (see
    `timed`)."""

    def place(record: Record) -> Window:
        if record.timestamp is None:
            raise ValueError(f"record {record.record_id} has no timestamp")
        return clock.window(record.timestamp)

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


def placer(clock: Clock | None, size: int | None, total: int) -> Placer:
    """Return the rule for quarantined rows that goes with `by_time(clock)`, `by_rows(size, total)` or, where
    both are None, with `one_window()`: by their moment, or by how many records came before them."""
    if clock is not None:
        return lambda row: None if row.timestamp is None else clock.window(row.timestamp)
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


def _put_forward(begin: datetime, end: datetime) -> bool:
    """Return whether there is no time from `begin` to `end`, since the clock is put forward there."""
    return begin.astimezone(UTC) >= end.astimezone(UTC)


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
        if (missing := (after - before) // length - 1) > 0 and not _put_forward(before + length, after):
            found.append((before + length, after, missing))
    return found
