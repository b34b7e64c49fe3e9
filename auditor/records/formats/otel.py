"""The format `otel`: calls of models by OpenTelemetry's conventions for generative AI (`gen_ai.*`), on spans
or on the event `gen_ai.client.inference.operation.details`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from auditor.errors import RowError, one_line
from auditor.records.formats.conversation import Conversation, said
from auditor.records.formats.otlp import Told, is_telemetry, tellings
from auditor.records.formats.reading import Reading
from auditor.records.formats.registry import Row, made, stream_format
from auditor.records.formats.uploads import uploaded
from auditor.records.formats.values import first_name, from_json, name_of
from auditor.records.formats.waiting import Waiting
from auditor.records.raw import Raw
from auditor.records.screen import Place
from schemas.record import Reason

INPUT, OUTPUT, SYSTEM = "gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions"
_CALLS = (None, "chat", "generate_content", "text_completion", "completion")
_OLDER = ("gen_ai.prompt.", "gen_ai.completion.", "llm.input_messages.", "llm.output_messages.")
_BARE, _DONE = "span without content", "told"


@stream_format(
    "otel",
    told_by="`resourceSpans` or `resourceLogs`, or `attributes` with `gen_ai.*` of a span or an event",
    recognises=is_telemetry,
    order=10,
)
def otel(raws: Iterator[Raw], reading: Reading) -> Iterator[Raw]:
    """Translate every span or event that tells of a call of a model into a row; others are counted.

    A span may come without messages and an event with them (before or after it): they are one row. Spans
    whose messages come from nowhere are quarantined as withheld, at the end.
    """
    waiting = Waiting()
    for raw in raws:
        if isinstance(raw.fields, RowError):
            yield raw
            continue
        try:
            told = list(tellings(raw.fields))
        except RowError as error:
            yield Raw(raw.place, error)
            continue
        except Exception as error:  # whatever objects a log holds, the other rows are read
            yield Raw(raw.place, RowError(Reason.UNREADABLE_LINE, one_line(error)))
            continue
        if not told:
            reading.left_out("an export without spans or events")
        for one in told:
            try:
                yield from _call(one, raw, waiting, reading)
            except RowError as error:
                yield Raw(raw.place, error)
    for key, place, held in waiting.rest(_BARE):
        yield Raw(place, _withheld(held["attributes"], key))


def _call(told: Told, raw: Raw, waiting: Waiting, reading: Reading) -> Iterator[Raw]:
    """The row of one span or event, once its messages are known."""
    attributes = told.attributes
    operation = attributes.get("gen_ai.operation.name")
    if not any(name.startswith(("gen_ai.", *_OLDER)) for name in attributes):
        reading.left_out("a span or event that is no call of a model")
        return
    if operation not in _CALLS:
        reading.left_out("a step of an agent, a tool or an embedding")
        return
    if attributes.get(INPUT) is None and attributes.get(f"{INPUT}_ref") is None:
        if told.key is None:
            yield Raw(raw.place, _withheld(attributes, None))
        elif waiting.has(told.key, _DONE) or not waiting.put(told.key, _BARE, raw.place, told.as_json()):
            reading.left_out("a span or event whose call was told before")
        return
    place, key = raw.place, told.key
    if key is not None:
        if (bare := waiting.take(key, _BARE)) is not None:
            reading.joined[raw.place.source] += 1
            place, held = bare
            told = Told(
                key,
                held["name"],
                held["when"] or told.when,
                held["attributes"] | attributes,
                held["failed"] or told.failed,
                False,
            )
        waiting.put(key, _DONE, Place("", 0))
    yield from made(Raw(place, raw.fields), partial(_row, told, reading))


def _row(told: Told, reading: Reading) -> Row:
    attributes = told.attributes
    conversation = Conversation(reading)
    system = _messages(attributes, SYSTEM, reading)
    if system:
        conversation.add("system", system)
    asked = _messages(attributes, INPUT, reading)
    if asked is None:
        raise RowError(
            Reason.CONTENT_WITHHELD,
            f"the file of `{INPUT}_ref` is not under data.media_root: full queues drop uploads",
        )
    conversation.add_messages(asked)
    answered = _messages(attributes, OUTPUT, reading)
    answers, failed = _answers(told, answered, reading)
    model = first_name(attributes, "gen_ai.request.model", "gen_ai.response.model") or _model_of(told.name)
    snapshot = name_of(attributes.get("gen_ai.response.model"))
    return conversation.row(
        told.key or name_of(attributes.get("gen_ai.response.id")),
        model=model,
        answers=answers,
        failed=failed,
        timestamp=told.when,
        conversation_id=name_of(attributes.get("gen_ai.conversation.id")),
        tags=[f"answered_by:{snapshot}"] if snapshot and snapshot != model else None,
    )


def _messages(attributes: Mapping[str, Any], name: str, reading: Reading) -> list[Any] | None:
    """The messages of an attribute, or of the file that it names; None where they are nowhere."""
    value = from_json(attributes.get(name))
    if isinstance(value, Mapping):
        value = [value]
    if isinstance(value, list):
        return value
    if isinstance(value, str) and value.strip():
        return [value]
    ref = attributes.get(f"{name}_ref")
    found = uploaded(ref, reading) if isinstance(ref, str) else None
    if ref is not None and found is None:
        reading.count(f"{name}_ref", "without its file: uploads are not lost at random")
    return found


def _answers(told: Told, answered: list[Any] | None, reading: Reading) -> tuple[list[str], str | None]:
    error = told.attributes.get("error.type")
    answers = [said(message) for message in answered or []]
    if any(answers):
        return answers, None
    if error is not None or told.failed:
        return [], f"the call failed: {error if isinstance(error, str) else 'the span has the status error'}"
    if answered is None:
        reading.count("responses", "withheld by the log: none is known")
        return [], None
    return answers, None


def _model_of(name: str) -> str | None:
    """The model in the name of a span, which is the operation and the model."""
    operation, _, model = name.partition(" ")
    return model.strip() or None if operation in _CALLS else None


def _withheld(attributes: Mapping[str, Any], key: str | None) -> RowError:
    if any(name.startswith(_OLDER) for name in attributes):
        detail = (
            "its messages are in attributes of another convention (gen_ai.prompt.N, llm.input_messages.N), "
            "which are not read: export gen_ai.input.messages, or map the fields (data.map)"
        )
    else:
        detail = f"the call{f' {key}' if key else ''} has no `{INPUT}`: capturing of contents was off"
    return RowError(Reason.CONTENT_WITHHELD, detail)
