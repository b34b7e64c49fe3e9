"""Scenarios as they are kept: their records one after the other, and whose responses these have."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from auditor.errors import BadInput
from auditor.records import RecordWriter
from auditor.scenarios import Scenario, check_recorded, file_source, gather, records_of
from auditor.storage.run_dir import RunDir
from schemas.config import DriftData
from schemas.record import Record


@pytest.fixture
def scenarios(tmp_path: Path) -> list[Scenario]:
    """`m` answered in the first, `k` in the second alone."""
    found = []
    for name, model in (("a", "m"), ("b", "k")):
        with RecordWriter(tmp_path / f"{name}.parquet") as writer:
            for i in range(3):
                responses = {model: ("yes",)} if i else {}
                writer.write(Record(f"{name}{i}", f"{name}{i}", query="q", responses=responses))
        found.append(Scenario(name, "id", tmp_path / f"{name}.parquet", 3))
    return found


def test_records_of_all_in_their_order(scenarios: list[Scenario]) -> None:
    assert [r.record_id for r in records_of(scenarios)] == ["a0", "a1", "a2", "b0", "b1", "b2"]


def test_responses_must_be_somewhere(scenarios: list[Scenario]) -> None:
    check_recorded([], scenarios)
    check_recorded(["k", "m"], scenarios)
    with pytest.raises(BadInput, match=r"no recorded responses of x; the records have k, m \(or give"):
        check_recorded(["m", "x"], scenarios)
    with pytest.raises(BadInput, match="the records have m "):
        check_recorded(["k"], scenarios[:1])


def test_what_was_gathered_says_where_and_when_rows_were_lost(tmp_path: Path) -> None:
    def line(i: int, **given: object) -> str:
        moment = f"2026-04-01T0{i}:00:00Z"
        return json.dumps({"record_id": str(i), "query": "q", "timestamp": moment, **given}) + "\n"

    first = [
        line(0),
        line(1),
        line(2, query=" "),
        line(1),
        line(3, query="other").replace('"3"', '"0"'),
        "{\n",
    ]
    (tmp_path / "a.jsonl").write_text("".join([*first, line(5)]))
    (tmp_path / "b.jsonl").write_text("")
    source = file_source("traffic", "window", str(tmp_path / "*.jsonl"))
    run, data = RunDir(tmp_path / "out"), DriftData(traffic="t")
    for _ in range(2):  # as it is read, and as it is kept
        found = gather(source, run, data)
        rows = [(r.reason, r.position, r.timestamp and r.timestamp.hour) for r in found.quarantine()]
        assert rows == [
            ("missing_input", 2, 2),
            ("duplicate_id", 2, 1),
            ("conflicting_id", 2, 3),
            ("unreadable_line", 2, 3),  # as the row before it
        ]
        a, b = found.reading.files
        assert a.name.endswith("a.jsonl") and b.name.endswith("b.jsonl")
        assert (a.rows, a.left_out, a.broken, b.rows) == (7, {r: 1 for r, _, _ in sorted(rows)}, False, 0)
        assert found.n == 3
