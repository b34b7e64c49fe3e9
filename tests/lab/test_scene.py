"""Scenes are pure functions of (seed, index), and what they show is what they say."""

from __future__ import annotations

import time
from collections import Counter

import numpy as np
import pytest

from auditor.lab.scene import BACKGROUNDS, SIZE, TILE, SceneLaw, draw_scene, render


def test_same_seed_same_bytes() -> None:
    for index in range(20):
        first, second = draw_scene(3, index), draw_scene(3, index)
        assert first == second
        assert render(first).tobytes() == render(second).tobytes()
    assert render(draw_scene(3, 0)).tobytes() != render(draw_scene(4, 0)).tobytes()


def test_pictures_have_the_stated_form() -> None:
    picture = render(draw_scene(0, 0))
    assert picture.shape == (SIZE, SIZE, 3)
    assert picture.dtype == np.uint8


def test_every_object_keeps_to_its_quadrant_and_shapes_differ() -> None:
    for index in range(300):
        scene = draw_scene(1, index)
        assert 2 <= len(scene.items) <= 4
        assert len({i.shape for i in scene.items}) == len(scene.items)
        colours = Counter(i.colour for i in scene.items)
        assert 1 in colours.values()
        for item in scene.items:
            assert item.x // TILE == item.column
            assert item.y // TILE == item.row


def test_a_digit_is_drawn_where_it_is_said_to_be() -> None:
    """The plate's corner is white and some of its inner pixels dark: found at the item's own place."""
    for index in range(50):
        scene = draw_scene(2, index)
        picture = render(scene).astype(int).sum(2)
        for item in scene.items:
            x, y = round(item.x), round(item.y)
            plate = picture[y - 3 : y + 4, x - 2 : x + 3]
            assert plate[0].min() > 2 * plate[1:6, 1:4].min()


def test_the_law_governs_the_proportions() -> None:
    law = SceneLaw(objects={4: 1.0}, backgrounds={"slate": 3.0, "paper": 1.0})
    scenes = [draw_scene(0, i, law) for i in range(400)]
    assert {len(s.items) for s in scenes} == {4}
    share = sum(s.background == "slate" for s in scenes) / 400
    assert 0.68 < share < 0.82
    assert {s.background for s in (draw_scene(0, i) for i in range(200))} == set(BACKGROUNDS)


def test_strangeness_moves_the_picture_away_by_degrees() -> None:
    """The light fails: the mean brightness falls."""
    light = []
    for s in (0.0, 0.5, 1.0):
        law = SceneLaw(strangeness=(s, s))
        light.append(np.mean([render(draw_scene(0, i, law)).mean() for i in range(60)]))
    assert light[0] > light[1] > light[2]


@pytest.mark.parametrize(
    "bad",
    [
        {"objects": {5: 1.0}},
        {"backgrounds": {"sea": 1.0}},
        {"textures": {}},
        {"textures": {"plain": 0.0}},
        {"strangeness": (0.5, 0.2)},
    ],
)
def test_a_wrong_law_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="SceneLaw"):
        SceneLaw(**bad)  # type: ignore[arg-type]


def test_drawing_is_fast() -> None:
    start = time.perf_counter()
    for index in range(100):
        render(draw_scene(9, index))
    assert (time.perf_counter() - start) / 100 < 0.02  # about 1 ms on an idle core
