"""What reading finds is told once a source: rows in = used + left out for every file, one sentence for each
way in which values were read otherwise than they stand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from auditor.errors import BadInput
from auditor.scenarios import Scenario, check_recorded, file_source, gather
from auditor.scenarios.reading import NOT_READ, Reading, reading_notes, sources_table
from auditor.storage.run_dir import RunDir
from schemas.config import AuditData


def write(path: Path, *rows: object) -> None:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))


@pytest.fixture
def gathered(tmp_path: Path) -> Scenario:
    rows = [{"record_id": i, "query": "q", "responses": "plain", "timestamp": 1709209815} for i in range(3)]
    (tmp_path / "june").mkdir()
    write(tmp_path / "june" / "a.jsonl", *rows, {"record_id": 2, "query": "q"}, "broken", {"record_id": "x"})
    write(tmp_path / "june" / "b.jsonl", {"id": 1}, {"id": 2})
    write(tmp_path / "june" / "c.jsonl")
    (tmp_path / "june" / "d.parquet").write_bytes(b"no table")
    data = AuditData(reader="records", id="unused.jsonl")
    run = RunDir(tmp_path / "out")
    run.open()
    source = file_source("june", "natural", str(tmp_path / "june"))
    first, again = gather(source, run, data), gather(source, run, data)
    assert again == first  # the second time from what was kept
    return first


def test_rows_of_each_file_are_used_or_left_out(gathered: Scenario) -> None:
    table = sources_table([gathered.reading])
    assert {row["scenario"] for row in table} == {"june"}
    found = {Path(row["file"]).name: (row["rows"], row["used"], row["left_out"]) for row in table}
    assert found == {
        "a.jsonl": (6, 3, {"duplicate_id": 1, "missing_input": 1, "unreadable_line": 1}),
        "b.jsonl": (2, 0, {"missing_id": 2}),
        "c.jsonl": (0, 0, {}),
        "d.parquet": (1, 0, {"unreadable_line": 1}),
    }
    assert sum(row["used"] for row in table) == gathered.n
    assert all(row["rows"] == row["used"] + sum(row["left_out"].values()) for row in table)
    assert all(len(row["sha256"]) == 64 and row["bytes"] is not None for row in table)


def test_what_was_read_otherwise_is_said_once(gathered: Scenario) -> None:
    notes = reading_notes([gathered.reading, gathered.reading])  # parts of a scenario share it
    assert "`record_id` was taken from a number: 4 in june" in notes  # the repeated one, too
    assert "`timestamp` was read as epoch seconds: 3 in june" in notes
    unused = notes[-1]
    assert unused.startswith("nothing could be used of ")
    assert "b.jsonl (missing_id 2)" in unused and "c.jsonl (no rows)" in unused and "d.parquet" in unused
    assert "a.jsonl" not in unused
    assert reading_notes([NOT_READ]) == [] and sources_table([NOT_READ]) == []


def test_one_kind_in_many_scenarios_is_one_sentence() -> None:
    readings = [Reading(f"s{i}", (("tags", "taken as one tag", 1000),)) for i in range(5)]
    assert reading_notes(readings) == [
        "`tags` was taken as one tag: 1,000 in s0, 1,000 in s1, 1,000 in s2, 2 more"
    ]


def test_where_all_answers_are_lost_the_message_says_why(gathered: Scenario) -> None:
    with pytest.raises(BadInput) as caught:
        check_recorded(["m"], [gathered])
    assert "the records have none" in str(caught.value)
    assert (
        "`responses` was left out, since it was a text, not an object of model -> answer (3 in june)"
        in str(caught.value)
    )


def test_a_reading_goes_through_json(gathered: Scenario) -> None:
    kept: dict[str, Any] = json.loads(json.dumps(gathered.reading.as_json()))
    assert Reading.from_json(kept) == gathered.reading
