from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from auditor.errors import BadInput
from auditor.records import LlavaBench, Quarantine
from schemas.record import Image, Quarantined, Reason, Record

ASK = " Please answer in English."


def write(path: Path, *rows: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def answers(root: Path, scenario: str, model: str, prompts: list[str], **extra: str) -> None:
    rows = [{"question_id": i, "prompt": p, "text": f"{model} {i}"} | extra for i, p in enumerate(prompts)]
    write(root / "responses" / f"{scenario}_{model}.jsonl", *rows)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two questions and two models in the published layout; one model's name has an underscore."""
    questions = [
        {"question_id": i, "image": f"{i}.jpg", "text": f"What {i}?", "category": "conv"} for i in range(2)
    ]
    write(tmp_path / "qa90_questions.jsonl", *questions)
    write(tmp_path / "qa90_gpt4_answer.jsonl", *({"question_id": i, "text": f"ref {i}"} for i in range(2)))
    for model in ("one", "model_two"):
        answers(tmp_path, "llava_bench_coco", model, ["What 0?", "What 1?"], model_id=model)
        answers(tmp_path, "llava_bench_coco_frost_3_sr_4", model, ["What 0?", "Which 1?"], model_id=model)
        answers(tmp_path, "llava_bench_coco_Greek", model, ["Τι;" + ASK, "Πες." + ASK], model_id=model)
        answers(
            tmp_path, "llava_bench_in_the_wild_German", model, ["Was?;" + ASK, "Wer?" + ASK], model_id=model
        )
    return tmp_path


def records(bench: LlavaBench, scenario: str) -> list[Record]:
    quarantine = Quarantine()
    found = list(quarantine.sift(bench.records(scenario)))
    assert len(quarantine) == 0
    return found


def test_merged_by_question(root: Path) -> None:
    bench = LlavaBench(root)
    assert bench.models() == ["model_two", "one"]
    assert bench.scenarios() == [
        "llava_bench_coco",
        "llava_bench_coco_Greek",
        "llava_bench_coco_frost_3_sr_4",
        "llava_bench_in_the_wild_German",
    ]
    assert records(bench, "llava_bench_coco_frost_3_sr_4")[1] == Record(
        record_id="llava_bench_coco_frost_3_sr_4/1",
        base_id="llava_bench_coco/1",
        query="Which 1?",
        responses={"model_two": ("model_two 1",), "one": ("one 1",)},
        reference="ref 1",
        tags=("category:conv",),
        group=("picture:1.jpg",),
    )
    first = records(bench, "llava_bench_coco")[0]
    assert first.record_id == first.base_id == "llava_bench_coco/0"


def test_the_request_to_answer_in_english_is_taken_off(root: Path) -> None:
    bench = LlavaBench(root)
    assert [r.query for r in records(bench, "llava_bench_coco_Greek")] == ["Τι;", "Πες."]
    wild = records(bench, "llava_bench_in_the_wild_German")
    assert [r.query for r in wild] == ["Was?", "Wer?"]
    assert [r.base_id for r in wild] == ["llava_bench_in_the_wild/0", "llava_bench_in_the_wild/1"]
    assert all(r.reference is None and not r.tags for r in wild)


def test_published_splits(root: Path) -> None:
    splits = {"easy_ood_lst_cd_new": [1], "hard_ood_lst_cd_new": [0]}
    (root / "wild_split_indices.json").write_text(json.dumps(splits))
    bench = LlavaBench(root)
    names = [f"llava_bench_in_the_wild_{level}_German" for level in ("easy", "hard", "normal")]
    assert bench.scenarios()[-3:] == names
    assert [[r.base_id[-1] for r in records(bench, name)] for name in names] == [["1"], ["0"], ["0", "1"]]
    assert records(bench, names[0])[0].record_id == "llava_bench_in_the_wild_easy_German/1"
    (root / "wild_split_indices.json").write_text("{}")
    with pytest.raises(BadInput, match="wild_split_indices"):
        LlavaBench(root)


def test_images_where_they_are(root: Path) -> None:
    (root / "images").mkdir()
    bench = LlavaBench(root)
    assert records(bench, "llava_bench_coco_Greek")[1].images == (Image(path="images/1.jpg"),)
    assert records(bench, "llava_bench_coco_frost_3_sr_4")[1].images == ()
    (root / "images" / "frost_3").mkdir()
    corrupted = records(bench, "llava_bench_coco_frost_3_sr_4")
    assert corrupted[1].images == (Image(path="images/frost_3/1.jpg"),)


def test_rows_that_do_not_fit_are_quarantined(root: Path) -> None:
    path = root / "responses" / "llava_bench_coco_one.jsonl"
    write(
        path,
        {"question_id": 0, "prompt": "Other?", "text": "x", "model_id": "one"},
        {"question_id": 7, "prompt": "What 7?", "text": "x"},
        {"question_id": 0, "prompt": "What 0?", "text": "x"},
        {"question_id": "1", "prompt": "What 1?", "text": "x"},
        {"question_id": 1, "prompt": None, "text": "x"},
        {"question_id": 1, "prompt": "What 1?", "text": " "},
    )
    rows = list(LlavaBench(root).records("llava_bench_coco"))
    assert [(row.row, row.reason, row.model) for row in rows if isinstance(row, Quarantined)] == [
        (2, Reason.MISSING_ID, "one"),
        (3, Reason.DUPLICATE_ID, "one"),
        (4, Reason.MISSING_ID, "one"),
        (5, Reason.UNREADABLE_LINE, "one"),
        (1, Reason.UNREADABLE_LINE, ""),
        (2, Reason.EMPTY_RESPONSE, "one"),
    ]
    assert [row.responses for row in rows if isinstance(row, Record)] == [{"model_two": ("model_two 1",)}]


def test_a_question_that_nobody_answered_is_not_lost(root: Path) -> None:
    for model in ("one", "model_two"):
        answers(root, "llava_bench_coco_Greek", model, ["Τι;"], model_id=model)
    rows = list(LlavaBench(root).records("llava_bench_coco_Greek"))
    assert isinstance(rows[1], Quarantined) and rows[1].reason is Reason.MISSING_INPUT
    assert rows[1].record_id == "llava_bench_coco_Greek/1"


def test_layouts_that_are_not_this_one(root: Path) -> None:
    with pytest.raises(BadInput, match="no scenario"):
        LlavaBench(root).records("llava_bench_coco_Klingon")
    with pytest.raises(BadInput, match="responses"):
        LlavaBench(root / "responses")
    references = root / "qa90_gpt4_answer.jsonl"
    write(references, {"question_id": 0, "text": "x"})
    with pytest.raises(BadInput, match="qa90_gpt4_answer"):
        LlavaBench(root)
    write(references, {"question_id": 0})
    with pytest.raises(BadInput, match=r"qa90_gpt4_answer\.jsonl:1"):
        LlavaBench(root)
    write(references, {"question_id": 0, "text": "x"}, {"question_id": 0, "text": "x"})
    with pytest.raises(BadInput, match="twice"):
        LlavaBench(root)
    references.unlink()
    with pytest.raises(BadInput, match="no such file"):
        LlavaBench(root)


@pytest.fixture(scope="module")
def published() -> Path:
    beside = Path(__file__).parents[3] / "shared" / "reference"
    root = Path(os.environ.get("AUDITOR_REFERENCE", beside)) / "llavabench"
    if not root.is_dir():
        pytest.skip("the recorded LLaVA-Bench answers are not here (set AUDITOR_REFERENCE to their folder)")
    return root


def test_the_recorded_answers(published: Path) -> None:
    bench = LlavaBench(published)
    keys: set[str] = set()
    for path in (published / "published").glob("*.json"):
        keys |= json.loads(path.read_text("utf-8"))["EMI"].keys()
    assert len(keys) == 63 and set(bench.scenarios()) == keys
    assert bench.models() == ["llava-v1.5-13b", "llava-v1.6-vicuna-13b"]
    for scenario in bench.scenarios():
        rows = records(bench, scenario)
        wild = "in_the_wild" in scenario
        assert len(rows) == (90 if not wild else 60 if "normal" in scenario else 30)
        assert all(len(row.responses) == 2 for row in rows)
        assert all((row.reference is None) == wild for row in rows)
        assert not any("answer in English" in (row.query or "") for row in rows)


def test_the_recorded_id_queries_are_the_questions(published: Path) -> None:
    bench = LlavaBench(published)
    questions = [
        json.loads(line)["text"] for line in (published / "qa90_questions.jsonl").open(encoding="utf-8")
    ]
    assert [row.query for row in records(bench, "llava_bench_coco")] == questions
