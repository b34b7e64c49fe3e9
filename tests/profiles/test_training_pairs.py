"""Which pairs a critic is trained on."""

from __future__ import annotations

from auditor.profiles.profile import GroupKey
from auditor.profiles.rows import RowKeys
from auditor.profiles.training_pairs import choose_pairs

FULL = RowKeys("a", "a", "a", (), "question", "said", "right")
PLANS = {
    GroupKey("s", "m"): [FULL, RowKeys("b", "b", "b", (), "question", "said", None)],
    GroupKey("s", "n"): [FULL, RowKeys("c", "c", "c", (), "question", None, "right")],
    GroupKey("t", "m"): [FULL, RowKeys("d", "d", "d", (), None, "said", "right")],
}


def chosen(contents: str) -> list[tuple[str, str]]:
    return [(p.row.record_id, p.answer) for p in choose_pairs(PLANS, 100, 0, contents)]  # type: ignore[arg-type]


def test_every_answer_and_every_correct_answer_of_every_model() -> None:
    assert sorted(chosen("both")) == sorted(
        [("a", "response"), ("a", "reference")] * 3 + [("b", "response"), ("c", "reference")]
    )


def test_correct_answers_alone_each_once_a_scenario() -> None:
    assert chosen("references") == [("a", "reference"), ("c", "reference"), ("a", "reference")]


def test_a_seeded_sample_beyond_the_most() -> None:
    assert len(choose_pairs(PLANS, 3, 0)) == 3
