"""A request to an OpenAI-compatible server and what came back, by either of its interfaces: chat completions,
and Responses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from auditor.records.formats.conversation import Conversation, said
from auditor.records.formats.reading import Reading
from auditor.records.formats.registry import Row
from auditor.records.formats.values import first_name, from_json, mapping_of, moment, name_of
from auditor.records.lines import kind


def exchange(
    request: Mapping[str, Any],
    response: Mapping[str, Any],
    reading: Reading,
    record_id: str | None,
    failed: str | None = None,
) -> Row:
    """Return the row of a request (empty: not known) and its response (empty: there is none).

    The answer is kept under the name of the model that was asked for. The name that answered, where it is
    another one (a dated version), becomes the tag `answered_by:NAME`. `failed`: why there is no answer, where
    that is known already.
    """
    conversation = Conversation(reading)
    conversation.add("system", request.get("instructions", response.get("instructions")))
    conversation.add_messages(request.get("messages", request.get("input")))
    asked, answered = name_of(request.get("model")), name_of(response.get("model"))
    model = asked or answered
    answers, why = ([], failed) if failed else answers_in(response)
    fields: dict[str, Any] = {
        "timestamp": moment(response.get("created_at", response.get("created")), 1),
        "conversation_id": _conversation(request) or _conversation(response),
        "tags": [f"answered_by:{answered}"] if answered and answered != model else None,
        "reference": name_of(request.get("reference")),
    }
    images = [request.get("images"), request.get("image")]
    return conversation.row(record_id, model=model, answers=answers, failed=why, images=images, **fields)


def answers_in(response: Mapping[str, Any]) -> tuple[list[str] | None, str | None]:
    """Return the answers of a response (None: it has no place for any), and why there are none."""
    if response.get("error"):
        return [], f"the call failed: {failure(response['error'])}"
    choices = response.get("choices")
    if isinstance(choices, list):
        texts = [_choice(choice) for choice in choices]
        return texts, None if texts else "the response has no choices"
    status = response.get("status")
    if status in ("failed", "incomplete", "cancelled", "expired"):
        detail = failure(response.get("incomplete_details"))
        return [], f"the response is {status}{f' ({detail})' if detail else ''}"
    output = response.get("output")
    if isinstance(output, list):
        items = (item for item in output if isinstance(item, Mapping) and item.get("type") != "reasoning")
        parts = [said({"content": [item]} if "content" not in item else item) for item in items]
        return ["\n".join(part for part in parts if part)], None
    if isinstance(response.get("output_text"), str):
        return [response["output_text"]], None
    return None, None


def _choice(choice: Any) -> str:
    if not isinstance(choice, Mapping):
        return ""
    return said(choice["message"] if "message" in choice else choice.get("text"))


def failure(error: Any) -> str:
    """Return in a few words what an error says."""
    if isinstance(error, Mapping):
        named = first_name(error, "code", "type", "reason")
        message = first_name(error, "message")
        return ": ".join(part for part in (named, message) if part)
    return error if isinstance(error, str) else "" if error is None else kind(error)


def _conversation(exchanged: Mapping[str, Any]) -> str | None:
    """The id of the conversation: that of Responses, else what is usual in `metadata`."""
    conversation = exchanged.get("conversation")
    if isinstance(conversation, Mapping):
        conversation = conversation.get("id")
    return name_of(conversation) or first_name(
        mapping_of(exchanged.get("metadata")), "conversation_id", "session_id"
    )


def halves(row: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return the request and the response of a row: two objects in it, or the row itself as both."""
    request, response = (from_json(row.get(name)) for name in ("request", "response"))
    if isinstance(request, Mapping):
        return _body(request), _body(response) if isinstance(response, Mapping) else {}
    if isinstance(response, Mapping):
        return row, _body(response)
    return row, row


def _body(half: Mapping[str, Any]) -> Mapping[str, Any]:
    body = from_json(half.get("body"))
    return body if isinstance(body, Mapping) else half
