"""The format `openai_chat`: chat completions with their messages, as proxies and stored completions keep
them, and files that models are tuned on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from auditor.records.formats.openai_exchange import exchange, halves
from auditor.records.formats.reading import Reading
from auditor.records.formats.registry import Row, format
from auditor.records.formats.values import first_name, from_json


def recognises(row: Mapping[str, Any]) -> bool:
    """Return whether a row has messages with roles, or choices that were answered."""
    request, response = halves(row)
    messages = from_json(request.get("messages"))
    if isinstance(messages, list) and messages:
        return all(isinstance(message, Mapping) and "role" in message for message in messages)
    return isinstance(response.get("choices"), list) and response.get("object") != "chat.completion.chunk"


@format(
    "openai_chat",
    told_by="`messages` of role and content, beside them `choices`, or `request` and `response`",
    recognises=recognises,
    order=60,
)
def openai_chat(row: dict[str, Any], reading: Reading) -> Row:
    """Translate one chat completion. Without choices, what the assistant says last is the answer."""
    request, response = halves(row)
    record_id = first_name(row, "id", "request_id") or first_name(response, "id")
    return exchange(request, response, reading, record_id)
