"""What is missing of a whole feed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from auditor.measures.contents import Contents
from auditor.measures.feed import Arrived, Usual, of_files, of_formats, of_gaps, of_windows, phrase
from auditor.records import FileRows
from auditor.scenarios.windows import ALL, Clock, Window

DAY = timedelta(days=1)
FIRST = datetime(2026, 4, 1, tzinfo=UTC)
USUAL = Usual((), frozenset(), 0.0, 1.0, 20)


def day(number: int, rows: int = 40, marks: tuple[str, ...] = (), repeated: float = 0.0) -> Arrived:
    window = Clock(DAY).window(FIRST + number * DAY)
    return Arrived(window, phrase(window), rows, Contents(rows=rows, marks=marks, repeated=repeated))


def marks(name: str, count: int = 40) -> tuple[str, ...]:
    return tuple(sorted(f"{name}{i:03d}" for i in range(count)))


def told(windows: list[Arrived], usual: Usual = USUAL) -> dict[str, list[tuple[str, str, str]]]:
    found = of_windows(windows, usual)
    return {w.name[:10]: [(f.kind, f.status, f.because) for f in fs] for w, fs in found.items() if fs}


def test_windows_are_named_as_people_name_them() -> None:
    assert phrase(Clock(DAY).window(FIRST)) == "On 2026-04-01"
    hour = Clock(timedelta(hours=1)).window(FIRST + timedelta(hours=14))
    assert phrase(hour) == "In the window from 2026-04-01 14:00"
    assert phrase(Window(ALL)) == "In all traffic" and phrase(Window("rows 0-9")) == "In rows 0-9"


def test_files() -> None:
    files = [
        FileRows("good", 40),
        FileRows("half", 40, {"image_corrupt": 20}),
        FileRows("none", 40, {"bad_timestamp": 40}),
        FileRows("again", 40, {"duplicate_id": 40}),
        FileRows("empty", 0),
        FileRows("cut", 40, {"unreadable_line": 1}, broken=True),
        FileRows("short", 2, {"image_corrupt": 1}),
    ]
    found = {f.where: (f.status, f.because) for f in of_files(files, 0.2)}
    assert found == {
        "half": ("warn", "20 of 40 rows of half were left out (image_corrupt 20)"),
        "none": ("fail", "nothing of none was usable: 40 rows (bad_timestamp 40)"),
        "again": ("warn", "all 40 rows of again are repeats of others"),
        "empty": ("warn", "empty holds no rows"),
        "cut": ("warn", "the last of 40 rows of cut cannot be read: it may have been cut off"),
    }


def test_a_file_of_another_format() -> None:
    files = [FileRows(str(i), 4, format="records") for i in range(8)]
    assert of_formats(files) == of_formats([]) == []
    odd = FileRows("odd", 4, format="langfuse")
    assert [f.because for f in of_formats([*files, odd])] == [
        "odd was read as langfuse, 8 other files were read as records"
    ]
    assert of_formats([*files, odd, odd, odd]) == []  # of two kinds by intention


def test_days_without_rows() -> None:
    windows = [day(i) for i in (0, 1, 3, 4, 8)]
    assert [f.because for f in of_gaps(windows, [])] == [
        "no rows came for 2026-04-03, between others that have some",
        "no rows came for 2026-04-06 to 2026-04-08 (3 windows), between others that have some",
    ]
    weekends = [Clock(DAY).window(FIRST + i * DAY) for i in (-7, -6, -3)]
    assert [f.where[:10] for f in of_gaps(windows, weekends)] == ["2026-04-06"]
    assert of_gaps([day(0)], []) == of_gaps([], []) == []


def test_another_clock() -> None:
    """Far windows are named for that; the time between is no gap."""
    windows = [day(-20_000), *(day(i) for i in range(6)), day(9_000)]
    found = told(windows)
    assert {name: kinds[0][0] for name, kinds in found.items()} == {
        "1971-06-29": "clock",
        "2050-11-21": "clock",
    }
    assert "40 rows lie 8,994 windows away from most others" in found["2050-11-21"][0][2]
    assert of_gaps(windows, []) == []


def test_few_and_many_rows() -> None:
    counts = [38, 40, 41, 44, 36, 40, 39]
    assert told([day(i, n) for i, n in enumerate(counts)]) == {}
    found = told([day(i, n) for i, n in enumerate([*counts, 12, 110])])
    assert [kinds[0][:2] for kinds in found.values()] == [("rows", "fail"), ("rows", "warn")]
    assert found["2026-04-08"][0][2] == "On 2026-04-08 12 rows came, where 40 are usual"
    (last,) = told([day(i, n) for i, n in enumerate([*counts, 12])]).values()
    assert last[0][:2] == ("rows", "warn")  # it may be still to come in full
    wild = [10, 150, 40, 300, 25, 80, 12]  # a service whose days differ
    assert told([day(i, n) for i, n in enumerate([*wild, 9])]) == {}
    assert told([day(i, n) for i, n in enumerate([*counts[:3], 4])]) == {}  # too few days to know
    known = Usual([40] * 12, frozenset(), 0.0, 1.0, 20)
    assert set(told([day(0), day(1, 4)], known)) == {"2026-04-02"}
    assert told([Arrived(Window(f"rows {i}"), "", n) for i, n in enumerate([*counts, 2])]) == {}


def test_a_feed_that_stands_still() -> None:
    windows = [day(0, marks=marks("a")), day(1, marks=marks("b")), day(2, marks=marks("a"))]
    found = told(windows)
    assert set(found) == {"2026-04-03"}
    said = found["2026-04-03"][0][2]
    assert said.startswith("On 2026-04-03 100% of the rows say what rows said before, on 2026-04-01")
    some = [day(0, marks=marks("a")), day(1, marks=(*marks("a", 15), *marks("b", 25)))]
    assert told(some) == {}
    doubled = told([day(0, marks=marks("a"), repeated=1.0)])
    assert "say what another row there says" in doubled["2026-04-01"][0][2]
    of_baseline = Usual((), frozenset(marks("a")), 0.0, 1.0, 20)
    assert "rows of the baseline" in told([day(0, marks=marks("a"))], of_baseline)["2026-04-01"][0][2]


def test_where_rows_repeat_by_nature_that_is_no_finding() -> None:
    canned = Usual((), frozenset(marks("a")), 0.95, 1.0, 20)
    assert told([day(i, marks=marks("a", 38), repeated=0.95) for i in range(4)], canned) == {}


def test_of_sampled_windows_the_share_is_of_all_rows() -> None:
    """Two samples, each of a quarter of 400 equal rows, share a quarter of their marks."""
    one = Contents(rows=400, marks=marks("a", 100), sampled=0.25)
    other = Contents(rows=400, marks=(*marks("a", 25), *marks("b", 75)), sampled=0.25)
    windows = [Clock(DAY).window(FIRST + i * DAY) for i in (0, 1)]
    arrived = [Arrived(w, phrase(w), 400, c) for w, c in zip(windows, (one, other), strict=True)]
    assert [f.kind for f in of_windows(arrived, USUAL)[windows[1]]] == ["again"]
