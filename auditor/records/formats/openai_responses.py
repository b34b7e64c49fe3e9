"""The format `openai_responses`: responses of the interface of that name, with their input beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from auditor.records.formats.openai_exchange import exchange, halves
from auditor.records.formats.reading import Reading
from auditor.records.formats.registry import Row, format
from auditor.records.formats.values import first_name


def recognises(row: Mapping[str, Any]) -> bool:
    """Return whether a row is a response, or has one."""
    request, response = halves(row)
    output, given = response.get("output"), request.get("input")
    return response.get("object") == "response" or (
        isinstance(output, list) and isinstance(given, str | list) and "instruction" not in row
    )


@format(
    "openai_responses",
    told_by='`object: "response"`, or `input` and a list `output`',
    recognises=recognises,
    order=50,
)
def openai_responses(row: dict[str, Any], reading: Reading) -> Row:
    """Translate one response. One that failed or is incomplete leaves its row without an answer."""
    request, response = halves(row)
    record_id = first_name(response, "id") or first_name(row, "id", "request_id")
    return exchange(request, response, reading, record_id)
