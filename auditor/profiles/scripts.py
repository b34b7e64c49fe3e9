"""This module tells the script that a text is written in: Latin, Cyrillic, Han, and so on."""

from __future__ import annotations

import unicodedata
from collections import Counter

LETTERS = 200
"""Letters at the beginning of a text that are looked at."""


def script(text: str) -> str | None:
    """Return the script of most of the first letters of a text, as Unicode names it, in small letters (`cjk`
    is Han); None where there is no letter."""
    counts: Counter[str] = Counter()
    for character in text:
        if character.isalpha():
            counts[unicodedata.name(character, "other").split(maxsplit=1)[0].lower()] += 1
            if counts.total() == LETTERS:
                break
    return max(counts, key=lambda name: (counts[name], name)) if counts else None
