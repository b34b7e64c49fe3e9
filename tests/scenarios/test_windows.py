"""Windows: one, by the clock of a zone, by rows."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.errors import BadInput
from auditor.records import Quarantine, admit, read_many
from auditor.scenarios.windows import (
    Clock,
    by_rows,
    by_time,
    gaps,
    one_window,
    placer,
    timed,
    window_length,
)
from schemas.record import Quarantined, Reason, Record


def at(text):
    return Record(text, text, query="q", timestamp=datetime.fromisoformat(text).astimezone(UTC))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("30m", timedelta(minutes=30)), ("6h", timedelta(hours=6)), ("1d", timedelta(1)), ("2w", timedelta(14))],
)
def test_lengths(text, expected):
    assert window_length(text) == expected


@pytest.mark.parametrize("text", ["", "1", "d", "0d", "1.5h", "-1d", "1 day", "1y", "999999d"])
def test_what_is_no_length_is_refused(text):
    with pytest.raises(BadInput, match=r"window: .* is no length of time; .* e\.g\. 1d"):
        window_length(text)


@pytest.mark.parametrize(
    ("length", "moment", "start"),
    [
        ("1d", "2026-03-02T23:59:59.999999+00:00", "2026-03-02T00:00:00+00:00"),
        ("1d", "2026-03-03T00:30:00+01:00", "2026-03-02T00:00:00+00:00"),  # still the 2nd in UTC
        ("6h", "2026-03-02T17:59:00+00:00", "2026-03-02T12:00:00+00:00"),
        ("30m", "2026-03-02T17:30:00+00:00", "2026-03-02T17:30:00+00:00"),
        ("1d", "1969-12-31T01:00:00+00:00", "1969-12-31T00:00:00+00:00"),
    ],
)
def test_time_is_floored_in_utc(length, moment, start):
    window = by_time(Clock(window_length(length)))(at(moment))
    assert window.start.isoformat() == start
    assert window.start <= at(moment).timestamp < window.end == window.start + window_length(length)


@pytest.mark.parametrize(
    "length, offset, moment, start",
    [
        ("1w", "0", "2026-03-08T23:59:00+00:00", "2026-03-02T00:00:00+00:00"),  # weeks begin on Mondays
        ("7d", "0", "2026-03-09T00:00:00+00:00", "2026-03-09T00:00:00+00:00"),
        ("1d", "6h", "2026-03-03T05:59:00+00:00", "2026-03-02T06:00:00+00:00"),
        ("1w", "1d", "2026-03-02T12:00:00+00:00", "2026-02-24T00:00:00+00:00"),  # from Tuesdays on
    ],
)
def test_weeks_begin_on_mondays_and_an_offset_moves_all_windows(length, offset, moment, start):
    later = timedelta() if offset == "0" else window_length(offset)
    assert by_time(Clock(window_length(length), UTC, later))(at(moment)).start.isoformat() == start


@pytest.mark.parametrize(
    "length, offset, name",
    [
        ("1d", 0, "2026-03-04"),
        ("24h", 0, "2026-03-04"),
        ("1w", 0, "2026-03-02 to 2026-03-08"),
        ("6h", 0, "2026-03-04 12:00"),
        ("1d", 6, "2026-03-04 06:00"),
    ],
)
def test_windows_have_the_names_that_people_write(length, offset, name):
    split = by_time(Clock(window_length(length), UTC, timedelta(hours=offset)))
    assert split(at("2026-03-04T14:00:00+00:00")).name == name


def test_days_are_those_of_the_clock_in_a_zone():
    split = by_time(Clock(window_length("1d"), ZoneInfo("Europe/Berlin")))
    summer = split(at("2026-06-01T22:30:00+00:00"))
    assert summer.name == "2026-06-02" and summer.start.isoformat() == "2026-06-02T00:00:00+02:00"
    begins, ends = at("2026-03-28T23:00:00+00:00"), at("2026-03-29T21:59:59+00:00")  # a day of 23 hours
    assert split(begins) == split(ends) and split(begins).start.isoformat() == "2026-03-29T00:00:00+01:00"
    assert split(at("2026-03-29T22:00:00+00:00")).start.isoformat() == "2026-03-30T00:00:00+02:00"


def test_an_hour_that_comes_twice_is_one_window():
    split = by_time(Clock(window_length("1h"), ZoneInfo("Europe/Berlin")))
    first, second = split(at("2026-10-25T00:30:00+00:00")), split(at("2026-10-25T01:30:00+00:00"))
    assert first == second and first.name == "2026-10-25 02:00"
    assert first.end.astimezone(UTC) - first.start.astimezone(UTC) == timedelta(hours=2)


@given(
    st.datetimes(datetime(1960, 1, 1), datetime(2040, 1, 1)), st.sampled_from(["30m", "1h", "6h", "1d", "1w"])
)
def test_every_moment_lies_in_its_window(moment, length):
    zone = ZoneInfo("America/New_York")
    record = Record("a", "a", query="q", timestamp=moment.replace(tzinfo=UTC))
    window = by_time(Clock(window_length(length), zone, timedelta(hours=3)))(record)
    start, end = window.start.astimezone(UTC), window.end.astimezone(UTC)
    assert start <= record.timestamp < end


def test_rows_in_their_order_and_a_short_last_window():
    split = by_rows(3, 7)
    names = [split(Record(str(i), str(i), query="q")).name for i in range(7)]
    assert names == ["rows 0-2"] * 3 + ["rows 3-5"] * 3 + ["rows 6-6"]


def test_one_window_needs_no_timestamp():
    split = one_window()
    assert split(Record("a", "a", query="q")) == split(at("2026-03-02T00:00:00+00:00"))


def test_rows_without_a_timestamp_are_set_aside_where_they_stood(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = [{"record_id": str(i), "query": "q", "timestamp": "2026-03-02T00:00:00"} for i in range(4)]
    del rows[2]["timestamp"]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    quarantine = Quarantine()
    kept = list(quarantine.sift(admit(timed(read_many(path)), None)))
    assert [r.record_id for r in kept] == ["0", "1", "3"]
    (aside,) = quarantine
    assert (aside.reason, aside.row, aside.record_id) == ("bad_timestamp", 3, "2")
    assert aside.source.endswith("rows.jsonl") and "no timestamp" in aside.detail


def test_empty_windows_between_are_counted():
    split = by_time(Clock(window_length("1d")))
    days = [split(at(f"2026-03-0{day}T05:00:00+00:00")) for day in (5, 1, 2)]
    (gap,) = gaps(days)
    assert (gap[0].isoformat()[:10], gap[1].isoformat()[:10], gap[2]) == ("2026-03-03", "2026-03-05", 2)
    assert gaps(days[1:]) == gaps([]) == []
    assert gaps([one_window()(at("2026-03-01T00:00:00+00:00"))]) == []


def test_quarantined_rows_lie_where_their_moment_or_their_place_says():
    moment = at("2026-03-05T05:00:00+00:00").timestamp
    timed_row = Quarantined("f", 1, Reason.IMAGE_CORRUPT, timestamp=moment, position=7)
    bare = Quarantined("f", 1, Reason.MISSING_ID, position=7)
    by_day = placer(Clock(window_length("1d")), None, 8)
    window = by_day(timed_row)
    assert (
        window == by_time(Clock(window_length("1d")))(at("2026-03-05T23:00:00+00:00"))
        and by_day(bare) is None
    )
    by_number = by_rows(3, 8)
    cut = [by_number(Record(str(i), str(i))) for i in range(8)]
    of_rows = placer(None, 3, 8)
    assert [of_rows(replace(bare, position=i)) for i in range(8)] == cut
    assert of_rows(replace(bare, position=8)) == cut[-1]  # after the last record
    assert placer(None, None, 8)(bare) == one_window()(Record("a", "a"))


def test_an_hour_that_the_clock_skips_is_no_gap():
    split = by_time(Clock(window_length("1h"), ZoneInfo("Europe/Berlin")))
    hours = [split(at(f"2026-03-29T{hour:02d}:10:00+00:00")) for hour in (0, 1, 3)]
    assert [length for _, _, length in gaps(hours)] == [1]  # 02:00 is skipped, 04:00 is missing


@pytest.mark.parametrize("length", ["1d", "1w", "6h", "30m"])
def test_a_window_is_found_by_its_name(length):
    clock = Clock(window_length(length), ZoneInfo("Europe/Berlin"), timedelta(hours=2))
    window = clock.window(datetime(2026, 5, 6, 7, 8, tzinfo=UTC))
    assert clock.named(window.name) == window
