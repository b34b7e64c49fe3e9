"""Formats that are known but not read are named, with the way out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

_FIELDS_SHOWN = 8


class Unread(NamedTuple):
    """An `Unread` is a format that is known by its fields, and what can be done with it."""

    name: str
    recognises: Callable[[Mapping[str, Any]], bool]
    way_out: str


UNREAD = (
    Unread(
        "pieces of a streamed chat completion",
        lambda row: row.get("object") == "chat.completion.chunk",
        "log the whole completion, or join the pieces of one id before",
    ),
    Unread(
        "messages of Anthropic",
        lambda row: row.get("type") == "message" and isinstance(row.get("content"), list),
        "keep the request beside the response and set data.map, such as {record_id: $.response.id, history: "
        "$.request.messages[:-1], query: $.request.messages[-1].content, model: $.response.model, response: "
        "$.response.content}",
    ),
    Unread(
        "calls of Gemini",
        lambda row: isinstance(row.get("contents"), list) or isinstance(row.get("candidates"), list),
        "set data.map, such as {query: '$.contents[-1].parts[*].text', response: "
        "'$.candidates[0].content.parts[*].text', model: $.modelVersion}",
    ),
    Unread(
        "runs of LangSmith",
        lambda row: "run_type" in row and "inputs" in row,
        "set data.map, such as {record_id: $.id, query: '$.inputs.messages[-1].content', response: "
        "$.outputs.output, model: $.extra.metadata.ls_model_name, timestamp: $.start_time}",
    ),
)


def way_out(row: Mapping[str, Any]) -> str:
    """Return what a row without `record_id` of no format that is read seems to be, and what to do with it."""
    known = next((unread for unread in UNREAD if unread.recognises(row)), None)
    if known is not None:
        return f"these are {known.name}, which are not read: {known.way_out}"
    names = ", ".join(sorted(map(str, row))[:_FIELDS_SHOWN]) or "none"
    return f"no record_id, and no format that is read has the fields {names}: say where they stand (data.map)"
