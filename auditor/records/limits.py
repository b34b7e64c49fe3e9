"""These limits say how large a row may be. They stand in one place, so that reading and admitting agree."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """`Limits` are the sizes above which a row (or one of its answers) is quarantined."""

    line_bytes: int = 64 * 2**20
    """Longest JSONL line; a longer one is skipped without being held in memory."""
    text_chars: int = 100_000
    """Longest single text: a query, a reference, an earlier turn, an answer."""
    id_chars: int = 1_000
    """Longest record_id or base_id."""
    images: int = 32
    """Most images of one record."""


DEFAULT_LIMITS = Limits()
