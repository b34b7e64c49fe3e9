"""What is kept of rows that streamed by: sums, plain facts and what was set aside; a monoid as its parts are.

Rows stream by in units of work, a file each. A unit's file is about as large as its rows' embeddings would be
(second moments of d x d, and a row sample), so files are folded into one, from the left and in their order,
as they come: the disk holds a few files a window whatever its rows, and the bits are those of one merge at
the end.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditor.arrays import opened, write_arrays
from auditor.sketching import SketchSet, read_sketches
from schemas.record import Quarantined, Reason

EVERY = 8
"""Units that are folded before the result is written in their place."""


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
    """Graded scores of the answers whose truth is known (8 bytes each: a mean alone does not tell how well it
    is known)."""

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
        scores = np.concatenate([self.scores, other.scores])
        return Streamed(sketches, facts, (*self.aside, *other.aside), scores)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Plain arrays, for npz (never pickle); facts and rows set aside as JSON."""
        told = json.dumps({"facts": dict(self.facts), "aside": [asdict(row) for row in self.aside]})
        arrays = {} if self.sketches is None else self.sketches.to_arrays()
        return {"told": np.frombuffer(told.encode(), np.uint8), "scores": self.scores, **arrays}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Streamed:
        """Inverse of `to_arrays`. ValueError, KeyError or TypeError where arrays do not fit."""
        told = json.loads(arrays["told"].tobytes())
        rest = {name: array for name, array in arrays.items() if name not in ("told", "scores")}
        aside = tuple(Quarantined(**row | {"reason": Reason(row["reason"])}) for row in told["aside"])
        return cls(SketchSet.from_arrays(rest) if rest else None, told["facts"], aside, arrays["scores"])


def write_streamed(path: Path, streamed: Streamed) -> None:
    """Write whole (npz)."""
    write_arrays(path, streamed.to_arrays())


def read_streamed(path: Path) -> Streamed:
    """What `write_streamed` wrote. Raises `AuditError` where the file is none."""
    with opened(path) as file:
        return Streamed.from_arrays(dict(file))


def folded(paths: Iterable[Path]) -> Streamed:
    """The files' rows together, merged in this order (in another the last bits differ)."""
    total: Streamed | None = None
    for path in paths:
        each = read_streamed(path)
        total = each if total is None else total.merge(each)
    if total is None:
        raise ValueError("nothing to fold")
    return total


def read_sums(paths: Sequence[Path]) -> SketchSet | None:
    """The sums of all rows in the files, merged in this order; a file holds a `Streamed` or a `SketchSet`.
    None where no row is usable. Raises `AuditError` as `read_streamed`."""
    total: SketchSet | None = None
    for path in paths:
        each = _sums(path)
        if each is not None:
            total = each if total is None else total.merge(each)
    return total


def _sums(path: Path) -> SketchSet | None:
    with opened(path) as file:
        streamed = "told" in file
    return read_streamed(path).sketches if streamed else read_sketches(path)


class Fold:
    """The files of one window's units, folded from the left as they come.

    The last unit stays by itself: a window that grows keeps all units before it. What is folded is named by
    the units in it, so that the next run knows them as done.
    """

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._folder, self._names = folder, tuple(names)
        self._marks = _marks(self._names)
        written = (k for k in range(len(names) - 1, 0, -1) if self._file(k).exists())
        self._at = self._written = next(written, 0)
        self._held: Streamed | None = None

    def came(self, k: int) -> None:
        """Unit k was made: fold what can be folded now. (One that was folded before is not needed again.)"""
        if k < self._written:
            self._unit(k).unlink(missing_ok=True)
        self.advance()

    def missing(self) -> list[int]:
        """The units that are yet to be made."""
        return [k for k in range(self._at, len(self._names)) if not self._unit(k).exists()]

    def advance(self) -> None:
        """Fold the units that have come since, in their order, up to the first that has not."""
        last = len(self._names) - 1
        while self._at < last and self._unit(self._at).exists():
            unit = read_streamed(self._unit(self._at))
            if self._held is None and self._written:
                self._held = read_streamed(self._file(self._written))
            self._held = unit if self._held is None else self._held.merge(unit)
            self._at += 1
            if self._at - self._written >= EVERY or self._at == last:
                self._write()
        if self._at == last:
            self._held = None

    def files(self) -> tuple[Path, ...]:
        """The files whose rows, in this order, are the window's, once none is missing."""
        self.advance()
        before = (self._file(self._written),) if self._written else ()
        return (*before, *(self._unit(k) for k in range(self._written, len(self._names))))

    def _write(self) -> None:
        assert self._held is not None
        before = self._written
        write_streamed(self._file(self._at), self._held)
        self._written = self._at
        # Only now, when the file that stands for them is whole.
        for path in [*([self._file(before)] if before else []), *map(self._unit, range(before, self._at))]:
            path.unlink(missing_ok=True)

    def _unit(self, k: int) -> Path:
        return self._folder / f"{self._names[k]}.npz"

    def _file(self, count: int) -> Path:
        """Of the first `count` units."""
        return self._folder / f"first-{self._marks[count]}.npz"


def _marks(names: Sequence[str]) -> list[str]:
    """What stands for the first 0, 1, ... of the names."""
    state = blake2b(digest_size=16)
    marks = [state.hexdigest()]
    for name in names:
        state.update(f"{name}\n".encode())
        marks.append(state.hexdigest())
    return marks
