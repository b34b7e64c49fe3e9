"""Ids are remembered in memory that does not grow with their number."""

from __future__ import annotations

import sqlite3
from hashlib import blake2b

CACHE_BYTES = 32 * 2**20


class Seen:
    """`Seen` is a set of record ids: 16-byte digests in a temporary B-tree, at most `CACHE_BYTES` of it in
    memory and the rest in a file without a name, which goes with the process. O(log n) an id, some
    microseconds."""

    def __init__(self) -> None:
        # An empty name is SQLite's private temporary database: in its cache until that is full.
        self._ids = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._ids.execute("PRAGMA journal_mode = OFF")
        self._ids.execute("PRAGMA synchronous = OFF")
        self._ids.execute(f"PRAGMA cache_size = -{CACHE_BYTES // 1024}")
        self._ids.execute("CREATE TABLE seen (id BLOB PRIMARY KEY) WITHOUT ROWID")
        self._ids.execute("BEGIN")  # one that never ends: nothing is written before the cache is full

    def add(self, record_id: str) -> bool:
        """Remember an id; return False where it was known already."""
        name = record_id.encode("utf-8", "surrogatepass")
        digest = blake2b(name, digest_size=16).digest()
        return self._ids.execute("INSERT OR IGNORE INTO seen VALUES (?)", (digest,)).rowcount == 1
