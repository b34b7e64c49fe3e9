"""Forms of EMI of every scenario and model, and how answers differ in style."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from auditor.measures.forms import MOST_APART, formed, styles_apart
from auditor.profiles.profile import GroupKey
from auditor.profiles.refusals import refuses
from schemas.report import Style
from tests.measures.conftest import profiled, rows


def test_every_scenario_and_model_has_its_forms() -> None:
    given = rows(150, 0)
    perfect = replace(given, response=given.reference, chars=np.tile(np.float32([20, 10]), (150, 1)))
    profiles = {GroupKey("a", "right"): profiled(perfect), GroupKey("a", "near"): profiled(given)}
    found = formed(profiles, 0)
    assert set(found) == set(profiles)
    right, near = found[GroupKey("a", "right")], found[GroupKey("a", "near")]
    assert right.forms.cross_fitted == 0 and right.forms.cosine == pytest.approx(1)
    assert near.forms.cross_fitted is not None and near.forms.cross_fitted < 0
    assert near.forms.cosine is not None and near.forms.cosine < 1
    assert right.style.length == pytest.approx(1) and right.style.marginal == 0
    assert near.style.length is None  # its characters are not known
    assert near.style.refusal is None


def test_no_forms_of_too_few_rows_or_without_correct_answers() -> None:
    given = rows(3, 0)
    assert formed({GroupKey("a", "m"): profiled(given)}, 0) == {}
    bare = replace(given, has=dict(given.has) | {"reference": np.zeros(3, dtype=bool)})
    assert formed({GroupKey("a", "m"): profiled(bare)}, 0) == {}


def test_styles_are_apart_by_more_than_is_stated() -> None:
    plain = Style(length=0.0, echo=0.0, refusal=0.0, marginal=0.0)
    assert styles_apart(plain, plain) == []
    for name, most in MOST_APART.items():
        assert styles_apart(plain.model_copy(update={name: 0.9 * most}), plain) == []
        (said,) = styles_apart(plain.model_copy(update={name: 1.1 * most}), plain)
        assert said
    assert styles_apart(Style(length=9.0), Style()) == []  # not known


@pytest.mark.parametrize(
    "text", ["I'm sorry, but I cannot.", "I cannot see it", "As an AI model", "Unanswerable."]
)
def test_refusals(text: str) -> None:
    assert refuses(text)


@pytest.mark.parametrize("text", ["", "Yes", "The man is sorry.", "I can see a dog."])
def test_no_refusals(text: str) -> None:
    assert not refuses(text)
