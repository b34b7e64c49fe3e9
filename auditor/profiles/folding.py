"""This module folds files of profiles as they come: few are left on the disk, with the bits of one merge at
the end.

A group's rows are profiled in units of work, a file each. A unit's file is about as large as its rows'
embeddings would be, so files are folded along the tree of `sketch.merge_tree`: the disk holds a logarithm of
a group's units. A unit with rows that failed stays outside, so that the next run can make it anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path

from auditor.profiles.profile import failed_rows, folded, write_profile
from schemas.record import Reason

EVERY = 8
"""Units, or nodes of as many, that are folded at a time: then each is written once and read once."""
MOST_FILES = 32
"""Files that a group may be read from; more (many failed units wait) are folded into one for the readers."""
LASTING = frozenset({Reason.NON_FINITE_EMBEDDING, Reason.IMAGE_CORRUPT, Reason.IMAGE_TRUNCATED})
"""Reasons that would come again: the same content decodes alike, and has the same vector in the same encoder.
All others may go (an image is there again, a worker has more memory, a server answers)."""


class Fold:
    """A fold is the files of one group's units, folded as they come into nodes of the tree over them.

    The last unit stays by itself: a group that grows keeps all units before it. So do units with rows that
    the next run will try again. What is folded is named by the units in it, so that the next run knows them
    as done. `inputs_apart`: as in `write_profile`.
    """

    def __init__(self, folder: Path, names: Sequence[str], *, inputs_apart: bool = False) -> None:
        self._folder, self._names, self._apart = folder, tuple(names), inputs_apart
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
        """Return the units that are yet to be made."""
        units, first = [], 0
        while first < len(self._names):
            if first not in self._sizes:
                units.append(first)
            first += self._sizes.get(first, 1)
        return units

    def again(self) -> dict[int, tuple[int, ...]]:
        """Return the failed rows of the units that an earlier run has made and that did not come since."""
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
        self._read_failures(k)
        self._fold(k)

    def advance(self) -> None:
        """Fold what an earlier run has left unfolded."""
        for k in range(0, len(self._names), EVERY):
            self._fold(k)

    def files(self) -> tuple[Path, ...]:
        """Return the files whose rows, in this order, are the group's, once none is missing."""
        first, last = 0, len(self._names) - 1
        while first < last:
            size = 1
            while first % (2 * size) == 0 and first + 2 * size <= last:
                size *= 2
            self._settle(first, size)
            first += max(size, self._sizes[first])
        paths = tuple(self._file(first, self._sizes[first]) for first in self._starts(0, len(self._names)))
        whole = self._folder / f"all-{self._mark(0, len(self._names))}.npz"
        if len(paths) <= MOST_FILES:
            whole.unlink(missing_ok=True)
            return paths
        write_profile(whole, folded(paths), inputs_apart=self._apart)
        return (whole,)

    def _find(self, first: int, size: int) -> None:
        """Find the files of the units from `first` on, the largest first."""
        if first + size <= len(self._names) and self._file(first, size).exists():
            self._sizes[first] = size
            if size == 1:
                self._read_failures(first)
        elif size > 1 and first < len(self._names):
            self._find(first, size // 2)
            self._find(first + size // 2, size // 2)

    def _read_failures(self, k: int) -> None:
        if rows := failed_rows(self._file(k, 1)):
            self._failed[k] = rows

    def _starts(self, first: int, stop: int) -> Iterator[int]:
        while first < stop:
            yield first
            first += self._sizes[first]

    def _complete(self, first: int, stop: int) -> bool:
        while first < stop and first in self._sizes:
            first += self._sizes[first]
        return first >= stop

    def _fold(self, k: int) -> None:
        """Fold the nodes above unit k, as far as all of their units are there."""
        size = EVERY
        while (first := k - k % size) + size < len(self._names) and self._complete(first, first + size):
            self._settle(first, size)
            size *= EVERY

    def _settle(self, first: int, size: int) -> None:
        """Write one file of these units, or where some have failed, of as many as have not."""
        if self._sizes[first] >= size:
            return
        if not self._failed.keys().isdisjoint(range(first, first + size)):
            self._settle(first, size // 2)
            self._settle(first + size // 2, size // 2)
            return
        starts = list(self._starts(first, first + size))
        paths = [self._file(start, self._sizes[start]) for start in starts]
        write_profile(self._file(first, size), folded(paths), inputs_apart=self._apart)
        for start in starts:
            del self._sizes[start]
        self._sizes[first] = size
        for path in paths:  # only now, when the file that stands for them is whole
            path.unlink(missing_ok=True)

    def _file(self, first: int, size: int) -> Path:
        name = self._names[first] if size == 1 else f"sum-{self._mark(first, size)}"
        return self._folder / f"{name}.npz"

    def _mark(self, first: int, size: int) -> str:
        """Return the digest that names these units."""
        names = "".join(f"{name}\n" for name in self._names[first : first + size])
        return blake2b(names.encode(), digest_size=16).hexdigest()
