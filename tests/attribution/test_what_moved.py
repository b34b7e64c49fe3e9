"""Which divergences are cut into slices: what moved, inputs once a scenario, responses for each model."""

from __future__ import annotations

from pathlib import Path

from auditor.attribution.what_moved import tags_of, what_moved
from auditor.measures.divergences import Divergences
from auditor.profiles.profile import GroupKey
from auditor.records import RecordWriter
from auditor.scenarios import Scenario
from auditor.scenarios.row_ranges import survey
from auditor.scenarios.windows import one_window
from schemas.record import Record
from schemas.report import Divergence


def test_only_what_moved_and_inputs_once() -> None:
    still, gone = Divergence(p_adjusted=0.4), Divergence(p_adjusted=0.001)
    found = {
        GroupKey("quiet", "m"): Divergences({"text": still, "response": Divergence()}),
        GroupKey("quiet", "k"): Divergences({"text": still}),
        GroupKey("loud", "m"): Divergences({"text": gone, "response": still, "joint": gone}),
        GroupKey("loud", "k"): Divergences({"text": gone, "response": gone}),
        GroupKey("other", "m"): Divergences({"text": gone}),
    }
    assert list(what_moved(found, 0.05)) == [
        (GroupKey("loud", "m"), None, "text"),
        (GroupKey("loud", "k"), "k", "response"),
        (GroupKey("other", "m"), None, "text"),
    ]
    assert list(what_moved(found, 0.0001)) == []


def test_tags_stand_in_a_scenario_or_in_a_part_of_one(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    with RecordWriter(path) as writer:
        for i in range(20):
            writer.write(Record(f"r{i}", f"r{i}", query="q", tags=("even",) if i % 2 == 0 else ()))
    (tmp_path / "windows").mkdir()
    (part,) = survey(path, one_window(), tmp_path / "windows", 8).parts
    wanted = {"r1", "r2", "r12", "nobody's"}
    for source in (Scenario("s", "text", path, 20), part):
        assert tags_of(source, wanted) == {"r2": ("even",), "r12": ("even",)}
