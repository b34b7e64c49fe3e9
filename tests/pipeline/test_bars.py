"""What is shown of a stage while it runs: rate and time left, on a terminal and without one."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace

import pytest
from rich.console import Console
from rich.table import Table

from auditor.pipeline import bars as progress
from auditor.pipeline.bars import Bars, rate
from auditor.pipeline.progress import Tally


@pytest.mark.parametrize(
    ("done", "seconds", "said"),
    [(0, 10.0, ""), (5_000, 2.0, "2,500/s"), (3, 2.0, "1.5/s"), (1, 4.0, "15/min"), (3, 3600.0, "3.0/h")],
)
def test_a_rate_is_told_in_the_unit_that_says_something(done: int, seconds: float, said: str) -> None:
    assert rate(Tally("train critics", 9_999, done, 0, seconds)) == said


def test_a_long_stage_speaks_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bars = Bars(Console(file=io.StringIO()))
    with bars.shown():
        now = 0.0
        monkeypatch.setattr(progress.time, "monotonic", lambda: now)
        for done, now in ((0, 0.0), (10, 10.0), (40, 40.0), (50, 50.0), (100, 100.0)):
            bars.update(Tally("embed texts", 100, done, 1, now))
    assert capsys.readouterr().err.splitlines() == [
        "embed texts: 40 of 100 (40%), 1.0/s, 0:01:00 left, 1 failed",
        "embed texts: 100 in 100.0 s (1.0/s), 1 failed",
    ]


def test_a_terminal_shows_rate_and_time_left() -> None:
    drawn = io.StringIO()
    bars = Bars(Console(file=drawn, force_terminal=True, width=120))
    with bars.shown():
        bars.update(Tally("answers of m", 100, 0, 0, 0.0))
        bars.update(Tally("answers of m", 100, 50, 0, 200.0))
    assert "50/100" in drawn.getvalue() and "15/min" in drawn.getvalue()


def test_a_notebook_shows_bars_in_one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []

    class Handle:
        def update(self, table: Table) -> None:
            drawn = io.StringIO()
            Console(file=drawn, width=120).print(table)
            shown.append(drawn.getvalue())

    def display(table: Table, display_id: bool) -> Handle:
        assert display_id and not shown, "one output, which is drawn again"
        Handle().update(table)
        return Handle()

    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))
    bars = Bars(Console(file=io.StringIO(), force_jupyter=True, width=120))
    with bars.shown():
        bars.waiting("runs in this process")
        assert not shown
        bars.update(Tally("answers of m", 100, 0, 0, 0.0))
        for done in range(1, 50):  # too soon after each other to be drawn each
            bars.update(Tally("answers of m", 100, done, 0, 2.0))
        bars.update(Tally("answers of m", 100, 100, 0, 4.0))
        bars.update(Tally("measures", 10, 3, 0, 1.0))
    assert len(shown) < 10
    assert "100/100" in shown[-1] and "3/10" in shown[-1]


def test_listeners_hear_all_and_quiet_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    class Heard(list[object]):
        def update(self, tally: Tally) -> None:
            self.append(tally.done)

        def waiting(self, what: str) -> None:
            self.append(what)

    heard = Heard()
    bars = Bars(Console(file=io.StringIO()), listeners=(heard,), quiet=True)
    with bars.shown():
        for item in bars.each("read records", ["a node", "another"]):
            bars.waiting(item)
        assert list(bars.each("measures", [])) == []
    assert heard == [0, "a node", 1, "another", 2]
    assert capsys.readouterr() == ("", "")


def test_units_that_take_minutes_tell_how_long_by_their_own_pace(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bars = Bars(Console(file=io.StringIO()))
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    for now, done, under_way, pace in (
        (0.0, 0, 0.0, 0.0),
        (31.0, 0, 0.0, 0.0),
        (62.0, 0, 0.5, 0.1),
        (100.0, 1, 0.5, 0.1),
        (160.0, 3, 0.0, 0.0),
    ):
        bars.update(Tally("train critics", 3, done, 0, now, under_way, pace))
    assert capsys.readouterr().err.splitlines() == [
        "train critics: 0 of 3 after 31 s",
        "train critics: 0 of 3 (17%), about 25 s left",
        "train critics: 1 of 3 (50%), 36/h, 0:01:40 left",
        "train critics: 3 in 160.0 s (1.1/min)",
    ]


def test_a_long_wait_is_told_ever_more_rarely(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bars = Bars(Console(file=io.StringIO()))
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    for now in range(1000, 1600, 5):
        bars.waiting(f"{now}")
    assert capsys.readouterr().err.split() == ["1000", "1060", "1180", "1420"]
    bars.update(Tally("embed texts", 9, 1, 0, 1.0))
    now = 1450
    bars.waiting("another")
    assert capsys.readouterr().err.split() == ["another"]
