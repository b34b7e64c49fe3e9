"""The format `mlflow`: traces of MLflow, as `Trace.to_json` and exports of `search_traces` write them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from auditor.errors import RowError
from auditor.records.formats.conversation import Conversation
from auditor.records.formats.otlp import attributes_of
from auditor.records.formats.reading import Reading
from auditor.records.formats.registry import Row, made, stream_format
from auditor.records.formats.traced import add_input, output_answers
from auditor.records.formats.values import first_name, from_json, mapping_of, moment, name_of
from auditor.records.lines import load_json
from auditor.records.raw import Raw

_CALLS = ("CHAT_MODEL", "LLM")


def recognises(row: Mapping[str, Any]) -> bool:
    """Return whether a row is a trace: its info and its data, or the columns of a table of traces."""
    info, data = row.get("info"), row.get("data")
    if isinstance(info, Mapping) and isinstance(data, Mapping):
        return isinstance(data.get("spans"), list)
    return "spans" in row and ("trace_metadata" in row or "request_time" in row or "trace_id" in row)


@stream_format(
    "mlflow",
    told_by="`info` and `data` with `spans`, or the columns `trace_id` and `spans`",
    recognises=recognises,
    order=15,
)
def mlflow(raws: Iterator[Raw], reading: Reading) -> Iterator[Raw]:
    """Translate every span that is a call of a model into a row. A trace without one is a row of its own, of
    its outermost input and output."""
    for raw in raws:
        if isinstance(raw.fields, RowError):
            yield raw
            continue
        trace = raw.fields
        spans = [span for span in _spans(trace)]
        calls = [span for span in spans if _type_of(span) in _CALLS]
        roots = [span for span in spans if not span.get("parent_span_id", span.get("parent_id"))]
        for span in calls or roots[:1]:
            yield from made(raw, partial(_call, trace, span, reading))
        if not spans:
            yield from made(raw, partial(_whole, trace, reading))
        for _ in range(len(spans) - len(calls)) if calls else ():
            reading.left_out("a span that is no call of a model")


def _spans(trace: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    spans = from_json(mapping_of(trace.get("data")).get("spans", trace.get("spans")))
    parsed = [from_json(span) for span in spans] if isinstance(spans, list) else []
    return [span for span in parsed if isinstance(span, Mapping)]


def _attributes(span: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain(value) for name, value in attributes_of(span.get("attributes")).items()}


def _plain(value: Any) -> Any:
    """An attribute, which MLflow writes as JSON: a text within quotes."""
    if isinstance(value, str) and value[:1] in ('"', "{", "["):
        try:
            return load_json(value)
        except RowError:
            return value
    return value


def _type_of(span: Mapping[str, Any]) -> Any:
    return _plain(attributes_of(span.get("attributes")).get("mlflow.spanType", span.get("span_type")))


def _call(trace: Mapping[str, Any], span: Mapping[str, Any], reading: Reading) -> Row:
    attributes = _attributes(span)
    given = attributes.get("mlflow.spanInputs", span.get("inputs"))
    returned = attributes.get("mlflow.spanOutputs", span.get("outputs"))
    model = name_of(attributes.get("mlflow.llm.model")) or first_name(mapping_of(given), "model")
    model = model or first_name(mapping_of(returned), "model")
    start = span.get("start_time_unix_nano", span.get("start_time_ns", span.get("start_time")))
    status = span.get("status")
    code = status.get("code") if isinstance(status, Mapping) else span.get("status_code")
    broken = None
    if code in ("STATUS_CODE_ERROR", "ERROR", 2):
        message = first_name(status, "message") if isinstance(status, Mapping) else None
        broken = f"the call failed: {message or 'the span has the status error'}"
    span_id = first_name(span, "span_id", "context")
    trace_id = _trace_id(trace)
    record_id = ":".join(part for part in (trace_id, span_id) if part) or None
    return _row(trace, given, returned, model, moment(start, 10**9), record_id, broken, reading)


def _whole(trace: Mapping[str, Any], reading: Reading) -> Row:
    data = mapping_of(trace.get("data")) or trace
    return _row(
        trace, data.get("request"), data.get("response"), None, _when(trace), _trace_id(trace), None, reading
    )


def _row(
    trace: Mapping[str, Any],
    given: Any,
    returned: Any,
    model: str | None,
    when: Any,
    record_id: str | None,
    broken: str | None,
    reading: Reading,
) -> Row:
    conversation = Conversation(reading)
    add_input(conversation, given)
    answers, failed = output_answers(returned)
    if broken is not None and not any(answers or ()):
        answers, failed = [], broken
    metadata = mapping_of(_info(trace).get("trace_metadata", _info(trace).get("request_metadata")))
    return conversation.row(
        record_id,
        model=model,
        answers=answers or [],
        failed=failed,
        timestamp=when,
        conversation_id=first_name(metadata, "mlflow.trace.session"),
    )


def _info(trace: Mapping[str, Any]) -> Mapping[str, Any]:
    return mapping_of(trace.get("info")) or trace


def _trace_id(trace: Mapping[str, Any]) -> str | None:
    return first_name(_info(trace), "trace_id", "request_id")


def _when(trace: Mapping[str, Any]) -> Any:
    info = _info(trace)
    if (milliseconds := info.get("timestamp_ms")) is not None:
        return moment(milliseconds, 1000)
    when = info.get("request_time")
    return moment(when, 1000) if isinstance(when, int) else when
