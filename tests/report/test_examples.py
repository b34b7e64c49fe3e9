"""Examples: the first records with every model's first answer."""

from __future__ import annotations

from pathlib import Path

from auditor.records import MediaPolicy, RecordWriter
from auditor.report.examples import examples
from auditor.scenarios import Scenario
from schemas.record import Record


def test_the_first_records_of_each_scenario(tmp_path: Path) -> None:
    of = []
    for name, n in (("a", 3), ("b", 1)):
        with RecordWriter(tmp_path / f"{name}.parquet") as writer:
            for i in range(n):
                responses = {"m": (f"one {i}", f"two {i}")} | ({} if i else {"k": ("three",)})
                writer.write(Record(f"{name}{i}", f"{name}{i}", query=f"what is {i}?", responses=responses))
        of.append(Scenario(name, "id", tmp_path / f"{name}.parquet", n))
    found = examples(of, {"m": None, "k": None}, 2, MediaPolicy(None))
    assert [(e.scenario, e.record_id, e.query) for e in found] == [
        ("a", "a0", "what is 0?"),
        ("a", "a1", "what is 1?"),
        ("b", "b0", "what is 0?"),
    ]
    assert [e.responses for e in found] == [
        {"m": "one 0", "k": "three"},
        {"m": "one 1"},
        {"m": "one 0", "k": "three"},
    ]
    assert all(e.thumbnail is None for e in found)
    assert examples(of, {"m": None}, 0, MediaPolicy(None)) == []
