"""The graded score: a number in [0, 1] that follows content, not phrasing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.lab.lexicon import KINDS
from auditor.lab.scene import COLOURS, SHAPES, TEXTURES
from auditor.lab.truth import Truth, exact, graded_score, to_tags, truth_of

described = st.builds(
    lambda *words: " ".join(words),
    st.sampled_from(COLOURS),
    st.sampled_from(TEXTURES),
    st.sampled_from(SHAPES),
    st.integers(0, 9).map(str),
)


def canonical(kind: str) -> st.SearchStrategy[str]:
    return {
        "colour": st.sampled_from(COLOURS),
        "shape": st.sampled_from(SHAPES),
        "count": st.sampled_from(["2", "3", "4"]),
        "count_of": st.sampled_from([str(k) for k in range(5)]),
        "digit": st.sampled_from([str(k) for k in range(10)]),
        "texture": st.sampled_from(["plain", "striped", "dotted"]),
        "relation": st.sampled_from(["yes", "no"]),
        "describe": st.lists(described, min_size=2, max_size=4, unique=True).map(", ".join),
        "position": st.builds(lambda c, s: f"{c} {s}", st.sampled_from(COLOURS), st.sampled_from(SHAPES)),
    }[kind]


truths = st.sampled_from(KINDS).flatmap(lambda k: st.builds(Truth, st.just(k), canonical(k)))


@given(truths, st.text(max_size=40))
def test_any_answer_scores_between_zero_and_one(truth: Truth, answer: str) -> None:
    assert 0.0 <= graded_score(answer, truth) <= 1.0


@given(truths)
def test_the_truth_is_right_however_it_is_put(truth: Truth) -> None:
    for form in ("{}", "It is {}.", " {}\n", "The answer is {}!"):
        assert exact(form.format(truth.answer), truth)
        assert exact(form.format(truth.answer).upper(), truth)
    assert graded_score("", truth) == 0.0


@given(truths)
def test_tags_keep_the_truth(truth: Truth) -> None:
    assert truth_of(["source:lab", *to_tags(truth), "split"]) == truth


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))
def test_nearer_digits_score_no_less(truth: int, a: int, b: int) -> None:
    if abs(a - truth) <= abs(b - truth):
        stated = Truth("digit", str(truth))
        assert graded_score(str(a), stated) >= graded_score(str(b), stated)


def test_known_scores() -> None:
    assert graded_score("blue circle", Truth("position", "red circle")) == 0.5
    assert graded_score("a circle that is red", Truth("position", "red circle")) == 1.0
    assert graded_score("blue star", Truth("position", "red circle")) == 0.0
    assert graded_score("two", Truth("count", "3")) == 0.5
    assert graded_score("three objects", Truth("count", "3")) == 1.0
    assert graded_score("violet", Truth("colour", "purple")) == 1.0
    assert graded_score("none", Truth("count_of", "0")) == 1.0
    assert graded_score("stripes", Truth("texture", "striped")) == 1.0


def test_known_scores_of_descriptions() -> None:
    truth = Truth("describe", "red plain circle 3, blue dotted star 7")
    assert graded_score("I see a blue dotted star 7, a red plain circle 3.", truth) == 1.0
    assert graded_score("red plain circle 3", truth) == 2 * 4 / 12
    assert graded_score("red plain circle 3, blue dotted star 1", truth) == 7 / 8
    assert graded_score("red plain circle 3, blue dotted star 7, green plain cross 0", truth) == 16 / 20
    assert graded_score("nothing", truth) == 0.0


def test_hedging_earns_nothing() -> None:
    assert graded_score("yes and no", Truth("relation", "yes")) == 0.0
    assert graded_score(" ".join(COLOURS), Truth("colour", "red")) == 0.0
    assert graded_score("1 2 3", Truth("digit", "2")) == 0.0


def test_records_of_elsewhere_have_no_truth() -> None:
    with pytest.raises(ValueError, match="no lab truth"):
        truth_of(["language:en"])
    with pytest.raises(ValueError, match="unknown kind"):
        Truth("smell", "sweet")
