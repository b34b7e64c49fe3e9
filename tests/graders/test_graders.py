"""Each grader: the truth in small cases, and what must hold for all texts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.errors import BadInput
from auditor.graders import GRADERS, make_grader
from auditor.graders.number import first_number
from auditor.graders.text import words
from auditor.testing import check_grader
from schemas.config import GraderConfig
from schemas.record import Record

MATCHING = ("exact", "normalised", "contains", "token_f1")
texts = st.text(max_size=30) | st.lists(
    st.sampled_from(["the", "a", "red", "Circle!", "two", "2", "-3.5", "1,000", "红色", "é", "…"]), max_size=6
).map(" ".join)


def score(name: str, answer: str, reference: str | None, **given: Any) -> float | None:
    grader = make_grader(GraderConfig.model_validate({"name": name, **given}))
    return grader.grade(Record("a", "a", query="q", reference=reference), answer, "m")


@pytest.mark.parametrize("name", GRADERS.names())
def test_every_grader_keeps_the_contract(name: str) -> None:
    grader = make_grader(GraderConfig(name=name))
    check_grader(grader, answers=["a red circle", "3 or three", "yes"])
    assert json.loads(grader.identity)["grader"] == name


@pytest.mark.parametrize(
    ("name", "answer", "reference", "wanted"),
    [
        ("exact", " Red ", "Red", 1.0),
        ("exact", "red", "Red", 0.0),
        ("normalised", "The red circle.", "red  CIRCLE", 1.0),
        ("normalised", "two dogs", "2 dogs", 1.0),
        ("normalised", "U.S.A.", "usa", 1.0),
        ("normalised", "ｆｕｌｌ　ｗｉｄｔｈ", "full width", 1.0),
        ("normalised", "1,000", "1000", 1.0),
        ("normalised", "1.5", "15", 0.0),
        ("normalised", "-3", "3", 0.0),
        ("normalised", "A", "B", 0.0),
        ("normalised", "the", "A.", 0.0),
        ("normalised", "!", "?", 0.0),
        ("contains", "It is a red circle, I think.", "Red circle", 1.0),
        ("contains", "It is reddish.", "red", 0.0),
        ("contains", "circle, red", "red circle", 0.0),
        ("contains", "这是一个红色的圆", "红色", 1.0),
        ("contains", "", "red", 0.0),
        ("number", "There are seven dogs", "7", 1.0),
        ("number", "1,234.50 euros", "1234.5", 1.0),
        ("number", "about 10", "11", 0.0),
        ("number", "none", "11", 0.0),
        ("number", "-5", "5", 0.0),
        ("token_f1", "a red circle", "the blue circle", 0.5),
        ("token_f1", "red red", "red", 2 / 3),
        ("token_f1", "nothing", "red", 0.0),
    ],
)
def test_small_cases(name: str, answer: str, reference: str, wanted: float) -> None:
    assert score(name, answer, reference) == pytest.approx(wanted)
    assert score(name, answer, None) is None


def test_numbers() -> None:
    assert score("number", "103", "100") == 0.0
    assert score("number", "103", "100", tolerance=0.05) == 1.0
    assert score("number", "-96", "-100", tolerance=0.05) == 1.0
    assert score("number", "0.01", "0", tolerance=0.05) == 0.0  # a share of nothing is nothing
    assert score("number", "3", "three apples") == 1.0
    assert score("number", "3", "many") is None and score("number", "3", "1e999") is None
    found = {"No.5": 5, "x2": None, "v1.2.3": None, "有3个": 3, "10-5": 10, "a-5": 5, "3rd": 3, ".5": 0.5}
    assert {text: first_number(text) for text in found} == found


def test_unknown_graders_and_settings_are_refused() -> None:
    with pytest.raises(BadInput, match=r"grader\.name: unknown grader 'exakt' \(did you mean exact\?\)"):
        make_grader(GraderConfig(name="exakt"))
    with pytest.raises(BadInput, match="grader exact: unknown setting 'tolerance'; it takes: none"):
        make_grader(GraderConfig.model_validate({"name": "exact", "tolerance": 0.1}))
    with pytest.raises(BadInput, match="tolerance"):
        make_grader(GraderConfig.model_validate({"name": "number", "tolerance": -1}))


@given(texts)
def test_the_reference_itself_is_right(text: str) -> None:
    for name in MATCHING:
        assert score(name, text, text) == 1.0
    assert score("number", text, text) in (1.0, None)


@given(texts, texts)
def test_what_is_right_by_a_stricter_rule_is_right_by_a_wider_one(answer: str, reference: str) -> None:
    by = {name: score(name, answer, reference) for name in MATCHING}
    assert by["exact"] != 1.0 or by["normalised"] == 1.0
    assert by["normalised"] != 1.0 or (by["contains"] == by["token_f1"] == 1.0)
    assert by["contains"] != 1.0 or by["token_f1"] or not words(reference)


@given(texts, texts)
def test_f1_and_matches_are_symmetric(one: str, other: str) -> None:
    for name in ("exact", "normalised", "token_f1"):
        assert score(name, one, other) == score(name, other, one)


@settings(deadline=None)
@given(st.lists(st.sampled_from(["red", "circle", "2", "-3.5", "café", "х"]), min_size=1, max_size=5))
def test_case_articles_space_and_punctuation_do_not_count(parts: list[str]) -> None:
    plain, dressed = " ".join(parts), "The " + ",  a ".join(part.upper() for part in parts) + " !"
    for name in MATCHING[1:]:
        assert score(name, dressed, plain) == 1.0


@given(st.lists(st.sampled_from(["red", "circle", "2", "small"]), min_size=1, max_size=6), st.randoms())
def test_f1_does_not_know_the_order(parts: list[str], random: Any) -> None:
    other = list(parts)
    random.shuffle(other)
    assert score("token_f1", " ".join(other), " ".join(parts)) == 1.0


@given(st.text(max_size=40))
def test_words_are_in_their_last_form(text: str) -> None:
    once = words(text)
    assert words(" ".join(once)) == once or {"a", "an", "the"} >= set(once)
