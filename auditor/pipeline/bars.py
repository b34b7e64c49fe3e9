"""A terminal or a notebook shows one bar a stage, with its rate and the time left. Elsewhere a stage is a
line."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from auditor.pipeline.progress import Progress as Listener
from auditor.pipeline.progress import Tally

T = TypeVar("T")
WAIT_SECONDS = 30.0
"""Without a terminal, a stage and what is waited for are reported no more often than this (seconds)."""
LONGEST_WAIT = 960.0
"""Seconds between two lines about one wait: they grow twofold until then."""


DRAW_SECONDS = 0.2
"""A notebook's bars are drawn no more often than this."""


class Bars:
    """Bars are drawn on standard error where it is a terminal, or below the cell of a notebook. Elsewhere a
    line is printed every half a minute and at the end of a stage. `listeners` hear the same (logs, metrics);
    with `quiet` only they do."""

    def __init__(
        self, console: Console | None = None, listeners: Sequence[Listener] = (), quiet: bool = False
    ) -> None:
        self.console = console or Console(stderr=True)
        self._listeners, self._quiet = listeners, quiet
        self._bars: Progress | None = None
        self._cell: _Cell | None = None
        self._tasks: dict[str, TaskID] = {}
        self._finished: set[str] = set()
        self._last: dict[str, float] = {}
        self._waited, self._patience = -WAIT_SECONDS, WAIT_SECONDS

    @contextmanager
    def shown(self) -> Iterator[Bars]:
        """Draw while the block runs."""
        if self._quiet or not (self.console.is_terminal or self.console.is_jupyter):
            yield self
            return
        columns = (
            TextColumn("{task.description:<28}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TextColumn("{task.fields[left]}"),
            TextColumn("[dim]{task.fields[note]}"),
        )
        if self.console.is_jupyter:  # what is printed there would stand below the bars for good
            self._bars = Progress(*columns, console=self.console, auto_refresh=False)
            self._cell = _Cell(self._bars)
            try:
                yield self
            finally:
                self._cell.draw(whole=True)
                self._bars = self._cell = None
            return
        with Progress(*columns, console=self.console) as bars:
            self._bars = bars
            try:
                yield self
            finally:
                self._bars = None

    def update(self, tally: Tally) -> None:
        for listener in self._listeners:
            listener.update(tally)
        self._patience = WAIT_SECONDS
        if self._bars is None:
            self._lines(tally)
            return
        task = self._tasks.get(tally.stage)
        if task is None:
            task = self._tasks[tally.stage] = self._bars.add_task(
                tally.stage, total=tally.total, rate="", left="", note=""
            )
        self._bars.update(
            task,
            completed=tally.done + tally.under_way,
            total=tally.total,
            rate=rate(tally),
            left=f"{left(tally)} left" if left(tally) else "",
            note="",
        )
        if self._cell is not None:
            self._cell.draw(whole=tally.done >= tally.total)

    def _lines(self, tally: Tally) -> None:
        if self._quiet or tally.stage in self._finished:
            return
        if tally.done >= tally.total:
            self._finished.add(tally.stage)
            print(_line(tally), file=sys.stderr, flush=True)
            return
        now = time.monotonic()
        if now - self._last.setdefault(tally.stage, now) >= WAIT_SECONDS:
            self._last[tally.stage] = now
            print(_underway(tally), file=sys.stderr, flush=True)

    def waiting(self, message: str) -> None:
        for listener in self._listeners:
            listener.waiting(message)
        if self._bars is None:
            if not self._quiet and time.monotonic() - self._waited >= self._patience:
                self._waited = time.monotonic()
                self._patience = min(2 * self._patience, LONGEST_WAIT)
                print(message, file=sys.stderr, flush=True)
        elif self._tasks:
            self._bars.update(list(self._tasks.values())[-1], note=message)
            if self._cell is not None:
                self._cell.draw()

    def step(self, stage: str, done: int, total: int, seconds: float) -> None:
        """Show the progress of work in the driver itself."""
        self.update(Tally(stage, total, done, 0, seconds))

    def each(self, stage: str, items: Sequence[T]) -> Iterator[T]:
        """Yield the items one by one, a step each. Nothing is shown where there are none."""
        began = time.monotonic()
        for done, item in enumerate(items):
            self.step(stage, done, len(items), time.monotonic() - began)
            yield item
        if items:
            self.step(stage, len(items), len(items), time.monotonic() - began)


class _Cell:
    """A notebook shows bars here: one output of the cell is drawn again in its place. No widgets are needed,
    and a notebook that is kept keeps what was drawn last."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._handle: Any = None
        self._drawn = -DRAW_SECONDS

    def draw(self, whole: bool = False) -> None:
        """Show how far all stages are; `whole`: even if they have just been drawn."""
        now = time.monotonic()
        if not self._bars.tasks or not (whole or now - self._drawn >= DRAW_SECONDS):
            return
        self._drawn = now
        table = self._bars.make_tasks_table(self._bars.tasks)
        if self._handle is not None:
            self._handle.update(table)
            return
        from IPython.display import display

        self._handle = display(table, display_id=True)


def rate(tally: Tally) -> str:
    """Return the rows a second, a minute or an hour, whichever is at least 1. It is empty before the first
    row."""
    for seconds, unit in ((1, "s"), (60, "min"), (3600, "h")):
        if (value := tally.rate * seconds) >= 1:
            return f"{value:,.0f}/{unit}" if value >= 10 else f"{value:.1f}/{unit}"
    return ""


def left(tally: Tally) -> str:
    """Return how long a stage will still take; empty where that is not known, or nothing is left."""
    if tally.left is None or tally.done >= tally.total:
        return ""
    if not tally.done:  # by the pace of what is under way
        return (
            f"about {max(1, round(tally.left))} s" if tally.left < 120 else f"about {tally.left / 60:.0f} min"
        )
    return str(timedelta(seconds=round(tally.left)))


def _underway(tally: Tally) -> str:
    failed = f", {tally.errors} failed" if tally.errors else ""
    line = f"{tally.stage}: {tally.done:,} of {tally.total:,}"
    if not left(tally):
        return f"{line} after {tally.seconds:.0f} s"
    share = (tally.done + tally.under_way) / tally.total
    pace = f"{rate(tally)}, " if tally.rate else ""
    return f"{line} ({share:.0%}), {pace}{left(tally)} left{failed}"


def _line(tally: Tally) -> str:
    failed = f", {tally.errors} failed" if tally.errors else ""
    outcome = (
        "nothing to do (kept from before)"
        if tally.total == 0
        else f"{tally.done:,} in {tally.seconds:.1f} s ({rate(tally)}){failed}"
    )
    return f"{tally.stage}: {outcome}"
