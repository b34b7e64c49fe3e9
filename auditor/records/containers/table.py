"""CSV and TSV: the first line names the fields. A cell may hold JSON where its field has a structure."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import BinaryIO

from auditor.errors import BadInput, RowError
from auditor.records.containers.kinds import delimiter
from auditor.records.limits import Limits
from auditor.records.lines import BOM
from auditor.records.raw import Raw
from auditor.records.screen import Place
from schemas.record import Reason

_MOST_CELLS = 1_000_000


def rows(
    stream: BinaryIO, head: bytes, source: str, limits: Limits, columns: tuple[str, ...] | None
) -> Iterator[Raw]:
    """Yield the rows by the line that they begin in, the header's being 1. Raises `BadInput` where a name
    of `columns` is there twice."""
    csv.field_size_limit(limits.line_bytes)  # of the whole process, and the same for all that read CSV here
    separator = delimiter(head, source)
    lines = _Lines(stream, limits.line_bytes, separator.encode())
    cells = csv.reader(lines, delimiter=separator)
    names = [name.strip() for name in next(cells, [])]
    if twice := [name for name in columns or () if names.count(name) > 1]:
        raise BadInput(f"{source}: has the column `{twice[0]}` twice; rename one of them")
    while True:
        lines.begin()
        first = cells.line_num + 1
        try:
            row = next(cells, None)
        except csv.Error as error:
            if "field limit" in str(error):  # a quote that is never closed takes all lines after it
                raise
            yield Raw(Place(source, first), RowError(Reason.UNREADABLE_LINE, str(error)))
            continue
        if row is None:
            return
        if not any(cell.strip() for cell in row) and lines.problem is None:
            continue
        yield Raw(Place(source, first), lines.problem or _fields(names, row))


def _fields(names: list[str], row: list[str]) -> dict[str, object] | RowError:
    if len(row) != len(names):
        return RowError(
            Reason.UNREADABLE_LINE,
            f"{len(row)} cells, and the header has {len(names)}; is a quote or a separator missing?",
        )
    return {name: cell for name, cell in zip(names, row, strict=True) if name}


class _Lines(Iterator[str]):
    """Lines as text, each within a length; `problem` says what was wrong with those of the row at hand."""

    def __init__(self, stream: BinaryIO, limit: int, separator: bytes) -> None:
        self._stream, self._limit, self._separator = stream, limit, separator
        self._taken = 0
        self.problem: RowError | None = None

    def begin(self) -> None:
        """A row begins."""
        self._taken, self.problem = 0, None

    def __next__(self) -> str:
        line = self._stream.readline(self._limit + 1)
        if not line:
            raise StopIteration
        self._taken += len(line)
        if self._taken > self._limit:
            while line and not line.endswith(b"\n"):
                line = self._stream.readline(2**20)
            self.problem = RowError(Reason.UNREADABLE_LINE, f"longer than {self._limit:,} bytes")
            return "\n"
        if line.count(self._separator) > _MOST_CELLS:
            self.problem = RowError(Reason.UNREADABLE_LINE, f"more than {_MOST_CELLS:,} cells")
            return "\n"
        try:
            return line.removeprefix(BOM).decode("utf-8")
        except UnicodeDecodeError as error:
            self.problem = RowError(
                Reason.UNREADABLE_LINE,
                f"not UTF-8 at byte {error.start}; write it so: iconv -f WINDOWS-1252 -t UTF-8 FILE > NEW",
            )
            return line.decode("utf-8", "replace")
