"""Moments: what logs write is read as the moment it says, by its magnitude where it is a number, and what
could be two moments is none."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.records.timestamps import NAIVE, moment

NOON = datetime(2024, 2, 29, 12, 30, 15, tzinfo=UTC)
CASES: list[tuple[Any, datetime, str]] = [
    ("2024-02-29T12:30:15Z", NOON, ""),
    ("2024-02-29t12:30:15z", NOON, ""),
    ("2024-02-29 12:30:15+00:00", NOON, ""),
    ("2024-02-29 12:30:15 +0000 UTC", NOON, ""),
    ("2024-02-29T18:00:15+0530", NOON, ""),
    ("2024-02-29T07:30:15 -05", NOON, ""),
    ("20240229T123015Z", NOON, ""),
    ("2024-060T12:30:15Z", NOON, ""),
    ("2024-W09-4T12:30:15Z", NOON, ""),
    ("2024-02-29 12:30:15 GMT", NOON, ""),
    ("2024-02-29T13:30:15+01:00[Europe/Paris]", NOON, ""),
    ("2024-02-29T13:30:15[Europe/Paris]", NOON, ""),
    ("2024-02-29T12:30:15,25Z", NOON + timedelta(seconds=0.25), ""),
    ("2024-02-29T12:30:15.123456789Z", NOON + timedelta(microseconds=123456), ""),
    ("2024-02-29T12:30:15", NOON, NAIVE),
    ("20240229123015", NOON, "date of digits"),
    (20240229123015, NOON, "date of digits"),
    ("2024-02-28T24:00:00Z", datetime(2024, 2, 29, tzinfo=UTC), "24:00"),
    ("2024-02-28T24:00Z", datetime(2024, 2, 29, tzinfo=UTC), "24:00"),
    ("2015-06-30T23:59:60Z", datetime(2015, 6, 30, 23, 59, 59, tzinfo=UTC), "leap second"),
    ("Thu, 29 Feb 2024 12:30:15 GMT", NOON, "RFC 2822"),
    ("29 Feb 2024 14:30:15 +0200", NOON, "RFC 2822"),
    ("Thursday, 29-Feb-2024 12:30:15 GMT", NOON, "RFC 2822"),
    ("[29/Feb/2024:14:30:15 +0200]", NOON, "access log"),
    ({"$date": "2024-02-29T12:30:15Z"}, NOON, "$date"),
    ({"$date": 1709209815000}, NOON, "$date"),
    ({"$date": {"$numberLong": "1709209815000"}}, NOON, "$date"),
    ({"$date": {"$numberLong": "-1000"}}, datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC), "$date"),
    ({"seconds": 1709209815, "nanos": 500_000_000}, NOON + timedelta(seconds=0.5), "nanoseconds"),
    (Decimal("1709209815.000"), NOON, "epoch seconds"),
    ("1709209815", NOON, "epoch seconds"),
    ("1.709209815e9", NOON, "epoch seconds"),
    (1709209815.5, NOON + timedelta(seconds=0.5), "epoch seconds"),
    (datetime(2024, 2, 29, 13, 30, 15, tzinfo=timezone(timedelta(hours=1))), NOON, ""),
]


@pytest.mark.parametrize(("written", "when", "said"), CASES, ids=str)
def test_what_logs_write(written: Any, when: datetime, said: str) -> None:
    found = moment(written)
    assert found.moment == when and found.moment.tzinfo is UTC
    assert (said in " ".join(found.kinds)) if said else not found.kinds


@pytest.mark.parametrize(
    "written",
    [
        "yesterday",
        "03/04/2024 12:00",
        "03.04.2024",
        "2024",
        2024,
        "2024-02",
        "2024-W09",
        "2024-02-30",
        "2023-02-29T00:00:00Z",
        "2024-02-29T25:00:00Z",
        "2024-02-29T24:00:01Z",
        "2024-02-29T12:30:60Z",
        "2024-02-29T12:61:00Z",
        "2024-000",
        "2023-366",
        "2024-02-29T12:00:00 CEST",
        "2024-02-29T12:00:00[Nowhere/Land]",
        "2024-02-29T12:00:00[../../etc/passwd]",
        "2024-10-27T02:30:00[Europe/Paris]",  # twice that night
        "0001-01-01T00:00+14:00",
        "9999-12-31T24:00:00Z",
        "٢٠٢٤-٠٢-٢٩",
        0,
        1,
        -1709209815,
        10**30,
        float("nan"),
        float("inf"),
        "1e99",
        Decimal("NaN"),
        Decimal("1e999999"),
        True,
        b"2024-02-29",
        [2024, 2, 29],
        {},
        {"$date": {}},
        {"$date": None},
        {"seconds": None},
        {"seconds": "soon"},
        {"seconds": 1e30},
        "1" * 5000,
        "Thu, 99 Feb 2024 12:30:15 GMT",
        "29/Fff/2024:12:30:15 +0000",
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_no_moment(written: Any) -> None:
    with pytest.raises(ValueError):
        moment(written)


SINCE_1973 = st.datetimes(datetime(1973, 4, 1), datetime(2199, 12, 31), timezones=st.just(UTC))
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
UNITS = {"seconds": 10**6, "milliseconds": 10**3, "microseconds": 1}


@given(when=SINCE_1973, unit=st.sampled_from([*UNITS, "nanoseconds"]), text=st.booleans())
def test_epochs_are_told_by_their_magnitude(when: datetime, unit: str, text: bool) -> None:
    microseconds = (when - EPOCH) // timedelta(microseconds=1)
    if unit == "nanoseconds":
        number, kept = microseconds * 1000 + 7, microseconds
    else:
        number, kept = microseconds // UNITS[unit], microseconds // UNITS[unit] * UNITS[unit]
    found = moment(str(number) if text else number)
    assert found.moment == EPOCH + timedelta(microseconds=kept)
    assert found.kinds == (f"read as epoch {unit}",)


@given(when=SINCE_1973, hours=st.integers(-23, 23))
def test_iso_and_decimal_seconds_go_there_and_back(when: datetime, hours: int) -> None:
    elsewhere = when.astimezone(timezone(timedelta(hours=hours)))
    assert moment(elsewhere.isoformat()).moment == moment(elsewhere).moment == when
    assert moment(elsewhere.isoformat(" ") + "[Asia/Tokyo]").moment == when
    exact = Decimal((when - EPOCH) // timedelta(microseconds=1)) / 10**6
    assert moment(exact).moment == moment(str(exact)).moment == when


@given(st.text(max_size=40) | st.from_regex(r"[0-9:TZ+. -]{0,30}", fullmatch=True))
def test_any_text_is_a_moment_or_an_error(text: str) -> None:
    with suppress(ValueError):
        assert moment(text).moment.tzinfo is UTC
