"""What is kept of rows that stream by: sums, plain facts and what was set aside; a monoid as its parts are.

Rows stream by in units of work, a file each. A unit's file is about as large as its rows' embeddings would be
(second moments of d x d, and a row sample), so files are folded into few as they come, along the tree of
`sketch.merge_tree`: the disk holds a logarithm of a window's units, with the bits of one merge at the end. A
unit with rows that failed stays outside, so that the next run can make it anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditor.profiles.answer_sample import AnswerSample
from auditor.profiles.sketching import SketchSet
from auditor.sketch.merge_tree import tree_merge
from auditor.storage.npz import opened, write_arrays
from schemas.record import Quarantined, Reason

EVERY = 8
"""Units, or nodes of as many, that are folded at a time: then each is written once and read once."""
MOST_FILES = 32
"""Files that a window may be read from; more (many failed units wait) are folded into one for the readers."""
LASTING = frozenset({Reason.NON_FINITE_EMBEDDING})
"""Reasons that would come again: the same content in the same encoder has the same vector. All others may go
(an image is there again, a worker has more memory, a server answers)."""


@dataclass(frozen=True, eq=False)
class Streamed:
    """Rows of one window under one model."""

    sketches: SketchSet | None
    """None: no row is usable."""
    facts: Mapping[str, int]
    """Sums of plain facts (see `rows.descriptors`) over all rows."""
    aside: tuple[Quarantined, ...] = ()
    """Rows, and single answers, that were set aside."""
    scores: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    """Scores of the graded answers (8 bytes each: a mean alone does not tell how well it is known)."""
    answers: AnswerSample | None = None
    """None: none are kept."""
    again: tuple[int, ...] = ()
    """Rows, counted within the window, that failed for a reason that may have gone in the next run."""
    units: int = 1
    """Units of work that it is of."""

    @property
    def n(self) -> int:
        """Usable rows."""
        return 0 if self.sketches is None else self.sketches.sample.seen

    def merge(self, other: Streamed) -> Streamed:
        """Of both sets of rows."""
        sketches = self.sketches or other.sketches
        if self.sketches is not None and other.sketches is not None:
            sketches = self.sketches.merge(other.sketches)
        facts = {
            name: self.facts.get(name, 0) + other.facts.get(name, 0) for name in {**self.facts, **other.facts}
        }
        answers = other.answers if self.answers is None else self.answers
        if self.answers is not None and other.answers is not None:
            answers = self.answers.merge(other.answers)
        return Streamed(
            sketches,
            facts,
            (*self.aside, *other.aside),
            np.concatenate([self.scores, other.scores]),
            answers,
            (*self.again, *other.again),
            self.units + other.units,
        )

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Plain arrays, for npz (never pickle); what is no array as JSON."""
        told = {
            "facts": dict(self.facts),
            "aside": [asdict(row) for row in self.aside],
            "again": self.again,
            "units": self.units,
        }
        arrays = {} if self.sketches is None else self.sketches.to_arrays()
        if self.answers is not None:
            arrays |= {_ANSWERS + name: array for name, array in self.answers.to_arrays().items()}
        return {"told": np.frombuffer(json.dumps(told).encode(), np.uint8), "scores": self.scores, **arrays}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Streamed:
        """Inverse of `to_arrays`. ValueError, KeyError or TypeError where arrays do not fit."""
        told = json.loads(arrays["told"].tobytes())
        answers = {k.removeprefix(_ANSWERS): a for k, a in arrays.items() if k.startswith(_ANSWERS)}
        rest = {k: a for k, a in arrays.items() if k not in ("told", "scores") and not k.startswith(_ANSWERS)}
        return cls(
            SketchSet.from_arrays(rest) if rest else None,
            told["facts"],
            tuple(Quarantined(**row | {"reason": Reason(row["reason"])}) for row in told["aside"]),
            arrays["scores"],
            AnswerSample.from_arrays(answers) if answers else None,
            tuple(map(int, told["again"])),
            int(told["units"]),
        )


_ANSWERS = "answers."


def write_streamed(path: Path, streamed: Streamed) -> None:
    """Write whole (npz)."""
    write_arrays(path, streamed.to_arrays())


def read_streamed(path: Path) -> Streamed:
    """What `write_streamed` wrote. Raises `AuditError` where the file is none."""
    with opened(path) as file:
        return Streamed.from_arrays(dict(file))


def failed_rows(path: Path) -> tuple[int, ...]:
    """`Streamed.again` of a file, without the rest of it. Raises as `read_streamed`."""
    with opened(path) as file:
        return tuple(map(int, json.loads(file["told"].tobytes())["again"]))


def folded(paths: Iterable[Path]) -> Streamed:
    """The files' rows together, merged in this order (in another the last bits differ)."""
    total = tree_merge((each.units, each) for each in map(read_streamed, paths))
    if total is None:
        raise ValueError("nothing to fold")
    return total


def read_sums(paths: Sequence[Path]) -> SketchSet | None:
    """The sums of all rows in the files, merged in this order; a file holds a `Streamed` or a `SketchSet`.
    None where no row is usable. Raises `AuditError` as `read_streamed`."""
    total = tree_merge((each.units, each) for each in map(_sums, paths))
    return None if total is None else total.sketches


def _sums(path: Path) -> Streamed:
    with opened(path) as file:
        if "told" not in file:
            return Streamed(SketchSet.from_arrays(dict(file)), {})
        return Streamed.from_arrays({name: file[name] for name in file if not name.startswith(_ANSWERS)})


class Fold:
    """The files of one window's units, folded as they come into nodes of the tree over them.

    The last unit stays by itself: a window that grows keeps all units before it. So do units with rows that
    the next run will try again. What is folded is named by the units in it, so that the next run knows them
    as done.
    """

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._folder, self._names = folder, tuple(names)
        self._sizes: dict[int, int] = {}
        """First unit of each file that there is -> units in it."""
        self._failed: dict[int, tuple[int, ...]] = {}
        """Unit -> its failed rows."""
        size = 1
        while size < len(names):
            size *= 2
        self._find(0, size)
        self._earlier = dict(self._failed)

    def missing(self) -> list[int]:
        """The units that are yet to be made."""
        found, at = [], 0
        while at < len(self._names):
            if at not in self._sizes:
                found.append(at)
            at += self._sizes.get(at, 1)
        return found

    def again(self) -> dict[int, tuple[int, ...]]:
        """The units that an earlier run has made with failed rows and that did not come since: these rows."""
        return dict(self._earlier)

    def came(self, k: int) -> None:
        """Unit k was made: fold what can be folded now. (One that was folded before is not needed again.)"""
        size = 2
        while size <= len(self._names):
            if self._sizes.get(k - k % size) == size:
                self._file(k, 1).unlink(missing_ok=True)
                return
            size *= 2
        self._sizes[k] = 1
        self._earlier.pop(k, None)
        self._failed.pop(k, None)
        self._look(k)
        self._fold(k)

    def advance(self) -> None:
        """Fold what an earlier run has left unfolded."""
        for k in range(0, len(self._names), EVERY):
            self._fold(k)

    def files(self) -> tuple[Path, ...]:
        """The files whose rows, in this order, are the window's, once none is missing."""
        at, last = 0, len(self._names) - 1
        while at < last:
            size = 1
            while at % (2 * size) == 0 and at + 2 * size <= last:
                size *= 2
            self._settle(at, size)
            at += max(size, self._sizes[at])
        paths = tuple(self._file(at, self._sizes[at]) for at in self._starts(0, len(self._names)))
        whole = self._folder / f"all-{self._mark(0, len(self._names))}.npz"
        if len(paths) <= MOST_FILES:
            whole.unlink(missing_ok=True)
            return paths
        write_streamed(whole, folded(paths))
        return (whole,)

    def _find(self, at: int, size: int) -> None:
        """The files that there are of the units from `at` on, the largest first."""
        if at + size <= len(self._names) and self._file(at, size).exists():
            self._sizes[at] = size
            if size == 1:
                self._look(at)
        elif size > 1 and at < len(self._names):
            self._find(at, size // 2)
            self._find(at + size // 2, size // 2)

    def _look(self, k: int) -> None:
        if rows := failed_rows(self._file(k, 1)):
            self._failed[k] = rows

    def _starts(self, at: int, stop: int) -> Iterator[int]:
        while at < stop:
            yield at
            at += self._sizes[at]

    def _there(self, at: int, stop: int) -> bool:
        while at < stop and at in self._sizes:
            at += self._sizes[at]
        return at >= stop

    def _fold(self, k: int) -> None:
        """The nodes above unit k, as far as all of their units are there."""
        size = EVERY
        while (at := k - k % size) + size < len(self._names) and self._there(at, at + size):
            self._settle(at, size)
            size *= EVERY

    def _settle(self, at: int, size: int) -> None:
        """One file of these units, or where some have failed of as many as have not."""
        if self._sizes[at] >= size:
            return
        if not self._failed.keys().isdisjoint(range(at, at + size)):
            self._settle(at, size // 2)
            self._settle(at + size // 2, size // 2)
            return
        starts = list(self._starts(at, at + size))
        paths = [self._file(start, self._sizes[start]) for start in starts]
        write_streamed(self._file(at, size), folded(paths))
        for start in starts:
            del self._sizes[start]
        self._sizes[at] = size
        for path in paths:  # only now, when the file that stands for them is whole
            path.unlink(missing_ok=True)

    def _file(self, at: int, size: int) -> Path:
        name = self._names[at] if size == 1 else f"sum-{self._mark(at, size)}"
        return self._folder / f"{name}.npz"

    def _mark(self, at: int, size: int) -> str:
        """What stands for these units."""
        names = "".join(f"{name}\n" for name in self._names[at : at + size])
        return blake2b(names.encode(), digest_size=16).hexdigest()
