"""This grader is token F1: it counts the words that answer and reference share (SQuAD, Rajpurkar et al.
2016)."""

from __future__ import annotations

from collections import Counter

from auditor.graders.references import ReferenceGrader
from auditor.graders.registry import grader
from auditor.graders.text import words


@grader("token_f1")
class TokenF1(ReferenceGrader):
    """This grader is for longer references: the harmonic mean of precision and recall over words, made alike
    as `normalised` does, whatever their order."""

    name = "token_f1"
    meaning = "F1 of the words that the answer shares with the reference"

    def match(self, answer: str, reference: str) -> float:
        """Return 2 |common| / (|answer| + |reference|), words counted as often as both have them; texts
        without any letter or digit are compared as they are."""
        answer_words, reference_words = words(answer), words(reference)
        if not answer_words and not reference_words:
            return float(answer.strip() == reference.strip())
        common = (Counter(answer_words) & Counter(reference_words)).total()
        return 2 * common / (len(answer_words) + len(reference_words))
