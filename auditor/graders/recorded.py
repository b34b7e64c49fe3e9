"""This grader reads the scores that the records came with."""

from __future__ import annotations

from auditor.graders.identity import grader_identity
from auditor.graders.registry import grader
from auditor.registry import Settings
from schemas.record import Record


@grader("recorded")
class Recorded:
    """The grade is the field `score` (or `scores`) of the records: a person's, a judge's or another program's
    grade."""

    meaning = "the records' own score"

    def __init__(self, settings: Settings) -> None:
        self._identity = grader_identity("recorded", settings)

    @property
    def identity(self) -> str:
        """Return the name and version, as canonical JSON."""
        return self._identity

    def grade(self, record: Record, answer: str, model: str) -> float | None:
        """Return the record's score of `model`; None where there is none, or it is of another answer than
        this."""
        recorded = record.responses.get(model, ())
        return record.scores.get(model) if recorded and recorded[0] == answer else None
