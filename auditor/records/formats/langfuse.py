"""The format `langfuse`: observations of Langfuse, as its interface gives them or as they are exported to a
blob storage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from auditor.records.formats.conversation import Conversation
from auditor.records.formats.reading import Reading
from auditor.records.formats.registry import Row, format
from auditor.records.formats.traced import add_input, output_answers
from auditor.records.formats.values import first_name, from_json, utc

_CALLS = ("GENERATION", None, "")


def recognises(row: Mapping[str, Any]) -> bool:
    """Return whether a row is an observation."""
    traced = "traceId" in row or "trace_id" in row
    timed = "startTime" in row or "start_time" in row
    return traced and timed and ("input" in row or "output" in row) and "spans" not in row


@format(
    "langfuse",
    told_by="`traceId` (`trace_id`), `startTime` (`start_time`), `input` and `output`",
    recognises=recognises,
    order=30,
)
def langfuse(row: dict[str, Any], reading: Reading) -> Row | None:
    """Translate one generation. Other observations (spans, events, tools) are no calls of a model."""
    if row.get("type") not in _CALLS:
        reading.left_out("an observation that is no generation")
        return None
    conversation = Conversation(reading)
    add_input(conversation, row.get("input"))
    answers, failed = output_answers(row.get("output"))
    if row.get("level") == "ERROR" and not any(answers or ()):
        message = first_name(row, "statusMessage", "status_message")
        answers, failed = [], f"the call failed: {message or 'the observation has the level ERROR'}"
    tags = from_json(row.get("tags"))
    return conversation.row(
        first_name(row, "id"),
        model=first_name(row, "model", "providedModelName", "provided_model_name"),
        answers=answers or [],
        failed=failed,
        timestamp=utc(row.get("startTime", row.get("start_time"))),
        conversation_id=first_name(row, "sessionId", "session_id"),
        tags=tags if isinstance(tags, list) and all(isinstance(tag, str) for tag in tags) else None,
    )
