"""Rows without an id get one of their contents: the same row has the same id in every reading."""

from __future__ import annotations

import json
import sqlite3
from hashlib import blake2b
from typing import Any

from auditor.records.seen import CACHE_BYTES


class ContentIds:
    """`ContentIds` gives ids of contents. Rows with equal contents are numbered in the order in which they
    come: the same question may well be asked twice. What was given lies in a private temporary database, at
    most `CACHE_BYTES` of it in memory."""

    def __init__(self) -> None:
        self._counts = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._counts.execute("PRAGMA journal_mode = OFF")
        self._counts.execute("PRAGMA synchronous = OFF")
        self._counts.execute(f"PRAGMA cache_size = -{CACHE_BYTES // 1024}")
        self._counts.execute("CREATE TABLE counts (digest BLOB PRIMARY KEY, n INTEGER) WITHOUT ROWID")
        self._counts.execute("BEGIN")  # one that never ends: nothing is written before the cache is full

    def give(self, fields: dict[str, Any]) -> str:
        """Return the id of a row: `content-` and 128 bits of its fields' digest, then its number from 2
        on."""
        digest = blake2b(_bytes(fields), digest_size=16)
        (count,) = self._counts.execute(
            "INSERT INTO counts VALUES (?, 1) ON CONFLICT (digest) DO UPDATE SET n = n + 1 RETURNING n",
            (digest.digest(),),
        ).fetchone()
        return f"content-{digest.hexdigest()}{'' if count == 1 else f'-{count}'}"


def _bytes(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, sort_keys=True, default=_other).encode("utf-8", "surrogatepass")


def _other(value: Any) -> str:
    """What JSON has no words for: bytes by their digest, moments by their text."""
    if isinstance(value, bytes):
        return blake2b(value, digest_size=16).hexdigest()
    return str(value)
