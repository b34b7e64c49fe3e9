"""What is missing of a whole feed: files of which nothing came or was usable, windows of time without rows or
with few, windows far from all others, and windows that say what others said before them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import numpy as np

from auditor.measures.contents import MOST_MARKS, Contents
from auditor.records import FileRows
from auditor.scenarios.windows import Window, gaps
from schemas.record import Reason
from schemas.report import Finding

FEW_FILES = 0.2
"""Share of the files up to which another format is named: of more it is no accident."""
LEAST_FILE_ROWS = 5
"""Rows of a file from which on it is named for having lost many of them."""
USUAL_WINDOWS, USUAL_ROWS = 5, 20
"""Windows, and rows in the middle one, from which on it is known how many rows are usual."""
FACTOR, DEVIATIONS = 2.0, 4.0
"""A window has few or many rows where it has this many times fewer or more than are usual, and lies this many
(robust) standard deviations off, on the scale of logarithms."""
FAR = timedelta(days=180)
"""Time without rows from which on what lies beyond may have another clock."""
MOST_REPEATED = 0.75
"""Share of the baseline's rows that repeat others from which on repeats say nothing."""
LEAST_MARKS = 10
"""Different rows of a window from which on it is looked at for repeating others."""


@dataclass(frozen=True)
class Arrived:
    """This is what a window brought."""

    window: Window
    phrase: str
    """The window in a sentence: "On 2025-06-02"."""
    rows: int
    """Rows that came, usable or not, but for repeats."""
    contents: Contents | None = None


def of_files(files: Sequence[FileRows], max_left_out: float) -> list[Finding]:
    """Name the files of which nothing came or was usable, which lost many rows, or were cut off."""
    found = []
    for file in files:
        lost = sum(file.left_out.values())
        repeats = file.left_out.get(Reason.DUPLICATE_ID.value, 0)
        reasons = ", ".join(f"{reason} {n:,}" for reason, n in file.left_out.items())
        if not file.rows:
            found.append(_file(file, "warn", f"{file.name} holds no rows"))
        elif file.rows == repeats:
            found.append(_file(file, "warn", f"all {file.rows:,} rows of {file.name} are repeats of others"))
        elif file.rows == lost:
            found.append(_file(file, "fail", f"nothing of {file.name} was usable: {lost:,} rows ({reasons})"))
        elif file.rows >= LEAST_FILE_ROWS and lost - repeats > max_left_out * (file.rows - repeats):
            said = f"{lost:,} of {file.rows:,} rows of {file.name} were left out ({reasons})"
            found.append(_file(file, "warn", said))
        if file.broken:
            said = f"the last of {file.rows:,} rows of {file.name} cannot be read: it may have been cut off"
            found.append(_file(file, "warn", said))
    return found


def of_formats(files: Sequence[FileRows]) -> list[Finding]:
    """Name the few files of one source that were read as another format than the others."""
    read = [file for file in files if file.format and file.rows]
    formats = Counter(file.format for file in read)
    if not read or len(read) - max(formats.values()) > FEW_FILES * len(read):
        return []
    usual, n = formats.most_common(1)[0]
    return [
        _file(file, "warn", f"{file.name} was read as {file.format}, {n:,} other files were read as {usual}")
        for file in read
        if file.format != usual
    ]


def of_gaps(windows: Sequence[Arrived], usual: Sequence[Window]) -> list[Finding]:
    """Name where windows of time between others hold no row, for longer than between the `usual` ones, those
    of the baseline."""
    longest = max((length for _, _, length in gaps(usual)), default=0)
    far = _far(windows)
    near = [came.window for came in windows if came.window not in far]
    found = []
    for start, end, length in gaps(near):
        if length <= longest:
            continue
        span = (end - start) / length
        last = end - span
        until = "" if length == 1 else f" to {moment_named(last)} ({length:,} windows)"
        said = f"no rows came for {moment_named(start)}{until}, between others that have some"
        found.append(Finding(where=start.isoformat(), kind="gap", status="warn", because=said))
    return found


@dataclass(frozen=True)
class Usual:
    """This is what is usual of the windows of a service."""

    rows: Sequence[int]
    """Rows of each of the baseline's windows, if it has enough of them."""
    marks: frozenset[str]
    """Marks of the baseline's sampled rows."""
    repeated: float
    """The share of the baseline's rows of which another one says the same."""
    sampled: float
    """The share of the baseline's rows that are sampled."""
    least_rows: int
    """Rows that a verdict needs."""


def of_windows(windows: Sequence[Arrived], usual: Usual) -> dict[Window, list[Finding]]:
    """Return what is found of each window beside the others; they come in the order of time."""
    found: dict[Window, list[Finding]] = {came.window: [] for came in windows}
    timed = [came for came in windows if came.window.start is not None]
    far = _far(timed)
    for came in timed:
        if (apart := far.get(came.window)) is not None:
            said = f"{came.rows:,} rows lie {apart:,} windows away from most others: is their clock right?"
            found[came.window].append(_finding(came.window, "clock", f"{came.phrase} {said}"))
    by_name = {came.window.name: found[came.window] for came in windows}
    for finding in (*_few_or_many(timed, usual), *_again(windows, usual)):
        by_name[finding.where].append(finding)
    return found


def phrase(window: Window) -> str:
    """Return a window as sentences begin with it: "On 2025-06-02", "In rows 0-99"."""
    if window.start is None or window.end is None:
        return f"In {window.name}"
    if window.end - window.start == timedelta(days=1):
        return f"On {moment_named(window.start)}"
    return f"In the window from {moment_named(window.start)}"


def moment_named(moment: datetime) -> str:
    """Return the day, or where it is no midnight the minute."""
    return moment.strftime("%Y-%m-%d" if (moment.hour, moment.minute) == (0, 0) else "%Y-%m-%d %H:%M")


def _far(windows: Sequence[Arrived]) -> dict[Window, int]:
    """Return the windows that lie apart from most of the rows by FAR, and more windows than there are, and by
    how many."""
    ordered = sorted((came for came in windows if came.window.start is not None), key=_start)
    clusters: list[list[Arrived]] = []
    for came in ordered:
        before = clusters[-1][-1] if clusters else None
        if before is None or (_start(came) - _start(before) >= FAR and _between(before, came) > len(ordered)):
            clusters.append([])
        clusters[-1].append(came)
    if len(clusters) < 2:
        return {}
    main = max(clusters, key=lambda cluster: sum(came.rows for came in cluster))
    apart = (came for cluster in clusters if cluster is not main for came in cluster)
    return {came.window: min(_between(came, main[0]), _between(came, main[-1])) for came in apart}


def _start(came: Arrived) -> datetime:
    assert came.window.start is not None
    return came.window.start


def _between(one: Arrived, other: Arrived) -> int:
    """Return how many windows fit between two."""
    return sum(length for _, _, length in gaps([one.window, other.window]))


def _few_or_many(windows: Sequence[Arrived], usual: Usual) -> Iterator[Finding]:
    """Yield which windows have many fewer, or more, rows than are usual. So few that there can be no verdict
    are a failure, but for the last window, which may be still to come in full."""
    counts = np.array(usual.rows or [came.rows for came in windows], dtype=np.float64)
    counts = counts[counts > 0]
    if len(counts) < USUAL_WINDOWS or np.median(counts) < USUAL_ROWS:
        return
    middle = float(np.median(counts))
    spread = 1.4826 * float(np.median(np.abs(np.log(counts / middle))))
    limit = max(np.log(FACTOR), DEVIATIONS * max(spread, middle**-0.5))
    for came in windows:
        if came.rows and abs(np.log(came.rows / middle)) >= limit:
            said = f"{came.phrase} {came.rows:,} rows came, where {middle:,.0f} are usual"
            few = came.rows < usual.least_rows <= middle and came is not windows[-1]
            yield _finding(came.window, "rows", said, "fail" if few else "warn")


def _again(windows: Sequence[Arrived], usual: Usual) -> Iterator[Finding]:
    """Yield which windows mostly hold rows that say what others said, under other ids: others of the window,
    of an earlier one, or of the baseline.

    A mark is kept of a sample of the rows, and of those with the smallest marks, so that the share of rows
    that came before is the share among the marks that both would have kept, over the share of rows sampled.
    Where the baseline's own rows repeat each other, the others have to do so more; where most do, repeats say
    nothing.
    """
    if usual.repeated >= MOST_REPEATED:
        return
    limit = usual.repeated + (1 - usual.repeated) / 2
    holders: dict[str, tuple[int, int]] = {}
    """Mark -> the first and the last window so far that has it: of many, two do."""
    for number, came in enumerate(windows):
        contents = came.contents or Contents()
        marks = contents.marks
        hits = Counter(e for mark in marks if mark in holders for e in set(holders[mark]))
        shares = {e: _share_of(marks, windows[e].contents, n) for e, n in sorted(hits.items())}
        best = max(shares, key=lambda e: shares[e], default=None)
        known = sum(mark in usual.marks for mark in marks) / len(marks) / usual.sampled if marks else 0.0
        said = ""
        if len(marks) < LEAST_MARKS:
            pass
        elif best is not None and shares[best] >= limit:
            before = windows[best].phrase
            said = f"{shares[best]:.0%} of the rows say what rows said before"
            said += f", {before[:1].lower()}{before[1:]}: does the feed stand still?"
        elif known >= limit:
            said = f"{min(1.0, known):.0%} of the rows say what rows of the baseline said"
        elif (repeated := contents.repeated / contents.sampled) >= limit:
            said = f"{min(1.0, repeated):.0%} of the rows say what another row there says, under another id"
        if said:
            yield _finding(came.window, "again", f"{came.phrase} {said}")
        for mark in marks:
            holders[mark] = holders.get(mark, (number, number))[0], number


def _share_of(marks: Sequence[str], earlier: Contents | None, hits: int) -> float:
    """Return the share of the rows with these marks that an earlier window has, too."""
    assert earlier is not None
    whole = len(earlier.marks) < MOST_MARKS
    comparable = len(marks) if whole else sum(mark <= earlier.marks[-1] for mark in marks)
    return min(1.0, hits / comparable / earlier.sampled)


def _file(file: FileRows, status: Literal["warn", "fail"], said: str) -> Finding:
    return Finding(where=file.name, kind="file", status=status, because=said)


def _finding(
    window: Window,
    kind: Literal["clock", "rows", "again"],
    said: str,
    status: Literal["warn", "fail"] = "warn",
) -> Finding:
    return Finding(where=window.name, kind=kind, status=status, because=said)
