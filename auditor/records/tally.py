"""Rows are counted file by file as they come, so that a file of which nothing could be used has a name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from auditor.records.fields import clean
from auditor.records.quarantine import Quarantine
from auditor.records.rows import Rows
from schemas.record import Quarantined, Reason, Record


@dataclass(frozen=True, slots=True)
class FileRows:
    """This is how many rows a file (or data set) held, and which of them could not be used."""

    name: str
    rows: int
    """Rows that it holds, good and bad."""
    left_out: dict[str, int] = field(default_factory=dict, hash=False)
    """Reason -> rows; single answers are not counted."""
    broken: bool = False
    """Whether its last row could not be read: a file that was cut off ends so."""
    bytes: int | None = None
    """Null for what is no file, or where its storage does not tell."""
    sha256: str | None = None
    """Null for a file that is large, or not local."""
    changed: str = ""
    """Where there is no digest: the version or time of change that its storage tells."""
    format: str = ""
    """What its rows are; empty for those that are no file's."""

    @property
    def used(self) -> int:
        return self.rows - sum(self.left_out.values())


@dataclass(slots=True)
class _Seen:
    rows: int = 0
    last: int = -1
    first_moment: datetime | None = None


class Tally:
    """A tally counts the rows of a scenario that pass through `counted`, and gives quarantined rows without a
    moment that of the row before them in their file: logs are written in the order of time."""

    def __init__(self, source: str) -> None:
        """`source`: what rows are called that come from no file."""
        self._source = source
        self._files: dict[str, _Seen] = {}

    def counted(self, rows: Iterable[Record | Quarantined]) -> Iterable[Record | Quarantined]:
        """Return the same rows, which are counted as they are taken."""
        if isinstance(rows, Rows):
            return Rows(self._count(rows, rows), rows.progress)
        return self._count(rows, None)

    def files(self, quarantine: Quarantine, expected: Sequence[str] = ()) -> tuple[FileRows, ...]:
        """Return what was counted, a file at a time; those `expected` of which no row came have none."""
        left_out: dict[str, Counter[str]] = {}
        broken: set[str] = set()
        for row in quarantine:
            seen = self._files.get(row.source)
            if row.model or seen is None:
                continue
            left_out.setdefault(row.source, Counter())[row.reason.value] += 1
            if row.reason is Reason.UNREADABLE_LINE and row.row == seen.last:
                broken.add(row.source)
        names = list(dict.fromkeys([*(clean(name) for name in expected), *self._files]))
        return tuple(
            FileRows(
                name,
                self._files[name].rows if name in self._files else 0,
                dict(sorted(left_out.get(name, {}).items())),
                name in broken,
            )
            for name in names
        )

    def dated(self, quarantine: Quarantine) -> Quarantine:
        """Return the quarantined rows, those before the first moment of their file with that one."""
        return Quarantine(
            row
            if row.timestamp is not None or (seen := self._files.get(row.source)) is None
            else replace(row, timestamp=seen.first_moment)
            for row in quarantine
        )

    def _count(
        self, rows: Iterable[Record | Quarantined], places: Rows | None
    ) -> Iterator[Record | Quarantined]:
        moment: datetime | None = None
        current = ""
        for row in rows:
            name = clean(places.progress.source) if places is not None else self._source
            if name != current:
                current, moment = name, None
            seen = self._files.setdefault(name, _Seen())
            if isinstance(row, Record) or not row.model:
                seen.rows += 1
                seen.last = places.progress.row if places is not None else seen.rows - 1
            if row.timestamp is not None:
                moment = row.timestamp
                seen.first_moment = seen.first_moment or moment
            elif isinstance(row, Quarantined) and moment is not None:
                row = replace(row, timestamp=moment)
            yield row
