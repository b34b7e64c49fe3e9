"""Scenarios: deterministic items that share what their other versions share."""

from __future__ import annotations

import io
from collections import Counter

import pytest
from PIL import Image

from auditor.lab.questions import KIND_WEIGHTS
from auditor.lab.truth import truth_of
from auditor.lab.world import NEW_MIX, Mix, SceneLaw, lab_item, lab_items


def test_item_i_does_not_depend_on_n() -> None:
    few, many = list(lab_items(5, seed=1)), list(lab_items(12, seed=1))
    assert few == many[:5]
    assert list(lab_items(3, seed=1, start=9)) == many[9:]
    assert many[0] != lab_item(0, seed=2)


def test_languages_share_picture_and_truth() -> None:
    english, hindi = lab_item(3), lab_item(3, language="hi")
    assert english.base_id == hindi.base_id == english.record_id != hindi.record_id
    assert english.image == hindi.image
    assert english.truth == hindi.truth
    assert english.query != hindi.query


def test_a_record_keeps_its_truth_in_its_tags() -> None:
    for item in lab_items(40, pool="natural"):
        assert truth_of(item.tags) == item.truth
        assert f"scene:{item.scene_type}" in item.tags
        assert Image.open(io.BytesIO(item.image)).size == (64, 64)


def test_a_new_mix_changes_proportions_and_nothing_else() -> None:
    plain = Counter(i.question_type for i in lab_items(500))
    mixed = Counter(i.question_type for i in lab_items(500, pool="new-mix"))
    assert abs(plain["digit"] / 500 - KIND_WEIGHTS["digit"]) < 0.06
    assert mixed["digit"] > 1.5 * plain["digit"]
    assert set(mixed) <= set(plain)
    assert all(i.strangeness == 0.0 for i in lab_items(20, mix=NEW_MIX))
    only = Mix(scenes=SceneLaw(objects={2: 1.0}), questions={"digit": 1.0})
    assert {(i.scene_type[0], i.question_type) for i in lab_items(20, mix=only)} == {("2", "digit")}


def test_the_natural_pool_is_graded() -> None:
    values = [i.strangeness for i in lab_items(200, pool="natural")]
    assert min(values) < 0.1
    assert max(values) > 0.9


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="language"):
        lab_item(0, language="fr")
    with pytest.raises(ValueError, match="pool"):
        lab_item(0, pool="wild")
