"""Graders applied to records: what is graded, and what a grader that fails costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from auditor.errors import AuditError, BadInput
from auditor.graders import Score, Settings, choose, grader_identity, make_grader, scores
from auditor.lab.truth import to_tags, truth_of
from auditor.lab.world import lab_items
from auditor.records import RecordWriter
from schemas.config import GraderConfig
from schemas.record import Record


def record(name: str, **given: Any) -> Record:
    return Record(name, name, query="q", **given)


def test_recorded_scores_are_of_the_recorded_answers_alone() -> None:
    rows = [
        record("a", responses={"m": ("yes",)}, scores={"m": 0.25, "k": 1.0}),
        record("b", responses={"m": ("yes",)}),
        record("c", responses={"m": ("no",)}, scores={"m": 1.0}),
        record("d", scores={"m": 1.0}),
    ]
    grader = make_grader(GraderConfig(name="recorded"))
    given = [("yes",), ("yes",), ("yes, generated",), ()]
    assert scores(rows, given, grader, "m") == [Score(0.25, "a")]
    assert scores(rows, given, grader, "k") == []


def test_the_lab_grades_by_content() -> None:
    items = list(lab_items(40, seed=3))
    rows = [record(i.record_id, tags=tuple(i.tags)) for i in items]
    answers = [(truth_of(i.tags).answer,) for i in items]
    lab = make_grader(GraderConfig(name="lab"))
    assert [score.value for score in scores(rows, answers, lab, "m")] == [1.0] * 40
    foreign = [record("x", tags=("truth:3",)), record("y", tags=("question:smell", "truth:3")), record("z")]
    assert scores(foreign, [("3",)] * 3, lab, "m") == []


class Broken:
    meaning = "broken"
    identity = grader_identity("broken", Settings())

    def __init__(self, result: Any) -> None:
        self.result = result

    def grade(self, record: Record, answer: str, model: str) -> Any:
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


@pytest.mark.parametrize("result", [1.5, -0.1, float("nan"), "good", ValueError("oh\nno")])
def test_a_grader_that_fails_stops_the_run_in_one_line(result: Any) -> None:
    with pytest.raises(AuditError, match=r"^grader broken failed on record a: .*; mend it, or set `grader:`"):
        scores([record("a")], [("yes",)], Broken(result), "m")


# What `auto` chooses.


def chosen(tmp_path: Path, rows: list[Record], **given: Any) -> tuple[str, str | None]:
    path = tmp_path / "records.parquet"
    with RecordWriter(path) as writer:
        for row in rows:
            writer.write(row)
    found = choose(GraderConfig(**given), [path], ["m"])
    return found.config.name, found.why_none


def test_auto_takes_what_the_records_have(tmp_path: Path) -> None:
    (item,) = lab_items(1, seed=0)
    lab = record("lab", tags=tuple(to_tags(truth_of(item.tags))), reference="a long and winding reference")
    short = [record(f"s{i}", reference="a red circle") for i in range(3)]
    long = [record(f"l{i}", reference="a very long and winding reference") for i in range(4)]
    scored = record("scored", responses={"m": ("yes",)}, scores={"m": 0.5})
    other = record("other", responses={"k": ("yes",)}, scores={"k": 0.5})
    assert chosen(tmp_path, [*short, lab, scored]) == ("recorded", None)
    assert chosen(tmp_path, [*short, lab, other]) == ("lab", None)
    assert chosen(tmp_path, [*short, other, *long[:2]]) == ("normalised", None)
    name, why = chosen(tmp_path, [*short, *long])
    assert name == "none" and why is not None and "references are long (median 6 words)" in why
    assert chosen(tmp_path, [other, record("tagged", tags=("truth:3",))]) == (
        "none",
        "no record has a score or a reference",
    )
    assert chosen(tmp_path, [scored], name="exact") == ("exact", None)
    assert chosen(tmp_path, [scored], name="none") == ("none", "`grader` is none")


def test_what_is_chosen_says_what_it_is_and_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "records.parquet"
    with RecordWriter(path) as writer:
        writer.write(record("a"))
    exact = choose(GraderConfig(name="exact"), [path], [])
    graded = exact.graded()
    assert graded is not None and (graded.name, graded.meaning) == ("exact", "exact match with the reference")
    assert "give the records a `score`, or set `grader:`" in exact.missing()
    assert choose(GraderConfig(), [path], []).graded() is None
    with pytest.raises(BadInput, match="grader auto: unknown setting 'tolerance'"):
        choose(GraderConfig.model_validate({"tolerance": 0.1}), [path], [])
