"""This module holds what all graders share that compare an answer against the record's reference."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from auditor.graders.identity import grader_identity
from auditor.registry import Settings
from schemas.record import Record


class ReferenceGrader(ABC):
    """This class is a grader by a rule on two texts; a record without a reference cannot be graded."""

    name: ClassVar[str]
    meaning: ClassVar[str]
    version: ClassVar[int] = 1

    def __init__(self, settings: Settings) -> None:
        self._identity = grader_identity(self.name, settings, self.version)

    @property
    def identity(self) -> str:
        """Return the name, version and settings, as canonical JSON."""
        return self._identity

    def grade(self, record: Record, answer: str, model: str) -> float | None:
        """Return the score of one answer: the best by any of the record's references. None where it has
        none, or none that can be used."""
        references = () if record.reference is None else (record.reference, *record.other_references)
        scores = [self.match(answer, reference) for reference in references]
        return max((score for score in scores if score is not None), default=None)

    @abstractmethod
    def match(self, answer: str, reference: str) -> float | None:
        """Return how right an answer is by its reference, from 0 to 1; None for a reference that cannot be
        used."""
