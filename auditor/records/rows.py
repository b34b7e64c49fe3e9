"""`Rows` is a stream of rows that knows its position."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from auditor.records.coercions import Coercions
from auditor.records.screen import Place
from auditor.records.sources import FileMark
from schemas.record import Quarantined, Record


@dataclass(slots=True)
class FileRead:
    """A `FileRead` says how much was read of one file (or set of rows in memory)."""

    rows: int = 0
    """Rows seen, good and bad."""
    mark: FileMark | None = None
    """What tells whether the file is still the same; None for what is no file."""


@dataclass(slots=True)
class Progress:
    """`Progress` counts what a reader has read so far; it grows as rows are taken."""

    source: str = ""
    row: int = -1
    """Where the last row taken stood."""
    rows: int = 0
    """Rows seen, good and bad."""
    formats: dict[str, str] = field(default_factory=dict)
    """File -> the format that its rows are read in."""
    joined: Counter[str] = field(default_factory=Counter)
    """File -> rows of it that became parts of rows that stand elsewhere."""
    coercions: Coercions = field(default_factory=Coercions)
    """What was read otherwise than it stands, of the rows that became records."""
    files: dict[str, FileRead] = field(default_factory=dict)
    """What was read of each file that was opened, in their order."""

    def open(self, source: str, mark: FileMark | None) -> None:
        """Begin with the file `source`."""
        self.files.setdefault(source, FileRead()).mark = mark

    def advance(self, source: str, row: int) -> Place:
        """Move on to the row at `source`, `row`, and return that place."""
        self.source, self.row = source, row
        self.rows += 1
        self.files.setdefault(source, FileRead()).rows += 1
        return Place(source, row)


class Rows(Iterator[Record | Quarantined]):
    """`Rows` are records and quarantined rows, in the order of their source, with the reader's `progress`.

    `admit` takes the place of a row from it, since a `Record` does not carry its own.
    """

    def __init__(self, items: Iterator[Record | Quarantined], progress: Progress) -> None:
        self._items = items
        self.progress = progress

    def __next__(self) -> Record | Quarantined:
        return next(self._items)
