"""A conversation becomes one row: the last question with what came before it, and what was answered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from auditor.errors import RowError
from auditor.records.formats.contents import Content, call_text, image_items, read_content, without_marks
from auditor.records.formats.reading import Reading
from auditor.records.formats.registry import Row
from auditor.records.formats.values import from_json
from auditor.records.raw import Failed
from schemas.record import Reason

UNNAMED = "unnamed"
"""The model of answers whose log does not say whose they are."""

_USERS = ("user", "human")
_ASSISTANTS = ("assistant", "gpt", "model", "ai", "bing", "bard", "chatgpt")
_ROLES = (
    dict.fromkeys(_USERS, "user")
    | dict.fromkeys(_ASSISTANTS, "assistant")
    | dict.fromkeys(("tool", "function", "observation", "function_call"), "tool")
)


class Conversation:
    """A `Conversation` gathers turns in their order, and then gives the public fields.

    The last turn of the user is the query, all other turns are the history; images of all turns are the
    images of the row, since the model was shown them all. What the assistant says at the end is no part of
    the input: it is the answer.
    """

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._turns: list[tuple[str, Content]] = []

    def add(self, role: Any, value: Any) -> None:
        """Add a turn with a content as a message has it."""
        name = role if isinstance(role, str) and role.strip() else "user"
        self._turns.append((_ROLES.get(name.lower(), name), read_content(value)))

    def add_message(self, message: Any) -> None:
        """Add a message: an object with its role, and its `content` (chat), `parts` (OpenTelemetry) or
        `value` (LLaVA), and the tools that it calls. A text is a question."""
        if not isinstance(message, Mapping):
            self.add("user", message)
            return
        role = message.get("role", message.get("from"))
        if role is None and message.get("type") in ("function_call", "function_call_output"):  # of Responses
            called = message["type"] == "function_call"
            self.add("assistant" if called else "tool", [message])
            return
        self.add(role, message_content(message))

    def add_messages(self, messages: Any) -> None:
        """Add messages: a list of them, which may be written as JSON, or one text or message."""
        messages = from_json(messages)
        for message in messages if isinstance(messages, list) else [messages]:
            if message is not None:
                self.add_message(message)

    @property
    def empty(self) -> bool:
        return not self._turns

    def last_said(self) -> str | None:
        """Return what the assistant says at the end, if the conversation ends so."""
        if self._turns and self._turns[-1][0] == "assistant":
            return self._turns[-1][1].text or None
        return None

    def row(
        self,
        record_id: str | None,
        *,
        model: str | None = None,
        answers: Sequence[str] | None = None,
        failed: str | None = None,
        images: Iterable[Any] = (),
        **fields: Any,
    ) -> Row:
        """Return the row.

        `answers`: of `model`, where they stand apart from the conversation. Where they do not, what the
        assistant says at the end is the model's answer; without a model's name it is the reference, as in a
        set that models are tuned on. `failed`: why the model gave no answer, or null. `images`: those that
        stand apart from the messages. `fields`: further public fields; nulls are left out.

        Raises `RowError`: content_withheld where nothing is left of the input.
        """
        turns, said = list(self._turns), self.last_said()
        if answers is None:
            answers = [] if said is None else [said]
            tuned = said is not None and model is None
        else:
            tuned = False
        if said is not None and said in answers:
            turns.pop()
        content = Content()
        asked = max((i for i, (role, _) in enumerate(turns) if role == "user"), default=None)
        apart = [item for value in images for item in image_items(value)]
        for _, turn in turns:
            content.add(turn)
        shown = [*content.images, *apart]
        texts = [(role, without_marks(turn.text) if apart else turn.text) for role, turn in turns]
        query = None if asked is None else texts[asked][1] or None
        withheld = content.withheld + max(content.places - len(apart), 0)
        if query is None and not shown and withheld:
            raise RowError(Reason.CONTENT_WITHHELD, "the log has the call, but not what was asked")
        self._reading.count("content", "withheld by the log, and left out", withheld)
        self._reading.count("content", "a sound, a video or a document, and left out", content.other_media)
        made: dict[str, Any] = {
            "record_id": record_id,
            "query": query,
            "history": [
                {"role": role, "text": text} for i, (role, text) in enumerate(texts) if i != asked and text
            ],
            "images": shown,
        }
        if tuned:
            self._reading.count("reference", "the last turn of the assistant, whose model is not named")
            made["reference"] = answers[0]
        elif answers:
            if model is None:
                self._reading.count("responses", f"of a model that is not named: kept as `{UNNAMED}`")
            made["responses"] = {model or UNNAMED: list(answers)}
        made |= {name: value for name, value in fields.items() if value is not None}
        lost = () if failed is None else (Failed(model or UNNAMED, failed),)
        return Row({name: value for name, value in made.items() if value not in (None, [], {})}, lost)


def message_content(message: Mapping[str, Any]) -> list[Any]:
    """Return the parts of a message, the calls of tools among them."""
    content: Any = None
    for key in ("content", "content_parts", "parts", "value", "text"):
        if message.get(key) is not None:
            content = message[key]
            break
    parts = list(content) if isinstance(content, list | tuple) else [content]
    if isinstance(message.get("refusal"), str) and content is None:
        parts.append(message["refusal"])
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else []:
        function = call.get("function") if isinstance(call, Mapping) else None
        if isinstance(function, Mapping):
            parts.append(call_text(function.get("name"), function.get("arguments")))
    return parts


def said(message: Any) -> str:
    """Return what an answer says, as text; empty where it says nothing."""
    if isinstance(message, Mapping):
        return read_content(message_content(message)).text
    return read_content(message).text
