"""The format `openai_batch`: files of requests and files of results, joined by `custom_id`. vLLM's
`run_batch` writes the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from auditor.errors import RowError
from auditor.records.formats.openai_exchange import exchange, failure
from auditor.records.formats.reading import Reading
from auditor.records.formats.registry import Row, made, stream_format
from auditor.records.formats.values import mapping_of, name_of
from auditor.records.formats.waiting import Waiting
from auditor.records.raw import Raw
from schemas.record import Reason

REQUEST, RESULT = "request", "result"


def recognises(row: Mapping[str, Any]) -> bool:
    """Return whether a row is a line of a batch."""
    return "custom_id" in row and ("body" in row or "response" in row or "error" in row)


@stream_format(
    "openai_batch",
    told_by="`custom_id`, with `body` (requests) or `response` (results)",
    recognises=recognises,
    order=20,
)
def openai_batch(raws: Iterator[Raw], reading: Reading) -> Iterator[Raw]:
    """Translate the lines of requests and results, in whatever order they come: a row comes once both are
    read.

    A request without a result stays a row without an answer. A result without a request is quarantined:
    nobody knows what was asked.
    """
    waiting = Waiting()
    for raw in raws:
        row = raw.fields
        if isinstance(row, RowError):
            yield raw
            continue
        key = name_of(row.get("custom_id"))
        if key is None:
            yield Raw(
                raw.place, RowError(Reason.MISSING_ID, "no `custom_id`, which requests and results share")
            )
            continue
        part, other = (RESULT, REQUEST) if "body" not in row else (REQUEST, RESULT)
        found = waiting.take(key, other)
        if found is None:
            if not waiting.put(key, part, raw.place, row):
                again = f"a {part} before has this `custom_id`"
                yield Raw(raw.place, RowError(Reason.DUPLICATE_ID, again))
            continue
        place = raw.place if part == REQUEST else found[0]
        pair = (row, found[1]) if part == REQUEST else (found[1], row)
        yield from made(Raw(place, row), partial(_joined, *pair, key, reading))
    for key, place, row in waiting.rest(REQUEST):
        yield from made(Raw(place, row), partial(_unanswered, row, key, reading))
    for _, place, _ in waiting.rest(RESULT):
        yield Raw(place, RowError(Reason.MISSING_INPUT, "no request with this `custom_id`: read both files"))


def _joined(request: Mapping[str, Any], result: Mapping[str, Any], key: str, reading: Reading) -> Row:
    response = mapping_of(result.get("response"))
    failed = None
    status = response.get("status_code", 200)
    if result.get("error"):
        failed = f"the request failed: {failure(result['error'])}"
    elif status != 200:
        failed = f"the request failed with status {status}"
    body = {} if failed else mapping_of(response.get("body"))
    if not failed and not body:
        failed = "the result has no response"
    return exchange(mapping_of(request.get("body")), body, reading, key, failed)


def _unanswered(request: Mapping[str, Any], key: str, reading: Reading) -> Row:
    return exchange(
        mapping_of(request.get("body")), {}, reading, key, "no result with this custom_id was read"
    )
