"""The contract of a shift: ours keep it, and each broken one is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from auditor.shifts import SHIFTS, shift
from auditor.testing import check_shift


@pytest.mark.parametrize("name", ["blur", "frost", "keyboard"])
def test_ours_keep_it(name: str) -> None:
    assert SHIFTS.ours(name)
    check_shift(name)


def rising(image: Any, severity: int, rng: np.random.Generator) -> Any:
    return np.clip(image + 0.02 * severity, 0.0, 1.0)


def in_place(image: Any, severity: int, rng: np.random.Generator) -> Any:
    image *= 1.0 - 0.1 * severity
    return image


def shout(text: str, severity: int, rng: np.random.Generator) -> Any:
    return text + "!" * severity


FRESH = np.random.default_rng()


@pytest.mark.parametrize(
    ("family", "function", "word"),
    [
        ("visual", lambda image, severity, rng: image, "changes nothing"),
        ("visual", lambda image, severity, rng: np.clip(image + 0.2 / severity, 0, 1), "changes less than 1"),
        ("visual", lambda image, severity, rng: np.clip(image + 0.1, 0, 1), "no more than the lowest"),
        ("visual", lambda image, severity, rng: image + 0.1 * severity, "outside"),
        ("visual", lambda image, severity, rng: np.clip(image + FRESH.random() / 9, 0, 1), "else again"),
        ("visual", lambda image, severity, rng: image[:, :, 0], "not \\(h, w, 3\\)"),
        ("visual", lambda image, severity, rng: (image * 255).astype(np.uint8), "no floats"),
        ("visual", in_place, "in place"),
        ("visual", lambda image, severity, rng: rising(image, severity, rng)[2:], "raises|outside|changes"),
        ("text", lambda text, severity, rng: text.encode(), "no text"),
        ("text", lambda text, severity, rng: severity * text[0] + text, "raises for the text ''"),
    ],
)
def test_a_broken_one_is_named(family: Any, function: Callable[..., Any], word: str) -> None:
    shift("broken", family)(function)
    with pytest.raises(AssertionError, match=f"shift broken: .*({word})"):
        check_shift("broken")


def test_small_ones_keep_it() -> None:
    shift("rising", "visual")(rising)
    check_shift("rising")
    shift("shout", "text")(shout)
    check_shift("shout")
