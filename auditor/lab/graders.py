"""This module is the lab's grader: its records hold the right answer in their tags."""

from __future__ import annotations

from auditor.graders import Settings, grader, grader_identity
from auditor.lab.truth import graded_score, truth_of
from schemas.record import TRUTH_TAG, Record


@grader("lab")
class LabGrader:
    """This grader scores by content, not by phrasing (`auditor.lab.truth.graded_score`)."""

    meaning = "the lab's graded score"

    def __init__(self, settings: Settings) -> None:
        self._identity = grader_identity("lab", settings)

    @property
    def identity(self) -> str:
        """Return the name and version, as canonical JSON."""
        return self._identity

    def grade(self, record: Record, answer: str, model: str) -> float | None:
        """Return the score; None where the record's tags hold no truth of the lab."""
        if not any(tag.startswith(TRUTH_TAG) for tag in record.tags):
            return None
        try:
            return graded_score(answer, truth_of(record.tags))
        except ValueError:
            return None
