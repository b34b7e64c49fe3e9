"""What tracers keep of a call: an input and an output, in the shape of whatever was called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from auditor.records.formats.conversation import Conversation, said
from auditor.records.formats.openai_exchange import answers_in
from auditor.records.formats.values import from_json, text_of

_QUESTIONS = ("prompt", "question", "query", "input", "text")


def add_input(conversation: Conversation, value: Any) -> None:
    """Add what was asked: messages, an object with messages, a text, or an object that holds a text. Any
    other object is added as JSON, since nobody knows what it means."""
    value = from_json(value)
    if not isinstance(value, Mapping):
        conversation.add_messages(value)
        return
    if "role" in value:
        conversation.add_message(value)
        return
    for key in ("instructions", "system"):
        if value.get(key):
            conversation.add("system", value[key])
    for key in ("messages", *_QUESTIONS):
        if value.get(key) is not None:
            conversation.add_messages(value[key])
            return
    conversation.add("user", text_of(value) if value else None)


def output_answers(value: Any) -> tuple[list[str] | None, str | None]:
    """Return the answers of an output (None: it has none), and why there are none. Of several messages the
    last one is the answer."""
    value = from_json(value)
    if value is None:
        return None, None
    if isinstance(value, Mapping):
        answers, failed = answers_in(value)
        if answers is not None or failed is not None:
            return answers, failed
        if not any(key in value for key in ("content", "parts", "text", "tool_calls", "role", "type")):
            return [text_of(value)], None
        return [said(value)], None
    if isinstance(value, list) and value and all(isinstance(m, Mapping) and "role" in m for m in value):
        return [said(value[-1])], None
    return [said({"content": value} if isinstance(value, list) else value)], None
