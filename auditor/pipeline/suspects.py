"""This search finds the rows of a shard that end or hang its worker, by trying parts of it. It knows nothing
of Ray."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
MOST_PARTS = 32


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault says why a try failed."""

    reason: str
    """As it is written beside a row: the same in every run, so without numbers of processes or times."""
    detail: str
    """The text for the log."""
    hung: bool = False


class WorkerAtFault(Exception):
    """Not even a blank can be done: no row is to blame."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.detail)
        self.fault = fault


Search = Generator[Sequence[T], Fault | None, list[tuple[T, Fault]]]
"""Yields the rows to be tried next (none: a blank alone), is sent what went wrong (None: nothing), returns
the rows that failed twice, each by itself."""


def search(rows: Sequence[T]) -> Search[T]:
    """Search `rows` for those that fail.

    A part that fails is cut into smaller ones, of square-root size where rows are few: a bad row among at
    most 1,024 costs three faults (in its part, and twice alone), j bad rows among n O(j log n) tries.

    Raises:
        WorkerAtFault: a blank failed twice.
    """
    if (yield ()) is not None and (fault := (yield ())) is not None:
        raise WorkerAtFault(fault)
    return (yield from _narrow(rows))


def _narrow(rows: Sequence[T]) -> Search[T]:
    failures: list[tuple[T, Fault]] = []
    for part in _parts(rows):
        fault = yield part
        if fault is not None and len(part) > 1:
            failures += yield from _narrow(part)
        elif fault is not None and (again := (yield part)) is not None:
            failures.append((part[0], again))
    return failures


def _parts(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    step = 1
    if len(rows) > MOST_PARTS:
        step = math.ceil(len(rows) / min(MOST_PARTS, math.isqrt(len(rows) - 1) + 1))
    for start in range(0, len(rows), step):
        yield rows[start : start + step]
