"""This grader asks whether the answer is the reference, character by character."""

from __future__ import annotations

from auditor.graders.references import ReferenceGrader
from auditor.graders.registry import grader


@grader("exact")
class Exact(ReferenceGrader):
    """Space at the ends of either text does not count."""

    name = "exact"
    meaning = "exact match with the reference"

    def match(self, answer: str, reference: str) -> float:
        """Return 1 or 0."""
        return float(answer.strip() == reference.strip())
