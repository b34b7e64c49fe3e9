"""Windows and their variation: sizes compare, ranks are fair, and what is far is ranked first."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from auditor.significance.variation import (
    LEAST_WINDOWS,
    Distances,
    MeanEmbeddings,
    farthest,
    mean_embedding,
    rank_of_last,
    smoothed_p_value,
    standardised,
)

D = 12


def windows(rng, sizes, day, moved=0.0):
    """Mean embeddings of windows with means of their own, the last one moved."""
    parts = []
    for i, n in enumerate(sizes):
        mean = day * rng.normal(size=D)
        mean[0] += moved if i == len(sizes) - 1 else 0.0
        parts.append(mean_embedding(mean + rng.normal(size=(n, D)), np.arange(n)))
    return MeanEmbeddings(np.array([m for m, _ in parts]), np.array([e for _, e in parts]))


def everyone(embeddings):
    return Distances(embeddings).logs(np.arange(len(embeddings.noise)))


def test_the_noise_of_a_mean_is_its_squared_error():
    rng = np.random.default_rng(1)
    found = [mean_embedding(rng.normal(size=(40, D)), np.arange(40)) for _ in range(400)]
    errors = [float(mean @ mean) for mean, _ in found]
    assert np.mean([noise for _, noise in found]) == pytest.approx(D / 40, rel=0.02)
    assert np.mean(errors) == pytest.approx(D / 40, rel=0.1)


def test_rows_that_belong_together_are_noisier():
    rng = np.random.default_rng(2)
    labels = np.repeat(np.arange(20), 5)
    found = [mean_embedding(rng.normal(size=(20, D))[labels], labels) for _ in range(300)]
    assert np.mean([noise for _, noise in found]) == pytest.approx(D / 20, rel=0.05)
    assert np.mean([mean @ mean for mean, _ in found]) == pytest.approx(D / 20, rel=0.1)
    assert np.isnan(mean_embedding(np.ones((5, 2)), np.zeros(5, int))[1])


@pytest.mark.parametrize("day", [0.0, 0.1, 1.0])
def test_windows_of_different_sizes_compare(day):
    """A small window is not ranked first more often than a large one, whether rows or days vary more."""
    rng, first = np.random.default_rng(3), []
    for _ in range(600):
        sizes = rng.permutation([40] * 6 + [200] * 6)
        first.append(sizes[np.argmax(everyone(windows(rng, sizes, day)))])
    low, high = stats.binom.interval(0.999, 600, 0.5)
    count = sum(n == 40 for n in first)
    # The spread is only about the same: a little tolerance beyond chance.
    assert low - 40 <= count <= high + 40, count


def test_a_window_that_moved_is_ranked_first():
    rng = np.random.default_rng(4)
    ranks = [rank_of_last(everyone(windows(rng, [80] * 15, 0.3, moved=3.0))) for _ in range(50)]
    assert all(r.rank == 1 and r.of == 15 and r.p_value == 1 / 15 for r in ranks)


def test_ranks_are_uniform_and_independent_of_earlier_ones():
    """Without a change, each window among the earlier ones and a baseline of five."""
    rng, p_values = np.random.default_rng(5), []
    for _ in range(150):
        distances = Distances(windows(rng, [30] * 15, 0.3))
        p_values.append(
            [
                smoothed_p_value(standardised(distances.logs(np.arange(t + 1))[:, None])[:, 0], rng.random())
                for t in range(5, 15)
            ]
        )
    found = np.array(p_values)
    assert stats.kstest(found.ravel(), "uniform").pvalue > 1e-3
    lagged = stats.spearmanr(found[:, :-1].ravel(), found[:, 1:].ravel())
    assert lagged.pvalue > 1e-3


def test_later_windows_change_no_bit():
    rng = np.random.default_rng(6)
    whole = windows(rng, [50] * 20, 0.3)
    part = MeanEmbeddings(whole.means[:12], whole.noise[:12])
    members = np.array([0, 1, 2, 4, 5, 7, 8, 11])
    assert np.array_equal(Distances(whole).logs(members), Distances(part).logs(members))


def test_what_has_no_embedding_is_left_out():
    rng = np.random.default_rng(7)
    found = windows(rng, [50] * 6, 0.3)
    found.noise[2] = np.nan
    logs = everyone(found)
    assert np.isnan(logs[2]) and np.isfinite(np.delete(logs, 2)).all()
    others = np.delete(np.arange(6), 2)
    assert np.allclose(logs[others], Distances(found).logs(others))
    found.noise[LEAST_WINDOWS:] = np.nan
    assert np.isnan(everyone(found)).all()


def test_equal_windows_tie():
    same = MeanEmbeddings(np.ones((5, 3)), np.zeros(5))
    logs = everyone(same)
    assert len(set(logs)) == 1
    rank = rank_of_last(standardised(logs[:, None])[:, 0])
    assert rank is not None and rank.rank == rank.of == 5
    assert smoothed_p_value(logs, 0.25) == 0.25


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=12), st.floats(0, 0.999))
def test_ranks_and_p_values_agree(values, uniform):
    known = np.array(values)
    rank = rank_of_last(known)
    assert rank is not None and 1 <= rank.rank <= rank.of == len(known)
    assert 0 <= smoothed_p_value(known, uniform) <= rank.p_value
    assert rank_of_last(np.array([*values, np.nan])) is None


@given(st.lists(st.floats(-100, 100), min_size=3, max_size=12), st.floats(0.1, 10), st.floats(-50, 50))
def test_standardised_values_have_no_unit(values, factor, shift):
    column = np.array(values)
    if np.median(np.abs(column - np.median(column))) < 1e-3:
        return
    a, b = (standardised(v[:, None])[:, 0] for v in (column, factor * column + shift))
    assert np.allclose(a, b, atol=1e-6)


def test_the_farthest_of_each_row():
    values = np.array([[1.0, np.nan], [np.nan, np.nan], [0.5, 2.0]])
    found = farthest(values)
    assert found[0] == 1.0 and np.isnan(found[1]) and found[2] == 2.0
