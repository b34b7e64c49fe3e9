"""Values as vendors write them: ids, moments, texts, JSON within texts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from auditor.errors import RowError
from auditor.records.lines import load_json

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def name_of(value: Any) -> str | None:
    """Return an id or a name: a text that is not blank, or a whole number; None for all else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return str(value)
    return value if isinstance(value, str) and value.strip() else None


def first_name(row: Mapping[str, Any], *keys: str) -> str | None:
    """Return the first of these fields that is an id or a name."""
    return next((name for key in keys if (name := name_of(row.get(key))) is not None), None)


def text_of(value: Any) -> str:
    """Return a value as text: a text as it is, all else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def mapping_of(value: Any) -> Mapping[str, Any]:
    """Return an object, also one that is written as JSON in a text; empty for all else."""
    value = from_json(value)
    return value if isinstance(value, Mapping) else {}


def from_json(value: Any) -> Any:
    """Return what a text of JSON holds, where it holds an object or a list; all else as it is."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return load_json(value)
        except RowError:
            return value
    return value


def moment(value: Any, per_second: int) -> Any:
    """Return the moment of a count since 1970 (`per_second` 1, 1,000 or 1,000,000,000), which may be written
    as a text. What is no such count comes back as it is."""
    try:
        if isinstance(value, float):
            return _EPOCH + timedelta(seconds=value / per_second)
        if isinstance(value, int | str) and not isinstance(value, bool):
            return _EPOCH + timedelta(microseconds=int(value) * 10**6 // per_second)
    except (ValueError, OverflowError):
        pass
    return value


def utc(value: Any) -> Any:
    """Return a moment that is known to be in UTC and may be written without a zone. What is no text of a
    moment comes back as it is."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            return value
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value
    return value
