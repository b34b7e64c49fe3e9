"""How many rows have an image, and how many a text."""

from __future__ import annotations

import pytest
from scipy import stats

from auditor.measures.shares import shares
from tests.measures.conftest import profiled, rows


def test_a_feed_that_lost_its_images_is_found() -> None:
    whole, other, bare = (profiled(rows(50, seed, images=seed < 3)) for seed in (1, 2, 3))
    some = other.merge(profiled(rows(50, 4)))
    image, text = shares(whole, some)
    assert (image.content, image.p, image.q, image.p_value) == ("image", 1, 1, 1)
    assert (text.content, text.p, text.q, text.p_value) == ("text", 1, 1, 1)
    image, text = shares(whole, bare)
    assert (image.p, image.q, text.q, text.p_value) == (1, 0, 1, 1)
    exact = stats.fisher_exact([[50, 0], [0, 50]]).pvalue
    assert image.p_value == pytest.approx(2 * exact)  # Holm over the two
