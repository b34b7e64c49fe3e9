"""Scores of records: from every form of the public format, and none of them ever costs its row."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from auditor.records import read_records
from schemas.record import Quarantined, Record

Write = Callable[..., Path]
ONE = {"m": "yes"}
TWO = {"m": "yes", "k": "no"}

FORMS: list[tuple[dict[str, str] | None, dict[str, Any], dict[str, float], int]] = [
    (ONE, {"score": 0.25}, {"m": 0.25}, 0),
    (ONE, {"score": True}, {"m": 1.0}, 0),
    (ONE, {"score": "0.5"}, {"m": 0.5}, 0),
    (ONE, {"scores": {"m": 1}}, {"m": 1.0}, 0),
    (ONE, {"score": None, "scores": None}, {}, 0),
    (TWO, {"score": {"m": 0.5, "k": 0}}, {"m": 0.5, "k": 0.0}, 0),
    (TWO, {"scores": '{"m": 0.5}'}, {"m": 0.5}, 0),
    (ONE, {"score": " "}, {}, 0),
    (TWO, {"score": {"m": 0.5, "k": None}}, {"m": 0.5}, 0),
    (ONE, {"score": 0.1, "scores": {"m": 0.9}}, {"m": 0.9}, 0),
    # What cannot be used is counted.
    (TWO, {"score": 0.5}, {}, 1),
    (None, {"score": 0.5}, {}, 1),
    (ONE, {"score": 1.5}, {}, 1),
    (ONE, {"score": -0.1}, {}, 1),
    (ONE, {"score": 10**400}, {}, 1),
    (ONE, {"score": "good"}, {}, 1),
    (ONE, {"score": [0.5]}, {}, 1),
    (TWO, {"scores": {"m": "good", "k": 0.5, " ": 0.5}}, {"k": 0.5}, 2),
]


@pytest.mark.parametrize(("responses", "fields", "scores", "lost"), FORMS)
def test_scores_of_jsonl(
    jsonl: Write,
    responses: dict[str, str] | None,
    fields: dict[str, Any],
    scores: dict[str, float],
    lost: int,
) -> None:
    rows = read_records(jsonl({"record_id": "a", "query": "q", "responses": responses, **fields}))
    (row,) = rows
    assert isinstance(row, Record) and row.scores == scores
    assert rows.progress.coercions.total() == lost


def test_scores_of_parquet(tmp_path: Path) -> None:
    nan = float("nan")
    columns = {
        "map": pa.array([[("m", 0.5)], None, [("m", nan)]], pa.map_(pa.string(), pa.float64())),
        "struct": pa.array([{"m": 0.5}, None, {"m": None}]),
        "number": pa.array([0.5, None, nan]),
        "decimal": pa.array([Decimal("0.5"), None, None]),
    }
    for name, column in columns.items():
        answers = pa.array([[("m", "yes")]] * 3, pa.map_(pa.string(), pa.string()))
        table = pa.table({"record_id": ["a", "b", "c"], "query": ["q"] * 3, "responses": answers})
        pq.write_table(table.append_column("score", column), tmp_path / f"{name}.parquet")
        rows = read_records(tmp_path / f"{name}.parquet")
        assert [row.scores for row in rows if isinstance(row, Record)] == [{"m": 0.5}, {}, {}]
        assert not rows.progress.coercions


def test_a_score_goes_with_its_answer(jsonl: Write) -> None:
    responses = {"m": " ", "k": ["", "no"], "j": ["yes", ""]}
    row = {"record_id": "a", "query": "q", "responses": responses, "scores": {"m": 0, "k": 0.5, "j": 1}}
    *aside, record = read_records(jsonl(row))
    assert isinstance(record, Record) and record.scores == {"j": 1.0}
    assert {row.model for row in aside if isinstance(row, Quarantined)} == {"m", "k", "j"}
