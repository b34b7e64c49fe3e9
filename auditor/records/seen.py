"""Ids, and what came with them, are remembered in memory that does not grow with their number."""

from __future__ import annotations

import sqlite3
from hashlib import blake2b, sha256
from typing import Literal

from schemas.record import Image, Record

CACHE_BYTES = 32 * 2**20

Before = Literal["new", "same", "other"]
"""Whether an id is new, came before with the same contents, or with other ones."""


class Seen:
    """`Seen` is a set of record ids with their contents: 16-byte digests in a temporary B-tree, at most
    `CACHE_BYTES` of it in memory and the rest in a file without a name, which goes with the process.
    O(log n) an id, some microseconds."""

    def __init__(self) -> None:
        # An empty name is SQLite's private temporary database: in its cache until that is full.
        self._ids = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._ids.execute("PRAGMA journal_mode = OFF")
        self._ids.execute("PRAGMA synchronous = OFF")
        self._ids.execute(f"PRAGMA cache_size = -{CACHE_BYTES // 1024}")
        self._ids.execute("CREATE TABLE seen (id BLOB PRIMARY KEY, content BLOB) WITHOUT ROWID")
        self._ids.execute("BEGIN")  # one that never ends: nothing is written before the cache is full

    def add(self, record_id: str, content: bytes = b"") -> Before:
        """Remember an id with its `content` (a digest), and say what was known of it before. The first
        content of an id stays."""
        name = record_id.encode("utf-8", "surrogatepass")
        digest = blake2b(name, digest_size=16).digest()
        added = self._ids.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (digest, content))
        if added.rowcount == 1:
            return "new"
        (first,) = self._ids.execute("SELECT content FROM seen WHERE id = ?", (digest,)).fetchone()
        return "same" if first == content else "other"


def record_digest(record: Record) -> bytes:
    """Return 16 bytes that stand for what a record says: its images as they are named or given, its texts and
    its answers. When it was written, and how it is tagged, scored or grouped, may differ where a row is sent
    again."""
    images = [_named(image) for image in record.images]
    turns = [(turn.role, turn.text) for turn in record.history]
    answers = sorted((model, tuple(texts)) for model, texts in record.responses.items())
    said = repr((images, record.query, turns, answers, record.reference))
    return blake2b(said.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _named(image: Image) -> tuple[str | None, str | None]:
    return (image.path, None) if image.data is None else (None, sha256(image.data).hexdigest())
