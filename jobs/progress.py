"""Progress on the terminal: one bar a stage with its rate and what is left, or a line a stage without one."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from actors.progress import Tally

WAIT_SECONDS = 30.0
"""Without a terminal, what is waited for is told no more often than this."""


class Bars:
    """Bars on standard error where it is a terminal, a line a finished stage elsewhere."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._told: set[str] = set()
        self._waited = -WAIT_SECONDS

    @contextmanager
    def shown(self) -> Iterator[Bars]:
        """Draw while the block runs."""
        if not self.console.is_terminal:
            yield self
            return
        columns = (
            TextColumn("{task.description:<28}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("[dim]{task.fields[note]}"),
        )
        with Progress(*columns, console=self.console) as bars:
            self._bars = bars
            try:
                yield self
            finally:
                self._bars = None

    def update(self, tally: Tally) -> None:
        if self._bars is None:
            if tally.done >= tally.total and tally.stage not in self._told:
                self._told.add(tally.stage)
                print(_line(tally), file=sys.stderr, flush=True)
            return
        task = self._tasks.get(tally.stage)
        if task is None:
            task = self._tasks[tally.stage] = self._bars.add_task(
                tally.stage, total=tally.total, rate="", note=""
            )
        rate = f"{tally.rate:,.0f}/s" if tally.rate >= 1 else ""
        self._bars.update(task, completed=tally.done, total=tally.total, rate=rate, note="")

    def waiting(self, what: str) -> None:
        if self._bars is None:
            if time.monotonic() - self._waited >= WAIT_SECONDS:
                self._waited = time.monotonic()
                print(what, file=sys.stderr, flush=True)
        elif self._tasks:
            self._bars.update(list(self._tasks.values())[-1], note=what)

    def step(self, stage: str, done: int, total: int, seconds: float) -> None:
        """Progress of work in the driver itself."""
        self.update(Tally(stage, total, done, 0, seconds))


def _line(tally: Tally) -> str:
    failed = f", {tally.errors} failed" if tally.errors else ""
    kept = (
        "nothing to do (kept from before)"
        if tally.total == 0
        else f"{tally.done:,} in {tally.seconds:.1f} s{failed}"
    )
    return f"{tally.stage}: {kept}"
