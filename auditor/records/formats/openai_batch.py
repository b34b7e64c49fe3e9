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
    """Translate the lines of requests and results, in whatever order they come. Rows come once all lines are
    read, in the order of the requests: results come in any order, and the order of rows is part of sums.

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
            error = RowError(Reason.MISSING_ID, "no `custom_id`, which requests and results share")
            yield Raw(raw.place, error)
            continue
        part = REQUEST if "body" in row else RESULT
        try:
            first = waiting.put(key, part, raw.place, row)
        except RowError as refused:
            yield Raw(raw.place, refused)
            continue
        if not first:
            again = f"a {part} before has this `custom_id`"
            yield Raw(raw.place, RowError(Reason.DUPLICATE_ID, again))
    for key, place, request in waiting.rest(REQUEST):
        found = waiting.take(key, RESULT)
        if found is not None:
            reading.joined[found[0].source] += 1
        make = partial(_joined, request, None if found is None else found[1], key, reading)
        yield from made(Raw(place, request), make)
    for _, place, _ in waiting.rest(RESULT):
        alone = "a batch's result without its request: name both files, by a glob or their folder"
        yield Raw(place, RowError(Reason.MISSING_INPUT, alone))


def _joined(request: Mapping[str, Any], result: Mapping[str, Any] | None, key: str, reading: Reading) -> Row:
    response = mapping_of((result or {}).get("response"))
    status = response.get("status_code", 200)
    body: Mapping[str, Any] = {}
    failed = None
    if result is None:
        failed = "no result with this custom_id was read"
    elif result.get("error"):
        failed = f"the request failed: {failure(result['error'])}"
    elif status != 200:
        why = failure(mapping_of(response.get("body")).get("error"))
        failed = f"the request failed with status {status}{f' ({why})' if why else ''}"
    elif not (body := mapping_of(response.get("body"))):
        failed = "the result has no response"
    return exchange(mapping_of(request.get("body")), body, reading, key, failed)
