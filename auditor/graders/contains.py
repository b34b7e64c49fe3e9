"""This grader asks whether the reference stands somewhere in the answer."""

from __future__ import annotations

from auditor.graders.references import ReferenceGrader
from auditor.graders.registry import grader
from auditor.graders.text import words


@grader("contains")
class Contains(ReferenceGrader):
    """This grader is for long answers and short references. Whole words count, made alike as `normalised`
    does. An answer that lists every candidate earns 1, too."""

    name = "contains"
    meaning = "the answer holds the reference's words, in their order"

    def match(self, answer: str, reference: str) -> float:
        """Return 1 or 0; a reference without any letter or digit is looked for as it is."""
        answer_words, reference_words = words(answer), words(reference)
        if not reference_words:
            return float(reference.strip() in answer)
        starts = range(len(answer_words) - len(reference_words) + 1)
        return float(any(answer_words[i : i + len(reference_words)] == reference_words for i in starts))
