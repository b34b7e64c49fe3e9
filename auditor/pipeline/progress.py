"""A stage of work reports its progress while it runs. How it is shown (bars, log lines) is the caller's
business."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar


@dataclass(frozen=True, slots=True)
class Tally:
    """A tally says how far a stage is."""

    stage: str
    total: int
    """Rows to do."""
    done: int
    """Rows done, failed ones among them."""
    errors: int
    """Rows done that have no result."""
    seconds: float
    """Since the stage began."""
    under_way: float = 0.0
    """What is done of rows that are worked at, as rows: of three critics, each half trained, 1.5."""
    pace: float = 0.0
    """Rows a second at which those are worked at; 0 where it is not known."""

    @property
    def rate(self) -> float:
        """Return the rows a second so far."""
        return self.done / self.seconds if self.seconds > 0 else 0.0

    @property
    def left(self) -> float | None:
        """Return the seconds until the stage ends: by the rows that are done, and before the first of them by
        the pace of those under way. None where neither is known."""
        pace = (self.done + self.under_way) / self.seconds if self.done and self.seconds > 0 else self.pace
        return max(0.0, self.total - self.done - self.under_way) / pace if pace > 0 else None


class Progress(Protocol):
    """A progress is called in the driver, a few times a second at most."""

    def update(self, tally: Tally) -> None:
        """A stage began, or a shard of it is done."""
        ...

    def waiting(self, message: str) -> None:
        """Nothing was done for some seconds; `message` says what is waited for."""
        ...


class Silent:
    """This progress shows nothing."""

    def update(self, tally: Tally) -> None:
        pass

    def waiting(self, message: str) -> None:
        pass


LOOK_SECONDS = 5.0


@contextmanager
def looking(progress: Progress, look: Callable[[], Tally], interval: float = LOOK_SECONDS) -> Iterator[None]:
    """Tell `progress` what `look` finds, every few seconds while the block runs: for a stage whose units take
    minutes, and whose executor says nothing before the first of them is done."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(interval):
            progress.update(look())

    thread = threading.Thread(target=watch, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


T = TypeVar("T")


def steps(progress: Progress, stage: str, items: Sequence[T]) -> Iterator[T]:
    """Yield the items one by one, a step of `progress` each. Nothing is shown where there are none."""
    began = time.monotonic()
    for done, item in enumerate(items):
        progress.update(Tally(stage, len(items), done, 0, time.monotonic() - began))
        yield item
    if items:
        progress.update(Tally(stage, len(items), len(items), 0, time.monotonic() - began))


class Stopwatch:
    """This `Progress` passes on what it hears and keeps how long each stage took."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.seconds: dict[str, float] = {}
        """Stage -> wall seconds, in the order in which stages began."""

    def update(self, tally: Tally) -> None:
        self.seconds[tally.stage] = tally.seconds
        self._progress.update(tally)

    def waiting(self, message: str) -> None:
        self._progress.waiting(message)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Count the work of the block, which does not report its progress, as a stage."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.monotonic() - began
