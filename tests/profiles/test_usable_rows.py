"""Rows of scenarios and models: which are usable, and what is set aside once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from auditor.profiles.usable_rows import usable_rows
from auditor.records import Quarantine, RecordWriter
from auditor.scenarios import Scenario
from auditor.storage.embedding_store import Embeddings
from auditor.storage.row_cache import Failure
from auditor.storage.work_units import text_key
from schemas.record import Quarantined, Reason, Record

FAILED = Failure(Reason.MODEL_FAILED, "no vector")


def scenario(tmp_path: Path, name: str, records: Sequence[Record]) -> Scenario:
    path = tmp_path / f"{name}.parquet"
    with RecordWriter(path) as writer:
        for record in records:
            writer.write(record)
    Quarantine([Quarantined("file", 9, Reason.MISSING_INPUT, "read", "x", name)]).write(
        tmp_path / f"{name}.quarantine.parquet"
    )
    return Scenario(name, "id", path, len(records))


def records() -> list[Record]:
    return [
        Record(
            f"r{i}",
            f"r{i}",
            query=f"how many {i}?",
            reference=f"{i}",
            responses={"m": tuple(f"m{i}{j}" for j in range(5)), "k": (f"k{i}",)},
        )
        for i in range(6)
    ]


def texts(failed: Sequence[str]) -> Embeddings:
    every = [
        text for r in records() for text in (r.query or "", r.reference or "", *sum(r.responses.values(), ()))
    ]
    return Embeddings(
        [text_key(text) for text in every],
        np.eye(4, dtype=np.float32)[np.arange(len(every)) % 4],
        [FAILED if text in failed else None for text in every],
    )


def test_the_rows_of_each_model_are_its_own(tmp_path: Path) -> None:
    """Of several sampled answers the first stands for the response."""
    found, quarantine = usable_rows(
        [scenario(tmp_path, "a", records())], {"m": None, "k": None}, None, texts([])
    )
    assert [row.record_id for row in quarantine] == ["x"]  # as it was read
    for model in ("m", "k"):
        assert [row.record_id for row in found["a", model]] == [f"r{i}" for i in range(6)]
    assert found["a", "m"][0].response == text_key("m00") and found["a", "k"][0].response == text_key("k0")


def test_a_lost_query_is_set_aside_once_and_a_lost_answer_for_its_model(tmp_path: Path) -> None:
    of = [scenario(tmp_path, name, records()) for name in ("a", "b")]
    found, quarantine = usable_rows(of, {"m": None, "k": None}, None, texts(["how many 1?", "k2"]))
    assert list(found) == [("a", "m"), ("a", "k"), ("b", "m"), ("b", "k")]
    each = [(row.scenario, row.record_id, row.model) for row in quarantine]
    assert each == [
        ("a", "x", ""),
        ("b", "x", ""),
        ("a", "r1", ""),
        ("a", "r2", "k"),
        ("b", "r1", ""),
        ("b", "r2", "k"),
    ]
    for rows in found.values():
        assert [row.record_id for row in rows] == ["r0", "r2", "r3", "r4", "r5"]
    assert found["a", "k"][1].response is None and found["a", "m"][1].response is not None
