"""This module is the contract of a grader."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from auditor.graders import scores
from auditor.protocols import Grader
from schemas.record import Record

_MODEL = "model"
_HOSTILE = ("", " ", "\n", "1e999", "-0", "٣", "é" * 500, "<script>", "\u202e", "a" * 10_000)


def check_grader(grader: Grader, records: Sequence[Record] = (), answers: Sequence[str] = ()) -> None:
    """Raise `AssertionError`, with a sentence, where a grader breaks its contract; `records` and `answers`
    are yours, beside some that are hard on any grader.

    A grader has an identity (canonical JSON with its name) and a meaning in words; it gives a number from 0
    to 1 or None for every record and answer, the same one each time, and never raises.
    """
    assert isinstance(grader, Grader), "a grader has `meaning`, `identity` and `grade(record, answer, model)`"
    identity = json.loads(grader.identity)
    assert isinstance(identity, dict) and isinstance(identity.get("grader"), str) and identity["grader"], (
        f"`identity` is a JSON object with the grader's name under `grader`, not {grader.identity!r}"
    )
    assert grader.identity == json.dumps(identity, sort_keys=True), (
        "`identity` is canonical JSON: json.dumps(..., sort_keys=True)"
    )
    assert isinstance(grader.meaning, str) and grader.meaning.strip(), "`meaning` says what a score says"
    texts = [*_HOSTILE, *answers]
    for record in [*records, *_records()]:
        for answer in texts:
            answered = replace(record, responses={_MODEL: (answer,)})
            grades = scores([answered], [(answer,)], grader, _MODEL)  # raises for what is no score
            again = scores([answered], [(answer,)], grader, _MODEL)
            assert grades == again, f"{answer!r:.60}: graded {grades}, then {again}"


def _records() -> list[Record]:
    """Return records with and without a reference, scores and tags."""
    plain = Record("a", "a", query="what is it?")
    references = [replace(plain, reference=text) for text in (*_HOSTILE, "a red circle", "3", "the")]
    return [plain, *references, replace(plain, scores={_MODEL: 0.5}), replace(plain, tags=("truth:", "x"))]
