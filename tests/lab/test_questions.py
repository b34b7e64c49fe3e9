"""Templates of every language and kind are well-formed, and the stated truth is what the scene shows."""

from __future__ import annotations

import re
import unicodedata

import numpy as np
import pytest

from auditor.lab.lexicon import KINDS, LANGUAGES, LEXICA
from auditor.lab.questions import draw_kind, draw_question
from auditor.lab.scene import COLOURS, QUADRANTS, SHAPES, TEXTURES, draw_scene
from auditor.lab.truth import exact

SCRIPT = {
    "en": "LATIN",
    "de": "LATIN",
    "zh": "CJK",
    "ko": "HANGUL",
    "el": "GREEK",
    "ar": "ARABIC",
    "hi": "DEVANAGARI",
}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_template_makes_a_sentence(language: str, kind: str) -> None:
    rng = np.random.default_rng(0)
    templates = LEXICA[language].templates[kind]
    assert len(templates) >= 3
    for index in range(30):
        question = draw_question(draw_scene(0, index), kind, rng)
        for phrasing in range(len(templates)):
            text = question.text(language, phrasing)
            assert not re.search(r"[{}]|namespace|  ", text)
            assert text == text.strip()
            assert text[-1] in "?.？。;؟।"
            letters = [c for c in text if c.isalpha()]
            own = sum(SCRIPT[language] in unicodedata.name(c) for c in letters)
            assert own == len(letters), text


@pytest.mark.parametrize("language", LANGUAGES)
def test_different_names_make_different_words(language: str) -> None:
    lexicon = LEXICA[language]
    assert set(lexicon.shapes) == set(SHAPES)
    assert set(lexicon.groups) == set(COLOURS + TEXTURES)
    assert set(lexicon.quadrants) == set(QUADRANTS)
    for words in (lexicon.shapes, lexicon.groups):
        for form in vars(next(iter(words.values()))):
            if form not in ("lies", "found"):  # verbs: they agree in gender with the shape
                assert len({getattr(w, form) for w in words.values()}) == len(words)


@pytest.mark.parametrize("kind", KINDS)
def test_truth_is_what_the_scene_shows(kind: str) -> None:
    rng = np.random.default_rng(1)
    for index in range(200):
        scene = draw_scene(1, index)
        question = draw_question(scene, kind, rng)
        by_shape = {i.shape: i for i in scene.items}
        answer, slots = question.truth.answer, question.slots
        if kind in ("colour", "texture", "digit"):
            assert str(getattr(by_shape[slots["a"]], kind)) == answer
        elif kind == "shape":
            assert [i.shape for i in scene.items if i.colour == slots["c"]] == [answer]
        elif kind == "describe":
            said = [f"{i.colour} {i.texture} {i.shape} {i.digit}" for i in scene.items]
            assert answer.split(", ") == said
            assert [i.quadrant for i in scene.items] == sorted(i.quadrant for i in scene.items)
        elif kind == "count":
            assert int(answer) == len(scene.items)
        elif kind == "count_of":
            assert int(answer) == len([i for i in scene.items if slots["c"] in (i.colour, i.texture)])
        elif kind == "position":
            item = next(i for i in scene.items if QUADRANTS[i.quadrant] == slots["where"])
            assert answer == f"{item.colour} {item.shape}"
        else:
            a, b = by_shape[slots["a"]], by_shape[slots["b"]]
            # Pixels decide, not quadrants: objects never leave their own.
            right = {"left of": a.x < b.x, "right of": a.x > b.x, "above": a.y < b.y, "below": a.y > b.y}
            assert (answer == "yes") == right[slots["rel"]]
        for phrasing in range(4):
            assert exact(question.reference(phrasing), question.truth)


def test_yes_and_no_are_about_equally_frequent() -> None:
    rng = np.random.default_rng(2)
    answers = [draw_question(draw_scene(2, i), "relation", rng).truth.answer for i in range(600)]
    assert 0.42 < answers.count("yes") / 600 < 0.58


def test_unknown_kinds_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown kind"):
        draw_question(draw_scene(0, 0), "smell", np.random.default_rng(0))
    with pytest.raises(ValueError, match="smell"):
        draw_kind({"smell": 1.0}, 0.5)
