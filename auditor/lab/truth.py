"""This module judges whether an answer is right, and how nearly. The judge costs nothing, because the lab
knows what its pictures show."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.optimize import linear_sum_assignment

from auditor.lab.lexicon import KINDS
from auditor.lab.scene import COLOURS, SHAPES, TEXTURES
from schemas.record import TRUTH_TAG

_NUMBER_WORDS: Final = {
    word: number
    for number, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    )
} | {"no": 0, "none": 0}
_SYNONYMS: Final = {
    "violet": "purple",
    "solid": "plain",
    "stripes": "striped",
    "stripe": "striped",
    "dots": "dotted",
    "dot": "dotted",
    "spotted": "dotted",
    "rhombus": "diamond",
    "round": "circle",
}
_WORD: Final = re.compile(r"[a-z]+|\d+")
_COUNT_REACH: Final = 2
_DIGIT_REACH: Final = 3
_SLOTS: Final = ("colour", "texture", "shape", "digit")


@dataclass(frozen=True)
class Truth:
    """A truth is the right answer to one question: its kind and its canonical English words, e.g. ``red
    circle`` or ``3``."""

    kind: str
    answer: str

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown kind of question {self.kind!r}; known: {', '.join(KINDS)}")


def _words(text: str) -> list[str]:
    return [_SYNONYMS.get(word, word) for word in _WORD.findall(text.lower())]


def _only_match(words: Iterable[str], vocabulary: tuple[str, ...]) -> str | None:
    """Return the one word of ``vocabulary`` among ``words``; None where there is none, or more than one
    (hedging)."""
    matches = set(words) & set(vocabulary)
    return matches.pop() if len(matches) == 1 else None


def _number(words: list[str]) -> int | None:
    numbers = {
        int(w[:4]) if w.isdigit() else _NUMBER_WORDS[w] for w in words if w.isdigit() or w in _NUMBER_WORDS
    }
    return numbers.pop() if len(numbers) == 1 else None


def _parse_objects(text: str) -> list[tuple[str | None, ...]]:
    """Return (colour, texture, shape, digit) of each object of a description, None where it is not said."""
    parts = [_words(part) for part in text.split(",")]
    objects = [
        (
            _only_match(words, COLOURS),
            _only_match(words, TEXTURES),
            _only_match(words, SHAPES),
            None if (number := _number(words)) is None else str(number),
        )
        for words in parts
    ]
    return [o for o in objects if any(o)]


def _agree(answer: str | None, truth: str | None) -> bool:
    return answer is not None and answer == truth


def _description_score(answer: str, truth: str) -> float:
    """Score the attributes that agree under the best pairing of objects, twice over those of both
    descriptions."""
    answer_objects, true_objects = _parse_objects(answer), _parse_objects(truth)
    if not answer_objects:
        return 0.0
    agree = np.array(
        [
            [sum(x is not None and x == y for x, y in zip(a, b, strict=True)) for b in true_objects]
            for a in answer_objects
        ]
    )
    rows, columns = linear_sum_assignment(agree, maximize=True)
    return float(2 * agree[rows, columns].sum() / (len(_SLOTS) * (len(answer_objects) + len(true_objects))))


def graded_score(answer: str, truth: Truth) -> float:
    """Return how right ``answer`` is, in [0, 1], by its content and not by its phrasing.

    1 for the right content.  A count loses a half, and a digit a third, for each unit of distance; a
    colour-and-shape answer earns the share of its two words that are right, a description the share of its
    objects' attributes (Dice, under the best pairing of objects: inventing some costs as much as leaving some
    out).  Naming several candidates for one slot earns nothing.
    """
    if truth.kind == "describe":
        return _description_score(answer, truth.answer)
    words = _words(answer)
    if truth.kind in ("count", "count_of", "digit"):
        number = _number(words)
        if number is None:
            return 0.0
        reach = _DIGIT_REACH if truth.kind == "digit" else _COUNT_REACH
        return max(0.0, 1.0 - abs(number - int(truth.answer)) / reach)
    if truth.kind == "position":
        colour, shape = truth.answer.split()
        return ((_only_match(words, COLOURS) == colour) + (_only_match(words, SHAPES) == shape)) / 2.0
    vocabulary = {"colour": COLOURS, "shape": SHAPES, "texture": TEXTURES, "relation": ("yes", "no")}[
        truth.kind
    ]
    return float(_only_match(words, vocabulary) == truth.answer)


def exact(answer: str, truth: Truth) -> bool:
    """Return whether the content of ``answer`` is wholly right."""
    return graded_score(answer, truth) == 1.0


def to_tags(truth: Truth) -> list[str]:
    """Return a record's tags that hold its truth, so that a store which keeps only records can still be
    judged."""
    return [f"question:{truth.kind}", f"{TRUTH_TAG}{truth.answer}"]


def truth_of(tags: Iterable[str] | Mapping[str, str]) -> Truth:
    """Read the truth from a record's tags (see `to_tags`); ValueError where the record is not of the lab."""
    parts = dict(tags) if isinstance(tags, Mapping) else dict(t.split(":", 1) for t in tags if ":" in t)
    if "question" not in parts or "truth" not in parts:
        raise ValueError("these tags hold no lab truth: need 'question:KIND' and 'truth:ANSWER'")
    return Truth(parts["question"], parts["truth"])
