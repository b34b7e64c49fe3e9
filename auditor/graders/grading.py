"""This module turns records and their answers into scores: the one way in which graders are used."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from auditor.errors import AuditError, one_line
from auditor.protocols import Grader
from schemas.record import Record


class Score(NamedTuple):
    """A score is a graded answer."""

    value: float
    """From 0 to 1."""
    group: str
    """The group that the record is in."""


def scores(
    records: Sequence[Record], answers: Sequence[tuple[str, ...]], grader: Grader, model: str
) -> list[Score]:
    """Grade the (first) answers of `model` to each record, from 0 to 1; there is nothing for an answer that
    the grader cannot grade, and for a record without one.

    Raises:
        AuditError: the grader fails, or gives what is no number from 0 to 1.
    """
    grades = []
    for record, texts in zip(records, answers, strict=True):
        if not texts:
            continue
        try:
            score = grader.grade(record, texts[0], model)
        except AuditError:
            raise
        except Exception as error:  # whatever somebody else's grader raises
            raise _grading_error(grader, record, one_line(error)) from error
        if score is None:
            continue
        if not isinstance(score, int | float) or not 0.0 <= score <= 1.0:
            raise _grading_error(grader, record, f"{score!r:.80} is no number from 0 to 1")
        grades.append(Score(float(score), record.group_id or record.base_id))
    return grades


def grader_name(grader: Grader) -> str:
    """Return the name in a grader's identity."""
    return str(json.loads(grader.identity)["grader"])


def _grading_error(grader: Grader, record: Record, reason: str) -> AuditError:
    return AuditError(
        f"grader {grader_name(grader)} failed on record {record.record_id}: {reason}; "
        "mend it, or set `grader:` to another"
    )
