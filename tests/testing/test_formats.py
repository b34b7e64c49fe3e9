"""The contract of a format holds for ours, and is broken by formats that break it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from auditor.records.formats import FORMATS, Reading, Row, format
from auditor.records.lines import json_lines
from auditor.testing import check_format

SAMPLES = Path(__file__).parents[1] / "records" / "formats" / "samples"
OURS = {
    "inspect": "inspect",
    "langfuse": "langfuse",
    "llava": "llava",
    "lmms_eval": "lmms_eval",
    "mlflow": "mlflow",
    "openai_batch": "openai_batch_input",
    "openai_chat": "openai_chat",
    "openai_responses": "openai_responses",
    "otel": "otel_console",
    "question_answer": "question_answer",
    "records": "records",
    "webdataset": "webdataset_json",
}


def rows(name: str) -> list[dict[str, Any]]:
    with open(SAMPLES / f"{name}.jsonl", "rb") as stream:
        return [row for _, row in json_lines(stream, 2**20) if isinstance(row, dict)]


@pytest.mark.parametrize(("name", "sample"), OURS.items())
def test_ours_keep_it(name: str, sample: str) -> None:
    check_format(name, rows(sample))


@pytest.fixture
def only_here() -> Iterator[None]:
    """What a test registers goes with it."""
    kept = {name: dict(getattr(FORMATS, name)) for name in ("_values", "_homes", "_shown")}
    FORMATS.names()
    yield
    for name, values in kept.items():
        getattr(FORMATS, name).clear()
        getattr(FORMATS, name).update(values)


@pytest.mark.usefixtures("only_here")
def test_formats_that_break_it() -> None:
    @format("greedy", told_by="`q`", recognises=lambda row: row["q"] is not None)
    def greedy(row: dict[str, Any], reading: Reading) -> Row:
        return Row({"record_id": "r", "query": row["q"]})

    with pytest.raises(AssertionError, match="recognises raises"):
        check_format("greedy", [{"q": "a"}])

    @format("changing", told_by="`q`", recognises=lambda row: "q" in row)
    def changing(row: dict[str, Any], reading: Reading) -> Row:
        row["q"].append("b")
        return Row({"record_id": "r", "query": "q"})

    with pytest.raises(AssertionError, match="changes the rows"):
        check_format("changing", [{"q": ["a"]}])

    @format("unknown", told_by="`u`", recognises=lambda row: "u" in row)
    def unknown(row: dict[str, Any], reading: Reading) -> Row:
        return Row({"record_id": "r", "question": row.get("u")})

    with pytest.raises(AssertionError, match="no public fields"):
        check_format("unknown", [{"u": "a"}])
    with pytest.raises(AssertionError, match="asked before"):
        check_format("unknown", [{"u": "a", "record_id": "b"}])
    with pytest.raises(AssertionError, match="does not recognise"):
        check_format("unknown", [{"p": "a"}])
