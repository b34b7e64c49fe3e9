"""Messages that an instrumentation has uploaded, in the place of which a span has the name of a file."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

from auditor.errors import RowError
from auditor.records.formats.reading import Reading
from auditor.records.lines import load_json
from auditor.records.media import MediaPolicy, read_under_root
from auditor.records.sources import is_uri

_MOST_FOLDERS = 8


def uploaded(ref: str, reading: Reading) -> list[Any] | None:
    """Return the messages of an upload; None where it is not under `data.media_root`, or cannot be read.

    Only the end of the address is used: `gs://bucket/day/1_inputs.json` may lie under the root as
    `day/1_inputs.json` or `1_inputs.json`. Nothing is fetched.
    """
    if reading.media_root is None:
        return None
    policy = MediaPolicy(reading.media_root, max_bytes=reading.limits.line_bytes)
    path = unquote(urlsplit(ref).path) if is_uri(ref) else ref
    names = [name for name in path.split("/") if name]
    for start in range(max(len(names) - _MOST_FOLDERS, 0), len(names)):
        try:
            return _messages(read_under_root("/".join(names[start:]), policy))
        except RowError:
            continue
    return None


def _messages(data: bytes) -> list[Any]:
    """The messages of a file: one JSON array, or one message a line, numbered by `index`."""
    text = data.decode("utf-8", "replace")
    try:
        whole = load_json(text)
    except RowError:
        whole = [load_json(line) for line in text.splitlines() if line.strip()]
    messages = whole if isinstance(whole, list) else [whole]
    if all(isinstance(message, dict) and isinstance(message.get("index"), int) for message in messages):
        messages.sort(key=lambda message: message["index"])
    return messages
