"""Spans and events as OpenTelemetry writes them: the export of OTLP as JSON, the console exporters of its
SDKs, and logs of clouds that keep attributes as labels. Each is brought to one shape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from auditor.records.formats.values import first_name, moment

_GROUPS = (
    ("resourceSpans", "scopeSpans", "spans"),
    ("resource_spans", "scope_spans", "spans"),
    ("resourceLogs", "scopeLogs", "logRecords"),
    ("resource_logs", "scope_logs", "log_records"),
)
DETAILS = "gen_ai.client.inference.operation.details"
"""The event that holds messages where spans do not."""


@dataclass(slots=True)
class Told:
    """A `Told` is what a span or an event says of a call."""

    key: str | None
    """`trace:span`; None where it has no span."""
    name: str
    when: Any
    attributes: dict[str, Any]
    failed: bool
    event: bool

    def as_json(self) -> dict[str, Any]:
        """Return it as an object that can wait outside of memory."""
        when = self.when.isoformat() if hasattr(self.when, "isoformat") else self.when
        return {"name": self.name, "when": when, "attributes": self.attributes, "failed": self.failed}


def is_telemetry(row: Mapping[str, Any]) -> bool:
    """Return whether an object is an export of OTLP, or a span or an event."""
    if any(isinstance(row.get(group[0]), list) for group in _GROUPS):
        return True
    if isinstance(row.get("attributes", row.get("labels")), list | Mapping):
        found = attributes_of(row.get("attributes", row.get("labels")))
        return any(name.startswith("gen_ai.") for name in found) or (
            first_name(row, "spanId", "span_id") is not None or isinstance(row.get("context"), Mapping)
        )
    return False


def tellings(row: Mapping[str, Any]) -> Iterator[Told]:
    """Yield every span and event of an object, events that hang on a span among them."""
    for outer, middle, inner in _GROUPS:
        for group in _objects(row.get(outer)):
            for scope in _objects(group.get(middle)):
                for item in _objects(scope.get(inner)):
                    yield from _told(item)
    if not any(isinstance(row.get(group[0]), list) for group in _GROUPS):
        yield from _told(row)


def _told(item: Mapping[str, Any]) -> Iterator[Told]:
    inner_context = item.get("context")
    context = inner_context if isinstance(inner_context, Mapping) else item
    trace, span = first_name(context, "traceId", "trace_id"), first_name(context, "spanId", "span_id")
    if trace is None:  # a log of Google's cloud: projects/NAME/traces/ID
        trace = (first_name(item, "trace") or "").rpartition("/")[2] or None
    trace, span = (name and name.removeprefix("0x") for name in (trace, span))
    key = None if span is None else f"{trace}:{span}" if trace else span
    attributes = attributes_of(item.get("attributes", item.get("labels")))
    event = first_name(item, "eventName", "event_name") or first_name(attributes, "event.name")
    own = [e for e in _objects(item.get("events")) if e.get("name") == DETAILS]
    for inner in own:  # what an event of the span says is said of the span
        attributes |= attributes_of(inner.get("attributes"))
    yield Told(key, first_name(item, "name") or "", _when(item), attributes, _failed(item), event is not None)


def _objects(value: Any) -> Iterator[Mapping[str, Any]]:
    return (item for item in (value if isinstance(value, list) else []) if isinstance(item, Mapping))


def _when(item: Mapping[str, Any]) -> Any:
    for key in ("startTimeUnixNano", "start_time_unix_nano", "timeUnixNano", "time_unix_nano"):
        if item.get(key) not in (None, 0, "0"):
            return moment(item[key], 10**9)
    for key in ("observedTimeUnixNano", "observed_time_unix_nano"):
        if item.get(key) not in (None, 0, "0"):
            return moment(item[key], 10**9)
    return first_name(item, "start_time", "startTime", "timestamp")


def _failed(item: Mapping[str, Any]) -> bool:
    status = item.get("status")
    code = status.get("code", status.get("status_code")) if isinstance(status, Mapping) else None
    return code in (2, "2", "ERROR", "STATUS_CODE_ERROR", "StatusCode.ERROR")


def attributes_of(value: Any) -> dict[str, Any]:
    """Return attributes by name: those of an object, or of a list of `{key, value}` as OTLP writes them.
    Names that a table has written with underscores (`gen_ai_input_messages`) are not guessed at."""
    if isinstance(value, Mapping):
        return {str(name): item for name, item in value.items()}
    pairs = (pair for pair in _objects(value) if isinstance(pair.get("key"), str))
    return {pair["key"]: any_value(pair.get("value")) for pair in pairs}


def any_value(value: Any) -> Any:
    """Return the plain value of OTLP's AnyValue, such as `{"stringValue": "a"}`."""
    if not isinstance(value, Mapping):
        return value
    for name, item in value.items():
        match str(name).replace("_", "").lower():
            case "stringvalue" | "boolvalue" | "doublevalue" | "bytesvalue":
                return item
            case "intvalue":
                return int(item) if isinstance(item, str) and item.lstrip("-").isdigit() else item
            case "arrayvalue":
                return [any_value(v) for v in (item.get("values") or ())] if isinstance(item, Mapping) else []
            case "kvlistvalue":
                return attributes_of(item.get("values")) if isinstance(item, Mapping) else {}
    return value
