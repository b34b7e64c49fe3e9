"""The format `inspect`: samples of Inspect's evaluation logs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from auditor.records.formats.conversation import Conversation, said
from auditor.records.formats.openai_exchange import answers_in, failure
from auditor.records.formats.reading import Reading
from auditor.records.formats.registry import Row, format
from auditor.records.formats.values import first_name, mapping_of, text_of

_MARKS = {"C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0}
"""What Inspect's scorers write for correct, incorrect, partly correct and no answer."""


def recognises(row: Mapping[str, Any]) -> bool:
    """Return whether a row is a sample of an evaluation log."""
    return {"epoch", "input", "target", "output"} <= set(row)


@format(
    "inspect",
    told_by="`epoch`, `input`, `target` and `output` (samples of an `.eval` log)",
    recognises=recognises,
    order=35,
)
def inspect(row: dict[str, Any], reading: Reading) -> Row:
    """Translate one sample. Its target is the reference, one or several."""
    conversation = Conversation(reading)
    conversation.add_messages(row.get("input"))
    output = mapping_of(row.get("output"))
    answers, failed = answers_in(output)
    if row.get("error") and not any(answers or ()):
        answers, failed = [], f"the sample failed: {failure(row['error'])}"
    if not answers and not failed and isinstance(output.get("completion"), str):
        answers = [said(output["completion"])]
    target = row.get("target")
    model = first_name(output, "model") or first_name(row, "model")
    score = _score(row.get("scores"))
    number, epoch = first_name(row, "uuid", "id"), first_name(row, "epoch")
    return conversation.row(
        number if "uuid" in row or number is None else f"{number}:{epoch}",
        model=model,
        answers=answers or [],
        failed=failed,
        reference=target if isinstance(target, list) or target is None else text_of(target),
        base_id=first_name(row, "id"),
        scores={model: score} if model and score is not None else None,
    )


def _score(scores: Any) -> float | None:
    """The score of a sample: that of the first scorer, where it is a mark or a number from 0 to 1."""
    first = next(iter(scores.values()), None) if isinstance(scores, Mapping) else None
    value = first.get("value") if isinstance(first, Mapping) else None
    if isinstance(value, str):
        return _MARKS.get(value)
    return float(value) if isinstance(value, int | float) and 0 <= value <= 1 else None
