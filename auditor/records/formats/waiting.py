"""Rows that wait for their other half lie outside of memory."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from typing import Any

from auditor.errors import RowError, one_line
from auditor.records.screen import Place
from auditor.records.seen import CACHE_BYTES
from schemas.record import Reason


class Waiting:
    """`Waiting` holds objects by a key and the part that they are: in a private temporary database, at most
    `CACHE_BYTES` of it in memory, the rest in a file without a name, which goes with the process. Objects are
    those of a log of JSON."""

    def __init__(self) -> None:
        self._rows = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._rows.execute("PRAGMA journal_mode = OFF")
        self._rows.execute("PRAGMA synchronous = OFF")
        self._rows.execute(f"PRAGMA cache_size = -{CACHE_BYTES // 1024}")
        self._rows.execute(
            "CREATE TABLE waiting "
            "(number INTEGER PRIMARY KEY, key TEXT, part TEXT, source TEXT, row INTEGER, held TEXT)"
        )
        self._rows.execute("CREATE UNIQUE INDEX by_key ON waiting (key, part)")
        self._rows.execute("BEGIN")  # one that never ends: nothing is written before the cache is full

    def put(self, key: str, part: str, place: Place, held: dict[str, Any] | None = None) -> bool:
        """Keep an object; return False where there is one of this key and part already. Raises `RowError` for
        one that cannot be kept."""
        try:
            text = json.dumps(held or {}, default=str)
        except (RecursionError, TypeError, ValueError) as error:
            raise RowError(Reason.UNREADABLE_LINE, f"cannot be kept ({one_line(error)})") from None
        cursor = self._rows.execute(
            "INSERT OR IGNORE INTO waiting (key, part, source, row, held) VALUES (?, ?, ?, ?, ?)",
            (_plain(key), part, _plain(place.source), place.row, text),
        )
        return cursor.rowcount == 1

    def has(self, key: str, part: str) -> bool:
        """Return whether there is an object of this key and part."""
        found = self._rows.execute("SELECT 1 FROM waiting WHERE key = ? AND part = ?", (_plain(key), part))
        return found.fetchone() is not None

    def take(self, key: str, part: str) -> tuple[Place, dict[str, Any]] | None:
        """Return an object and forget it; None where there is none."""
        found = self._rows.execute(
            "DELETE FROM waiting WHERE key = ? AND part = ? RETURNING source, row, held", (_plain(key), part)
        ).fetchall()
        return (Place(found[0][0], found[0][1]), json.loads(found[0][2])) if found else None

    def rest(self, part: str) -> Iterator[tuple[str, Place, dict[str, Any]]]:
        """Yield what still waits, with its key, in the order in which it came."""
        number = 0
        while True:
            row = self._rows.execute(
                "SELECT number, key, source, row, held FROM waiting WHERE part = ? AND number > ? "
                "ORDER BY number LIMIT 1",
                (part, number),
            ).fetchone()
            if row is None:
                return
            number = row[0]
            yield row[1], Place(row[2], row[3]), json.loads(row[4])


def _plain(text: str) -> str:
    """A text that SQLite takes: names of files may hold bytes that are no UTF-8."""
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
