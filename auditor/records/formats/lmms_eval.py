"""The format `lmms_eval`: samples that lmms-eval logs (`--log_samples`)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from auditor.errors import RowError
from auditor.records.formats.contents import image_items
from auditor.records.formats.conversation import Conversation
from auditor.records.formats.reading import Reading
from auditor.records.formats.registry import Row, made, stream_format
from auditor.records.formats.values import first_name, from_json, mapping_of, text_of
from auditor.records.raw import Raw

_SAMPLES = re.compile(r"(?:^|_)samples_(.+?)\.jsonl?(?:\.\w+)?$")
_NO_METRIC = frozenset(
    {"doc_id", "target", "doc", "input", "arguments", "resps", "filtered_resps", "metrics"}
)


def recognises(row: Mapping[str, Any]) -> bool:
    """Return whether a row is a logged sample."""
    return "doc_id" in row and ("resps" in row or "filtered_resps" in row)


@stream_format(
    "lmms_eval",
    told_by="`doc_id` with `resps` or `filtered_resps`",
    recognises=recognises,
    order=25,
)
def lmms_eval(raws: Iterator[Raw], reading: Reading) -> Iterator[Raw]:
    """Translate every sample. The model is the folder that the file lies in, the task is in the file's name:
    rows name neither. Images are not in these logs."""
    for raw in raws:
        if isinstance(raw.fields, RowError):
            yield raw
            continue
        path = PurePosixPath(raw.place.source)
        named = _SAMPLES.search(path.name)
        task = named[1] if named else path.stem
        yield from made(raw, partial(_row, raw.fields, path.parent.name or None, task, reading))


def _row(sample: Mapping[str, Any], model: str | None, task: str, reading: Reading) -> Row:
    doc = mapping_of(sample.get("doc"))
    conversation = Conversation(reading)
    asked = _first(sample.get("input", sample.get("arguments")))
    if asked is None:
        asked = first_name(doc, "question", "prompt", "query")
    messages = from_json(asked)
    conversation.add_messages(messages if isinstance(messages, list) else asked)
    answer = _first(sample.get("resps")) or _first(sample.get("filtered_resps"))
    if not image_items(doc.get("image")):
        reading.count("images", "left out, since logs of lmms-eval have none")
    score = _score(sample)
    target = sample.get("target")
    number = first_name(sample, "doc_id")
    return conversation.row(
        None if number is None else f"{task}:{number}",
        model=model,
        answers=[] if answer is None else [answer],
        images=[doc.get("image")] if isinstance(doc.get("image"), str) else [],
        reference=None if target is None else text_of(target),
        scores={model: score} if model and score is not None else None,
        tags=[f"task:{task}"],
    )


def _first(value: Any, depth: int = 4) -> str | None:
    """The first text in lists and objects of arguments."""
    if isinstance(value, str):
        return value
    items = list(value.values()) if isinstance(value, Mapping) else value
    return _first(items[0], depth - 1) if isinstance(items, list) and items and depth else None


def _score(sample: Mapping[str, Any]) -> float | None:
    """The one metric of a sample that is a number from 0 to 1; None where there is none, or several."""
    numbers = [
        float(value)
        for name, value in sample.items()
        if name not in _NO_METRIC and isinstance(value, int | float) and 0 <= value <= 1
    ]
    return numbers[0] if len(numbers) == 1 else None
