"""The short way of the permutation test gives what the long way gives, and is exact without a shift."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from auditor.significance import drift_test
from auditor.significance.permutation import block_plan, unpaired_grams
from auditor.significance.reference_test import ReferenceBlocks, reference_test
from auditor.significance.resampling import ReferenceRows
from auditor.sketch.blocks import equal_blocks


def sides(n, m, d, rng, middle=0.3):
    scale = 1 / np.arange(1, d + 1)
    centre = middle * rng.normal(size=d)
    p, q = (rng.normal(size=(rows, d)) * scale + centre for rows in (n, m))
    return p, q


@pytest.mark.parametrize(
    ("n", "m", "d"),
    [
        pytest.param(300, 20, 64, id="single rows"),
        pytest.param(1503, 107, 48, id="blocks, and rows in none of them"),
        pytest.param(4400, 250, 32, id="blocks of many rows"),
        pytest.param(6000, 600, 16, id="more rows than have a kernel matrix"),
    ],
)
def test_grams_are_those_of_the_long_way(n, m, d):
    rng = np.random.default_rng(n)
    p, q = sides(n, m, d, rng)
    block_rows, k_p, k_q = block_plan(n, m)
    blocks = ReferenceBlocks.of(ReferenceRows.fit(p), block_rows, k_p)
    cut = equal_blocks(m, block_rows, rng)[:k_q].ravel()
    long_way = unpaired_grams(np.concatenate([blocks.rows, q[cut]]), block_rows, np.concatenate([p, q]))
    names = ("linear", "quadratic", "whitened", "squared", "local", "lengths")
    for name, got, expected in zip(names, blocks.grams(q, cut), long_way, strict=True):
        tolerance = 1e-5 if name in ("quadratic", "squared", "local") else 1e-9  # fp32 products
        scale = np.abs(expected.gram).max() / np.abs(got.gram).max()
        assert name == "squared" or scale == pytest.approx(1, rel=1e-6)
        for part, whole in ((got.gram, expected.gram), (got.norms, expected.norms)):
            bound = tolerance * np.abs(whole).max()
            np.testing.assert_allclose(scale * part, whole, atol=bound, err_msg=name)


def test_rows_that_hardly_vary_take_the_long_way():
    """Rows whose spread is a millionth of their mean: the whitened statistic still sees a shift."""
    rng = np.random.default_rng(0)
    centre = rng.normal(size=16)
    p, q = (centre + 1e-5 * rng.normal(size=(rows, 16)) for rows in (400, 40))
    reference = ReferenceRows.fit(p)
    assert reference_test(reference, q, 199, rng).p_value > 0.01
    assert reference_test(reference, q + 1e-5, 199, rng).p_value <= 0.02
    same = ReferenceRows.fit(np.tile(centre, (400, 1)))
    assert reference_test(same, np.tile(centre, (40, 1)), 199, rng).p_value == 1


def test_false_alarms_are_as_many_as_it_says():
    """One baseline each, 400 of them: within the binomial 99.9% interval."""
    p_values = []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        p, q = sides(200, 20, 8, rng)
        p_values.append(reference_test(ReferenceRows.fit(p), q, 199, rng).p_value)
    for level in (0.05, 0.1):
        low, high = binom.ppf([0.0005, 0.9995], 400, level)
        assert low <= np.sum(np.array(p_values) <= level) <= high


def test_what_was_fitted_before_changes_nothing():
    rng = np.random.default_rng(3)
    p, q = sides(320, 40, 16, rng)
    reference = ReferenceRows.fit(p)
    first, again, fresh = (
        drift_test(reference if fitted else p, q, seed=5) for fitted in (True, True, False)
    )
    assert first == again == fresh
    drift_test(reference, q[:30], seed=1)
    assert drift_test(reference, q, seed=5) == first
