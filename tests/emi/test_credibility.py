"""The credibility check: exact where inputs say nothing, whatever the groups; sure of a plain dependence."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from auditor.emi.credibility import (
    LEAST_GROUPS,
    LEAST_OF_A_SIZE,
    MOST_ROWS,
    credibility,
    exchangeable,
)


def grouped(
    seed: int, n: int, groups: int, within: float, depends: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of groups of unequal sizes, `within` the share of variance that a group's rows have in common."""
    rng = np.random.default_rng(seed)
    labels = np.sort(rng.integers(0, groups, n)) if groups < n else np.arange(n)

    def rows() -> np.ndarray:
        common = rng.normal(size=(n, 12))[labels]
        return np.sqrt(within) * common + np.sqrt(1 - within) * rng.normal(size=(n, 12))

    x, y = rows(), rows()
    return x, np.sqrt(1 - depends) * y + np.sqrt(depends) * x, labels


@pytest.mark.parametrize(("n", "groups", "within"), [(80, 80, 0.0), (120, 40, 0.9)])
def test_inputs_that_say_nothing_are_found_as_often_as_stated(n: int, groups: int, within: float) -> None:
    p_values = []
    for seed in range(120):
        x, y, labels = grouped(seed, n, groups, within)
        found = credibility(x, y, labels, permutations=39, seed=seed)
        assert found is not None
        p_values.append(found.p_value)
    for level in (0.05, 0.1, 0.5):
        low, high = stats.binom.interval(0.999, len(p_values), level)
        assert low <= sum(p <= level for p in p_values) <= high


def test_groups_taken_apart_would_be_believed() -> None:
    """Questions about one image: their inputs are alike, and so are their answers, by chance."""
    alone, whole = [], []
    for seed in range(40):
        x, y, labels = grouped(seed, 120, 30, 0.95)
        for labelled, p_values in ((np.arange(len(x)), alone), (labels, whole)):
            found = credibility(x, y, labelled, permutations=39)
            assert found is not None
            p_values.append(found.p_value)
    assert np.mean(np.array(alone) <= 0.05) > 0.5
    assert np.mean(np.array(whole) <= 0.05) < 0.2


def test_answers_that_follow_the_inputs_are_seen() -> None:
    x, y, labels = grouped(0, 200, 200, 0.0, depends=0.5)
    found = credibility(x, y, labels)
    assert found is not None and found.p_value <= 0.005
    assert 0.1 < found.value < 1 and abs(found.null_mean) < 0.05
    assert (found.n, found.groups) == (200, 200)
    assert found == credibility(x, y, labels)  # the same draws
    turned = np.linalg.qr(np.random.default_rng(1).normal(size=(12, 12)))[0]
    rotated = credibility(x, y @ turned, labels)
    assert rotated is not None and rotated.value == pytest.approx(found.value, abs=0.05)


def test_two_answers_are_enough() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 8))
    words = rng.normal(size=(2, 16))
    found = credibility(x, words[(x[:, 0] > 0).astype(int)], np.arange(200))
    assert found is not None and found.p_value <= 0.005 and 0.3 < found.value < 1


def test_too_little_to_check() -> None:
    x, y, _ = grouped(0, 100, 100, 0.0)
    assert credibility(x, y, np.arange(100) % (LEAST_GROUPS - 1)) is None
    assert credibility(x, np.ones((100, 3)), np.arange(100)) is None
    with pytest.raises(ValueError, match="3 group labels for 100 rows"):
        credibility(x, y, [1, 2, 3])


def test_whole_groups_are_kept_or_cut_to_sizes_that_repeat() -> None:
    sizes = [1] * 30 + [2] * 10 + [3] * 2 + [9]
    labels = np.repeat(np.arange(len(sizes)), sizes)
    np.random.default_rng(0).shuffle(labels)
    units = exchangeable(labels, np.random.default_rng(0))
    found = [len(unit) for unit in units]
    assert sorted(found) == [1] * 30 + [2] * 13
    assert all(len(set(labels[unit])) == 1 for unit in units)
    many = exchangeable(np.arange(3 * MOST_ROWS) // 2, np.random.default_rng(0))
    assert len(many) == MOST_ROWS // 2 and {len(unit) for unit in many} == {2}
    assert LEAST_OF_A_SIZE > 2
