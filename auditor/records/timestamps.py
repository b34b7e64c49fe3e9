"""A moment is read in whatever way logs write it: ISO 8601, RFC 2822, as access logs do, or as seconds,
milli-, micro- or nanoseconds since 1970. What could mean two days (`06/01/2025`, `2025-06`) is no moment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal, InvalidOperation
from email.utils import parsedate_to_datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

NAIVE = "taken as UTC, since it had no zone"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = ("seconds", "milliseconds", "microseconds", "nanoseconds")
_FIRST, _LAST = 10**8, 7_258_118_400
"""Seconds since 1970 that are taken as such: from March 1973 to the end of 2199. The four units do not
overlap there, and neither does any of them with a date written as a number (20250601, 20250601120000)."""
_MOST_CHARS = 100
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d{1,2})?")
_COMPACT = re.compile(r"(\d{4})(\d\d)(\d\d)(?:(\d\d)(\d\d)(\d\d))?")
_ISO = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d|\d{4}\d\d\d\d|\d{4}-?W\d\d-?[1-7]|\d{4}-\d{3})"
    r"(?:[Tt_ ]\s*(?P<clock>\d\d(?::?\d\d(?::?\d\d(?:[.,]\d+)?)?)?)"
    r"\s*(?P<offset>[Zz]|[+-]\d\d(?::?\d\d(?::?\d\d)?)?)?)?"
    r"\s*(?P<utc>UTC|GMT|Z)?(?:\s*\[(?P<zone>[A-Za-z0-9_+/-]+)\])?",
)
_USUAL = re.compile(r"\d{4}-\d\d-\d\d[T ]([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d+)?(Z|[+-]\d\d:\d\d)?", re.ASCII)
_ORDINAL = re.compile(r"(\d{4})-(\d{3})")
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_MAIL = re.compile(
    r"((mon|tue|wed|thu|fri|sat|sun)[a-z]*,?\s+)?\d{1,2}[ -](" + "|".join(_MONTHS) + r")[a-z]*[ -]\d{4}\s+"
    r"\d\d?:\d\d(:\d\d)?\s*([+-]\d{4}|[A-Z]{1,4})(\s*\([^()]*\))?",
    re.IGNORECASE,
)
_LOG = re.compile(r"\[?(\d\d)/([A-Za-z]{3})/(\d{4}):(\d\d):(\d\d):(\d\d)\s+([+-]\d{4})\]?")


class Moment(NamedTuple):
    """A `Moment` is a timestamp in UTC, and in which other ways than ISO 8601 with a zone it was read."""

    moment: datetime
    kinds: tuple[str, ...] = ()
    """Each goes on from "the timestamp was ...", such as `NAIVE`."""


def moment(value: object) -> Moment:
    """Return the moment of a `datetime`, a number, a text, or MongoDB's and Firestore's objects. Raises
    ValueError for what is none, or could be two."""
    try:
        return _moment(value)
    except (OverflowError, InvalidOperation):  # beyond the years that a calendar has
        raise ValueError("beyond the calendar") from None


def _moment(value: object) -> Moment:
    match value:
        case datetime():
            return _in_utc(value)
        case bool():
            raise ValueError("a boolean")
        case int() | float() | Decimal():
            return _number(Decimal(value) if isinstance(value, int) else Decimal(str(value)))
        case str():
            return _text(value.strip())
        case Mapping():
            return _object(value)
    raise ValueError("no moment")


def _in_utc(when: datetime, *kinds: str) -> Moment:
    if when.tzinfo is None:
        return Moment(when.replace(tzinfo=UTC), (*kinds, NAIVE))
    return Moment(when.astimezone(UTC), kinds)


def _number(value: Decimal) -> Moment:
    if value.is_finite():
        for power, unit in enumerate(_UNITS):
            if _FIRST <= value / 1000**power < _LAST:
                return Moment(_since_epoch(value, power), (f"read as epoch {unit}",))
        if value == value.to_integral_value() and (compact := _COMPACT.fullmatch(format(value, "f"))):
            return _in_utc(_calendar(compact), "read as a date of digits")
    raise ValueError("a number that is no time since 1970")


def _since_epoch(value: Decimal, power: int) -> datetime:
    microseconds = value * 1000**2 / 1000**power
    return _EPOCH + timedelta(microseconds=int(microseconds // 1))


def _calendar(digits: re.Match[str]) -> datetime:
    year, month, day, hour, minute, second = (int(group) for group in digits.groups(default="0"))
    if not 1900 <= year < 2200:
        raise ValueError("a number that is no date")
    return datetime(year, month, day, hour, minute, second)


def _text(text: str) -> Moment:
    if len(text) > _MOST_CHARS or not text.isascii():
        raise ValueError("a text that is no moment")
    if _USUAL.fullmatch(text):
        return _in_utc(datetime.fromisoformat(text))
    if compact := _COMPACT.fullmatch(text):
        when = _calendar(compact)
        return _in_utc(when) if compact[4] is None else _in_utc(when, "read as a date of digits")
    if _NUMBER.fullmatch(text):
        return _number(Decimal(text))
    if iso := _ISO.fullmatch(text):
        return _iso(iso)
    if log := _LOG.fullmatch(text):
        day, month, year, hour, minute, second, offset = log.groups()
        number = _MONTHS.index(month.lower()) + 1
        iso_text = f"{year}-{number:02}-{day}T{hour}:{minute}:{second}{offset}"
        return _in_utc(datetime.fromisoformat(iso_text), "read as the time of an access log")
    if _MAIL.fullmatch(text):
        return _in_utc(parsedate_to_datetime(text), "read as RFC 2822")
    raise ValueError("a text that is no moment")


def _iso(match: re.Match[str]) -> Moment:
    kinds: list[str] = []
    day = match["day"]
    if ordinal := _ORDINAL.fullmatch(day):
        when = datetime(int(ordinal[1]), 1, 1) + timedelta(days=int(ordinal[2]) - 1)
        if when.year != int(ordinal[1]) or ordinal[2] == "000":
            raise ValueError("no such day")
        day = when.date().isoformat()
    clock, later = match["clock"] or "00", timedelta()
    digits = clock.replace(":", "").replace(",", ".")
    whole, _, fraction = digits.partition(".")
    if whole[:2] == "24":
        if whole[2:].strip("0") or fraction.strip("0"):
            raise ValueError("no such hour")
        digits, later = "00", timedelta(days=1)
        kinds.append("read as the midnight that ends its day (24:00)")
    elif whole[4:] == "60":
        if whole[2:4] not in ("59", "29", "14", "44"):  # leap seconds end an hour of UTC
            raise ValueError("no such second")
        digits = f"{whole[:4]}59"
        kinds.append("read as the second before, since it was a leap second")
    date = datetime.fromisoformat(day)
    whole, _, fraction = digits.partition(".")
    hour, minute, second = (int(whole.ljust(6, "0")[i : i + 2]) for i in (0, 2, 4))
    when = date.replace(hour=hour, minute=minute, second=second, microsecond=int(fraction[:6].ljust(6, "0")))
    when += later
    zone = _zone(match)
    if zone is not None:
        when = when.replace(tzinfo=zone)
        if isinstance(zone, ZoneInfo) and when.utcoffset() != when.replace(fold=1).utcoffset():
            raise ValueError("an hour that its zone has twice, or never")
    return _in_utc(when, *kinds)


def _zone(match: re.Match[str]) -> tzinfo | None:
    offset = match["offset"]
    if offset and offset not in "Zz":
        return datetime.fromisoformat(f"2000-01-01T00:00{offset}").tzinfo
    if offset or match["utc"]:
        return UTC
    if match["zone"] is None:
        return None
    try:
        return ZoneInfo(match["zone"])
    except Exception:  # an unknown key, a path that leaves the data base, or no data base here
        raise ValueError("of a zone that is not known here") from None


def _object(value: Mapping[str, object]) -> Moment:
    if set(value) == {"$date"}:
        inner = value["$date"]
        if isinstance(inner, Mapping) and set(inner) == {"$numberLong"}:
            inner = Decimal(str(inner["$numberLong"]))
        if isinstance(inner, int | float | Decimal) and not isinstance(inner, bool):
            return Moment(_since_epoch(Decimal(str(inner)), 1), ("read as MongoDB's `$date`",))
        found = moment(inner)
        return Moment(found.moment, ("read as MongoDB's `$date`", *found.kinds))
    names = {str(name).lstrip("_"): part for name, part in value.items()}
    if set(names) <= {"seconds", "nanos", "nanoseconds"} and "seconds" in names:
        seconds = Decimal(str(names["seconds"]))
        nanos = Decimal(str(names.get("nanos", names.get("nanoseconds")) or 0))
        if seconds.is_finite() and nanos.is_finite():
            when = _since_epoch(seconds + nanos / 10**9, 0)
            return Moment(when, ("read from seconds and nanoseconds",))
    raise ValueError("an object that is no moment")
