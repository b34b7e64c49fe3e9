"""A mapping of fields: what paths find becomes our fields, and a mapping that cannot be used says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import auditor
from auditor.errors import BadInput
from auditor.pipeline.settings import explain
from schemas.config import DriftData
from schemas.record import Quarantined, Reason, Record, Turn

PICTURE = "https://images.example.org/1.png"
ASKED = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": PICTURE}}]
ROW: dict[str, Any] = {
    "rid": 7,
    "call": {"turns": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": ASKED}]},
    "reply": {"text": "A dot.", "by": "m-1"},
    "other": "Two dots.",
    "at": "2025-06-01T00:00:00Z",
    "who": {"user": "u1", "day": "monday"},
}
MAP: dict[str, Any] = {
    "record_id": "$.rid",
    "query": "$.call.turns[-1].content",
    "history": "$.call.turns[:-1]",
    "response": "$.reply.text",
    "model": "$.reply.by",
    "timestamp": "$.at",
    "group": ["$.who.user", "$.who.day"],
}


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_paths_find_fields(tmp_path: Path) -> None:
    rows = auditor.read(write(tmp_path / "a.jsonl", ROW), map=MAP).rows()
    (record,) = rows
    assert isinstance(record, Record)
    assert (record.record_id, record.query) == ("7", "What is it?")
    assert record.history == (Turn("system", "Be brief."),)
    assert [image.path for image in record.images] == [PICTURE]
    assert record.responses == {"m-1": ("A dot.",)} and record.group == ("u1", "monday")
    assert list(rows.progress.formats.values()) == ["map"]


def test_answers_by_model_and_several_matches(tmp_path: Path) -> None:
    paths = {
        "query": "$.call.turns[-1].content[*].text",
        "images": "$..image_url.url",
        "responses": {"a": "$.reply.text", "b": "$.other", "c": "$.nothing"},
    }
    (record,) = auditor.read(write(tmp_path / "a.jsonl", ROW), map=paths)
    assert isinstance(record, Record) and record.record_id.startswith("content-")
    assert record.query == "What is it?" and len(record.images) == 1
    assert record.responses == {"a": ("A dot.",), "b": ("Two dots.",)}


def test_files_that_the_mapping_does_not_fit_are_told_as_ever(tmp_path: Path) -> None:
    write(tmp_path / "ours.jsonl", {"record_id": "r", "query": "q"})
    write(tmp_path / "theirs.jsonl", ROW)
    rows = auditor.read(str(tmp_path / "*.jsonl"), map=MAP).rows()
    assert [row.query for row in rows if isinstance(row, Record)] == ["q", "What is it?"]
    assert list(rows.progress.formats.values()) == ["records", "map"]


def test_rows_without_what_the_paths_name_stay_rows(tmp_path: Path) -> None:
    broken: list[Any] = [{**ROW, "rid": None}, {**ROW, "call": 3}, {**ROW, "call": {"turns": []}}]
    rows = list(auditor.read(write(tmp_path / "a.jsonl", ROW, *broken), map=MAP))
    assert [type(row) for row in rows] == [Record, Record, Quarantined, Quarantined]
    assert rows[2].reason is Reason.MISSING_INPUT  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        ({"query": "messages[-1]"}, "data.map.query: 'messages[-1]' is no path"),
        ({"query": "$.a[["}, "data.map.query: '$.a[[' is no JSONPath"),
        ({"quary": "$.a"}, "unknown field 'quary'"),
        ({"record_id": "$.a"}, "names no input"),
        ({"query": "$.a", "model": "$.b"}, "`response`, which is missing"),
        ({"query": {"m": "$.a"}}, "is a path"),
    ],
)
def test_a_mapping_that_cannot_be_used(tmp_path: Path, mapping: Any, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        auditor.read(write(tmp_path / "a.jsonl", ROW), map=mapping)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_format_and_a_mapping_exclude_each_other() -> None:
    assert DriftData(traffic="t", map={"query": "$.q"}).format == "auto"
    with pytest.raises(ValidationError) as caught:
        DriftData(traffic="t", map={"query": "$.q"}, format="otel")
    assert "remove one of them" in explain(DriftData, caught.value)


def test_an_unknown_format_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"unknown format 'openai'.*did you mean") as caught:
        auditor.read(write(tmp_path / "a.jsonl", ROW), format="openai")
    assert "data.format" in str(caught.value)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (ROW, "no format that is read has the fields at, call, other, reply"),
        ({"object": "chat.completion.chunk", "choices": [{"delta": {}}]}, "pieces of a streamed"),
        ({"type": "message", "role": "assistant", "content": [{"type": "text", "text": "a"}]}, "Anthropic"),
        ({"contents": [{"parts": [{"text": "q"}]}]}, "Gemini"),
        ({"run_type": "llm", "inputs": {}, "outputs": {}}, "LangSmith"),
    ],
)
def test_what_is_not_read_is_named_with_the_way_out(tmp_path: Path, row: Any, said: str) -> None:
    (lost,) = auditor.read(write(tmp_path / "a.jsonl", row))
    assert isinstance(lost, Quarantined) and lost.reason is Reason.MISSING_ID
    assert (said in lost.detail and "data.map" in lost.detail) or "log the whole" in lost.detail
