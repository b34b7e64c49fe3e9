"""This module makes texts alike before they are compared."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

NUMBER_WORDS: Final = {
    word: number
    for number, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    )
} | {"eleven": 11, "twelve": 12}
"""English words that are read as numbers; larger ones stay words."""

_ARTICLES: Final = frozenset({"a", "an", "the"})
_THOUSANDS: Final = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_DROPPED: Final = frozenset("'’‘`´.")
_SIGNS: Final = frozenset("-−")
# Scripts that are written without spaces: each of their characters is a word.
_UNSPACED: Final = re.compile(r"([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff])")


def folded(text: str) -> str:
    """Return `text` in one form of Unicode (NFKC), without case and without commas between thousands."""
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return _THOUSANDS.sub("", text)


def words(text: str) -> list[str]:
    """Return the words of `text` without case, punctuation, articles and the ways of writing one character;
    numbers to twelve as digits. Chinese characters and kana are a word each. A sign or a point that belongs
    to a number stays (`-3`, `1.5`). A text of nothing but articles (the choice `A`) keeps them."""
    spelled = [
        str(NUMBER_WORDS[word]) if word in NUMBER_WORDS else word
        for word in _UNSPACED.sub(r" \1 ", _letters_and_numbers(folded(text))).split()
    ]
    return [word for word in spelled if word not in _ARTICLES] or spelled


def _letters_and_numbers(text: str) -> str:
    out = []
    for i, char in enumerate(text):
        before, after = text[i - 1 : i], text[i + 1 : i + 2]
        if char == "." and before.isdecimal() and after.isdecimal():
            out.append(char)
        elif char in _SIGNS and after.isdecimal() and not (before.isalnum() or before in _SIGNS):
            out.append("-")
        elif char in _DROPPED:
            continue
        else:
            out.append(char if unicodedata.category(char)[0] in "LMN" else " ")
    return "".join(out)
