"""What reading a scenario's rows found beside the records: which files, how many rows of each were used, why
the others were not, and what was read otherwise than it stands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from auditor.records import FileRows, Progress
from auditor.records.formats import RECORDS
from auditor.records.values import clean

MOST_NAMED = 3
"""Scenarios and files that a note names; of more it tells the number."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A `Reading` is what reading the rows of one scenario found."""

    scenario: str
    coercions: tuple[tuple[str, str, int], ...] = ()
    """(field, what was done with it, how often)."""
    files: tuple[FileRows, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Reading:
        coercions = tuple((str(name), str(said), int(n)) for name, said, n in value["coercions"])
        return cls(value["scenario"], coercions, tuple(FileRows(**file) for file in value["files"]))


NOT_READ = Reading("")
"""Of rows that were read elsewhere, or made."""


def reading(scenario: str, progress: Progress | None, files: Iterable[FileRows]) -> Reading:
    """Return what a reader that is at its end has found of `files`, the rows of which were counted."""
    if progress is None:
        return Reading(scenario, files=tuple(files))
    read = {clean(source): source for source in progress.files}
    coercions = ((name, said, n) for (name, said), n in sorted(progress.coercions.items()))
    known = (_known(file, read[file.name], progress) if file.name in read else file for file in files)
    return Reading(scenario, tuple(coercions), tuple(known))


def _known(file: FileRows, source: str, progress: Progress) -> FileRows:
    """Return what is known of the file `source` beside the counts of its rows. Rows of another file may have
    been joined with them."""
    file = replace(file, rows=file.rows + progress.joined[source], format=progress.formats.get(source, ""))
    if (mark := progress.files[source].mark) is None:
        return file
    return replace(file, bytes=mark.size, sha256=mark.digest, changed=mark.changed)


def sources_table(readings: Sequence[Reading]) -> list[dict[str, Any]]:
    """Return a row for each file of each scenario; [] where nothing was read of files."""
    return [
        {"scenario": one.scenario, "file": file.name, "used": file.used} | _without_name(file)
        for one in _each_once(readings)
        for file in one.files
    ]


def _without_name(file: FileRows) -> dict[str, Any]:
    return {key: value for key, value in asdict(file).items() if key != "name"}


def reading_notes(readings: Sequence[Reading]) -> list[str]:
    """Return one sentence for each way in which values were read otherwise than they stand, and one on files
    of which nothing could be used."""
    counts: dict[tuple[str, str], list[str]] = {}
    for one in _each_once(readings):
        for name, said, n in one.coercions:
            counts.setdefault((name, said), []).append(f"{n:,} in {one.scenario}")
    notes = [f"`{name}` was {said}: {_some(where)}" for (name, said), where in counts.items()]
    unused = [_unused(file) for one in _each_once(readings) for file in one.files if not file.used]
    return format_notes(readings) + notes + ([f"nothing could be used of {_some(unused)}"] if unused else [])


def format_notes(readings: Sequence[Reading]) -> list[str]:
    """Return one sentence on each format that files were read in; none where all are of records of ours."""
    counts: dict[str, Counter[str]] = {}
    for one in _each_once(readings):
        for file in one.files:
            if file.format:
                counts.setdefault(file.format, Counter())[one.scenario] += 1
    if set(counts) <= {RECORDS}:
        return []
    return [
        f"files read as {name} (told from their first rows, or named by data.format): "
        f"{_some([f'{n:,} in {scenario}' for scenario, n in where.items()])}"
        for name, where in counts.items()
    ]


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


def _unused(file: FileRows) -> str:
    reasons = ", ".join(f"{reason} {n:,}" for reason, n in file.left_out.items())
    return f"{file.name} ({reasons or 'no rows'})"


def _each_once(readings: Sequence[Reading]) -> list[Reading]:
    """The parts of one scenario share what reading it has found."""
    return list({id(one): one for one in readings}.values())


def _some(items: list[str]) -> str:
    more = [f"{len(items) - MOST_NAMED} more"] if len(items) > MOST_NAMED else []
    return ", ".join([*items[:MOST_NAMED], *more])
