"""This grader grades nothing."""

from __future__ import annotations

from auditor.graders.identity import grader_identity
from auditor.graders.registry import grader
from auditor.registry import Settings
from schemas.record import Record


@grader("none")
class NoGrader:
    """Accuracy is left out of the report."""

    meaning = "nothing is graded"

    def __init__(self, settings: Settings) -> None:
        self._identity = grader_identity("none", settings)

    @property
    def identity(self) -> str:
        """Return its name, as canonical JSON."""
        return self._identity

    def grade(self, record: Record, answer: str, model: str) -> None:
        """Return None, always."""
        return None
