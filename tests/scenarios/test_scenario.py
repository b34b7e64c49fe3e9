"""Scenarios as they are kept: their records one after the other, and whose responses these have."""

from __future__ import annotations

from pathlib import Path

import pytest

from auditor.errors import BadInput
from auditor.records import RecordWriter
from auditor.scenarios import Scenario, check_recorded, records_of
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
