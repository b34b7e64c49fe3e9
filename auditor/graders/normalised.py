"""This grader compares texts that were made alike first (as SQuAD's, Rajpurkar et al. 2016)."""

from __future__ import annotations

from auditor.graders.references import ReferenceGrader
from auditor.graders.registry import grader
from auditor.graders.text import words


@grader("normalised")
class Normalised(ReferenceGrader):
    """Case, punctuation, articles, white space, the forms of Unicode (NFKC) and whether a number to twelve is
    a word do not count."""

    name = "normalised"
    meaning = "match with the reference but for case, punctuation and articles"

    def match(self, answer: str, reference: str) -> float:
        """Return 1 or 0; texts without any letter or digit are compared as they are."""
        answer_words, reference_words = words(answer), words(reference)
        return float(
            answer_words == reference_words
            if answer_words or reference_words
            else answer.strip() == reference.strip()
        )
