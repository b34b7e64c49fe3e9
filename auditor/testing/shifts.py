"""This module is the contract of a shift."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from auditor.shifts.registry import SEVERITIES, NamedShift, find_shift
from auditor.testing.contents import STRANGE_TEXTS, TEXTS, pictures
from auditor.testing.contracts import require

SLACK = 0.1
"""By what share the mean change may fall from one severity to the next: contents are few, and ImageNet-C's
own frost falls by 4% from 3 to 4, where the picture fades under the same ice."""


def check_shift(name: str, options: Mapping[str, Any] | None = None) -> None:
    """Check that the registered shift `name` can be used in an audit: everything it draws comes from its
    generator, it leaves its input alone, gives contents of the same kind, changes more at a higher severity,
    and takes odd contents (tiny pictures, empty texts).

    Raises:
        AssertionError: a contract is broken; the message says which.
    """
    who = f"shift {name}"
    shift = find_shift(name, SEVERITIES[0], options)
    require(shift.name == name, f"{who}: is registered as {shift.name}")
    contents: list[Any] = pictures() if shift.family == "visual" else list(TEXTS)
    changes = []
    for severity in SEVERITIES:
        shifted = [_apply(shift, content, severity, seed, who) for seed, content in enumerate(contents)]
        again = [_apply(shift, content, severity, seed, who) for seed, content in enumerate(contents)]
        same = all(np.array_equal(a, b) for a, b in zip(shifted, again, strict=True))
        require(same, f"{who}: the same content and generator give something else again")
        changes.append(np.mean([_change(a, b) for a, b in zip(contents, shifted, strict=True)]))
    require(bool(changes[0] > 0), f"{who}: changes nothing at severity {SEVERITIES[0]}")
    for severity, (low, high) in enumerate(pairwise(changes), SEVERITIES[0]):
        message = f"{who}: severity {severity + 1} changes less than {severity} ({high:.4g} < {low:.4g})"
        require(bool(high >= low * (1.0 - SLACK)), message)
    require(bool(changes[-1] > changes[0]), f"{who}: the highest severity changes no more than the lowest")
    odd: list[Any] = (
        [np.full((1, 1, 3), 0.5), np.zeros((2, 9, 3)), np.ones((16, 5, 3))]
        if shift.family == "visual"
        else list(STRANGE_TEXTS)
    )
    for content in odd:
        for severity in (SEVERITIES[0], SEVERITIES[-1]):
            _apply(shift, content, severity, 0, who)


def _apply(shift: NamedShift, content: Any, severity: int, seed: int, who: str) -> Any:
    if shift.family == "text":
        try:
            text = shift.function(content, severity, np.random.default_rng(seed))
        except Exception as error:
            raise AssertionError(f"{who}: raises for the text {content[:20]!r} ({error!r})") from error
        require(isinstance(text, str), f"{who}: gives {type(text).__name__}, no text")
        return text
    before = content.copy()
    try:
        image = shift.function(content, severity, np.random.default_rng(seed))
    except Exception as error:
        raise AssertionError(f"{who}: raises for a picture of shape {content.shape} ({error!r})") from error
    require(np.array_equal(before, content), f"{who}: changes its input in place")
    require(isinstance(image, np.ndarray), f"{who}: gives {type(image).__name__}, no numpy array")
    require(image.ndim == 3 and image.shape[2] == 3, f"{who}: gives shape {image.shape}, not (h, w, 3)")
    require(np.issubdtype(image.dtype, np.floating), f"{who}: gives {image.dtype}, no floats")
    within = bool(np.isfinite(image).all() and image.min() >= 0.0 and image.max() <= 1.0)
    require(within, f"{who}: gives values outside [0, 1] at severity {severity}")
    return image


def _change(before: Any, after: Any) -> float:
    """Return how much a content changed: mean absolute difference of pictures (1 where even the size is
    another), edits of a text by its length."""
    if isinstance(before, str):
        return _edits(before, after) / len(before)
    return float(np.abs(before - after).mean()) if before.shape == after.shape else 1.0


def _edits(before: str, after: str) -> int:
    """Count the least number of characters put in, taken out or replaced. O(n m)."""
    last = list(range(len(after) + 1))
    for i, a in enumerate(before, 1):
        row = [i]
        for j, b in enumerate(after, 1):
            row.append(min(last[j] + 1, row[-1] + 1, last[j - 1] + (a != b)))
        last = row
    return last[-1]
