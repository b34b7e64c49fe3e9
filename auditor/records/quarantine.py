"""Quarantined rows are counted by reason, described in a few lines, and kept in a file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from auditor.errors import BadInput
from auditor.records.atomic import atomic_path
from auditor.records.limits import DEFAULT_LIMITS
from auditor.records.sources import open_source, shown, why
from auditor.records.values import clean
from schemas.record import QUARANTINE, Quarantined, Reason, Record

_DETAIL_CHARS = 200
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


class Quarantine:
    """A `Quarantine` collects quarantined rows. Details are cut to 200 characters, without control
    characters, since reports and terminals show them."""

    def __init__(self, rows: Iterable[Quarantined] = ()) -> None:
        self._rows: list[Quarantined] = []
        for row in rows:
            self.add(row)

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Quarantined]:
        return iter(self._rows)

    def add(self, row: Quarantined) -> None:
        """Keep one row."""
        self._rows.append(
            replace(
                row,
                source=clean(row.source),  # a file's name may be no UTF-8
                detail=_plain(row.detail),
                record_id=row.record_id and clean(row.record_id)[: DEFAULT_LIMITS.id_chars],
                model=clean(row.model),
            )
        )

    def sift(self, rows: Iterable[Record | Quarantined]) -> Iterator[Record]:
        """Yield the records among `rows`, and keep the quarantined ones here."""
        for row in rows:
            if isinstance(row, Record):
                yield row
            else:
                self.add(row)

    def counts(self) -> dict[str, int]:
        """Return reason -> rows (and single answers) quarantined for it; only reasons that occurred, as
        `Reason` orders them."""
        counts = Counter(row.reason for row in self._rows)
        return {reason.value: counts[reason] for reason in Reason if counts[reason]}

    def describe(self) -> list[str]:
        """Return one line a reason: how many, and the first of them."""
        first: dict[Reason, Quarantined] = {}
        for row in self._rows:
            first.setdefault(row.reason, row)
        return [
            f"{reason}: {count}, first {_plain(first[Reason(reason)].source)}:{first[Reason(reason)].row}"
            f" ({first[Reason(reason)].detail or reason})"
            for reason, count in self.counts().items()
        ]

    def why_empty(self) -> str:
        """Return the first reasons why no row is left, in one line."""
        return "; ".join(self.describe()[:3]) or "the files hold no rows"

    def write(self, path: str | Path) -> None:
        """Write all rows to Parquet (schema `QUARANTINE`), atomically."""
        table = pa.Table.from_pylist([asdict(row) for row in self._rows], schema=QUARANTINE)
        with atomic_path(path) as temporary:
            pq.write_table(table, temporary, compression="zstd")

    @classmethod
    def read(cls, path: str | Path) -> Quarantine:
        """Read what `write` wrote. Raises `BadInput` for a file that is missing or no quarantine."""
        with open_source(str(path)) as stream:
            try:
                # In this thread: one of Arrow's that still holds a Python file ends a process that exits.
                table = pq.ParquetFile(stream, pre_buffer=False).read(use_threads=False)
                rows = table.select(QUARANTINE.names).to_pylist()
                return cls(Quarantined(**row | {"reason": Reason(row["reason"])}) for row in rows)
            except (pa.ArrowException, OSError, ValueError, KeyError) as error:
                raise BadInput(
                    f"{shown(str(path))}: no readable quarantine ({why(error)}); run the audit again"
                ) from None


def _plain(text: str) -> str:
    text = _CONTROL.sub(" ", text)
    return text if len(text) <= _DETAIL_CHARS else text[: _DETAIL_CHARS - 1] + "…"
