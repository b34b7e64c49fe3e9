"""What reading a scenario's rows found beside the records: which files, how many rows of each were used, why
the others were not, and what was read otherwise than it stands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from auditor.records import Progress
from auditor.records.values import clean
from schemas.record import Quarantined

MOST_NAMED = 3
"""Scenarios and files that a note names; of more it tells the number."""


@dataclass(frozen=True, slots=True)
class File:
    """A `File` says what was read of one file (or set of rows in memory): rows = used + those left out."""

    file: str
    bytes: int | None
    """Null for what is no file, or where its storage does not tell."""
    sha256: str | None
    """Null for a file that is large, or not local."""
    changed: str
    """Where there is no digest: the version or time of change that its storage tells."""
    rows: int
    used: int
    left_out: dict[str, int] = field(hash=False)
    """Reason -> rows."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A `Reading` is what reading the rows of one scenario found."""

    scenario: str
    coercions: tuple[tuple[str, str, int], ...] = ()
    """(field, what was done with it, how often)."""
    files: tuple[File, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Reading:
        coercions = tuple((str(name), str(said), int(n)) for name, said, n in value["coercions"])
        return cls(value["scenario"], coercions, tuple(File(**file) for file in value["files"]))


NOT_READ = Reading("")
"""Of rows that were read elsewhere, or made."""


def reading(scenario: str, progress: Progress | None, quarantined: Iterable[Quarantined]) -> Reading:
    """Return what a reader that is at its end has found, and `quarantined`, the rows that were set aside.
    A single answer that was set aside leaves its row."""
    if progress is None:
        return Reading(scenario)
    left_out: dict[str, Counter[str]] = {}
    for row in quarantined:
        if not row.model:
            left_out.setdefault(row.source, Counter())[row.reason.value] += 1
    files = []
    for source, read in progress.files.items():
        lost = left_out.get(clean(source), Counter())
        mark = read.mark
        files.append(
            File(
                file=clean(source),
                bytes=mark and mark.size,
                sha256=mark and mark.digest,
                changed=mark.changed if mark else "",
                rows=read.rows,
                used=read.rows - lost.total(),
                left_out=dict(sorted(lost.items())),
            )
        )
    coercions = ((name, said, n) for (name, said), n in sorted(progress.coercions.items()))
    return Reading(scenario, tuple(coercions), tuple(files))


def sources_table(readings: Sequence[Reading]) -> list[dict[str, Any]]:
    """Return a row for each file of each scenario; [] where nothing was read of files."""
    return [{"scenario": one.scenario} | asdict(file) for one in _each_once(readings) for file in one.files]


def reading_notes(readings: Sequence[Reading]) -> list[str]:
    """Return one sentence for each way in which values were read otherwise than they stand, and one on files
    of which nothing could be used."""
    counts: dict[tuple[str, str], list[str]] = {}
    for one in _each_once(readings):
        for name, said, n in one.coercions:
            counts.setdefault((name, said), []).append(f"{n:,} in {one.scenario}")
    notes = [f"`{name}` was {said}: {_some(where)}" for (name, said), where in counts.items()]
    unused = [_unused(file) for one in _each_once(readings) for file in one.files if not file.used]
    return notes + ([f"nothing could be used of {_some(unused)}"] if unused else [])


def lost_fields(readings: Sequence[Reading], name: str) -> str:
    """Return why values of the field `name` were left out, as a clause to end a message with; empty where
    none was."""
    said = [
        f"`{name}` was {said} ({n:,} in {one.scenario})"
        for one in _each_once(readings)
        for of, said, n in one.coercions
        if of == name and said.startswith("left out")
    ]
    return "; ".join(["", *said[:MOST_NAMED]])


def _unused(file: File) -> str:
    reasons = ", ".join(f"{reason} {n:,}" for reason, n in file.left_out.items())
    return f"{file.file} ({reasons or 'no rows'})"


def _each_once(readings: Sequence[Reading]) -> list[Reading]:
    """The parts of one scenario share what reading it has found."""
    return list({id(one): one for one in readings}.values())


def _some(items: list[str]) -> str:
    more = [f"{len(items) - MOST_NAMED} more"] if len(items) > MOST_NAMED else []
    return ", ".join([*items[:MOST_NAMED], *more])
