"""The format `llava`: conversations as LLaVA, ShareGPT and their kin keep them, also as columns of a
table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from auditor.errors import RowError
from auditor.records.formats.conversation import Conversation
from auditor.records.formats.reading import Reading
from auditor.records.formats.registry import Row, format
from auditor.records.formats.values import first_name, from_json
from schemas.record import Reason

_LISTS = ("conversations", "conversation", "texts")


def recognises(row: Mapping[str, Any]) -> bool:
    """Return whether a row has turns of `from` and `value`, or rounds of `user` and `assistant`."""
    turns = _turns(row)
    return bool(turns) and all(
        isinstance(turn, Mapping) and ("from" in turn or {"user", "assistant"} <= set(turn)) for turn in turns
    )


@format(
    "llava",
    told_by="`conversations` of `from` and `value`, or `texts` of `user` and `assistant`",
    recognises=recognises,
    order=40,
)
def llava(row: dict[str, Any], reading: Reading) -> Row:
    """Translate one conversation. What is said last is the reference: models are tuned on it. In a row that
    names a `model` it is this model's answer."""
    conversation = Conversation(reading)
    conversation.add("system", row.get("system"))
    turns = _turns(row)
    for turn in turns:
        if not isinstance(turn, Mapping):
            raise RowError(Reason.UNREADABLE_LINE, "a turn of the conversation is no object")
        if "user" in turn and "from" not in turn:
            conversation.add("user", turn.get("user"))
            conversation.add("assistant", turn.get("assistant"))
        else:
            conversation.add_message(turn)
    return conversation.row(
        first_name(row, "id", "question_id", "uid"),
        model=first_name(row, "model", "model_id"),
        images=[row.get("image"), row.get("images")],
        timestamp=row.get("timestamp"),
        conversation_id=first_name(row, "conversation_id"),
    )


def _turns(row: Mapping[str, Any]) -> list[Any]:
    for name in _LISTS:
        turns = from_json(row.get(name))
        if isinstance(turns, list):
            return turns
    return []
