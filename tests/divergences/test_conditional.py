"""Conditional divergences where the answer is exact: clusters to condition on, atoms that are drawn."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from auditor.divergences import ConditionalDivergence, conditional_divergence
from auditor.sketch import Float

LOG2 = float(np.log(2))
CLUSTERS, ATOMS = 6, 5


class World(NamedTuple):
    p: tuple[Float, Float]
    q: tuple[Float, Float]
    d_bar: float
    """E_P D + E_Q D, exact: the kernel operator of orthonormal atoms is the discrete law"""
    quarter: float


def jsd(p: Float, q: Float) -> Float:
    h = lambda z: -(z * np.log(np.where(z > 0, z, 1))).sum(axis=-1)  # noqa: E731
    return np.asarray(h((p + q) / 2) - (h(p) + h(q)) / 2)


def world(seed: int, shifted: float = 1.0, noise: float = 0.02, n: int = 1500, m: int = 1000) -> World:
    """The first `shifted` of the clusters have other atoms under Q; the clusters' shares differ anyway."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(CLUSTERS, 16))
    law_p, law_q = rng.dirichlet(np.ones(ATOMS), size=(2, CLUSTERS))
    law_q = np.where(np.arange(CLUSTERS)[:, None] < shifted * CLUSTERS, law_q, law_p)
    share_p, share_q = rng.dirichlet(np.full(CLUSTERS, 10.0), size=2)

    def draw(share: Float, law: Float, rows: int) -> tuple[Float, Float]:
        cluster = rng.choice(CLUSTERS, size=rows, p=share)
        atom = (rng.random((rows, 1)) > np.cumsum(law[cluster], axis=1)).sum(axis=1).clip(0, ATOMS - 1)
        return centres[cluster] + noise * rng.normal(size=(rows, 16)), np.eye(32)[atom]

    each = jsd(law_p, law_q)
    return World(
        draw(share_p, law_p, n),
        draw(share_q, law_q, m),
        float((share_p + share_q) @ each),
        float(share_p @ each**0.25),
    )


def found(w: World, k: int = 20, anchors: int = 100, seed: int = 0) -> ConditionalDivergence:
    return conditional_divergence(*w.p, *w.q, k=k, anchors=anchors, seed=seed)


def number(x: float | None) -> float:
    assert x is not None
    return x


@pytest.mark.parametrize("noise", [0.02, 0.0])  # 0: every row of a cluster repeats, neighbours are ties
def test_a_known_answer(noise: float) -> None:
    worlds = [world(seed, noise=noise) for seed in range(6)]
    results = [found(w) for w in worlds]
    z = [(number(r.value) - w.d_bar) / number(r.error) for r, w in zip(results, worlds, strict=True)]
    assert np.abs(z).max() < 3.5 and abs(np.mean(z)) < 1.5
    off = [number(r.value) / w.d_bar - 1 for r, w in zip(results, worlds, strict=True)]
    assert abs(np.mean(off)) < 0.1
    for r, w in zip(results, worlds, strict=True):
        assert number(r.quarter) == pytest.approx(w.quarter, abs=0.15)
        assert number(r.quarter_high) >= w.quarter - 0.02
        assert number(r.value) == number(r.mean_p) + number(r.mean_q)


def test_no_conditional_shift_is_0_on_average() -> None:
    results = [found(world(seed, shifted=0.0)) for seed in range(8)]
    values = np.array([number(r.value) for r in results])
    assert abs(values.mean()) < 3 * values.std(ddof=1) / np.sqrt(8)
    assert np.abs(values).max() < 0.03 < np.mean([number(r.raw) for r in results])
    assert max(number(r.quarter) for r in results) < 0.25


def test_a_shift_of_some_clusters_only() -> None:
    for seed in range(3):
        w = world(seed, shifted=0.5)
        r = found(w, k=40, anchors=60)
        assert number(r.value) == pytest.approx(w.d_bar, abs=3.5 * number(r.error))


def test_it_is_the_sum_of_both_means() -> None:
    """Disjoint atoms everywhere: D(x) = log 2 at every x, D̄ = 2 log 2; the null takes off a little of it."""
    w = world(0)
    q = (w.q[0], w.q[1] @ np.eye(32)[::-1])
    r = conditional_divergence(*w.p, *q, k=40, anchors=50)
    assert 0.9 * 2 * LOG2 < number(r.value) <= 2 * LOG2
    assert number(r.quarter) == pytest.approx(LOG2**0.25, rel=0.03)


def test_what_the_marginals_hide() -> None:
    """v and t equal in P, independent in Q: given v, P's t is one atom and Q's any of four."""
    v = np.eye(4)[np.arange(800) % 4]
    t_q = np.eye(4)[(np.arange(800) // 4) % 4]
    r = conditional_divergence(v, v, v, t_q, k=40, anchors=60)
    truth = 2 * float(jsd(np.eye(4)[0], np.full(4, 0.25)))
    assert number(r.value) == pytest.approx(truth, rel=0.1)


def test_off_the_support() -> None:
    """One cluster is missing in Q: its anchors are left out, and count as log 2 in `high`."""
    w = world(1, shifted=0.0)
    centre = w.p[0][0]
    gone_p, gone_q = (np.linalg.norm(z - centre, axis=1) < 1 for z in (w.p[0], w.q[0]))
    r = conditional_divergence(*w.p, w.q[0][~gone_q], w.q[1][~gone_q], k=20, anchors=200)
    assert r.outside_p == pytest.approx(gone_p.mean(), abs=0.1) and r.outside_q < 0.03
    assert r.outside == (r.outside_p + r.outside_q) / 2
    assert abs(number(r.value)) < 0.04
    outside = (r.outside_p * (LOG2 - number(r.mean_p))) + (r.outside_q * (LOG2 - number(r.mean_q)))
    assert number(r.high) == pytest.approx(number(r.value) + outside)
    far = conditional_divergence(*w.p, w.q[0] + 50, w.q[1], k=20, anchors=50)
    assert far.value is None and far.outside == 1 and far.n_anchors == 0
    assert far.reason == "no common support of the conditioning variable"


def test_a_shift_inside_neighbourhoods_is_mistaken_and_more_rows_lessen_it() -> None:
    """t follows v smoothly and alike in P and Q (D̄ = 0), but v itself moved by one standard deviation."""

    def value(n: int) -> float:
        rng = np.random.default_rng(2)
        sides = []
        for mean in (0.0, 1.0):
            v = rng.normal(size=(n, 2)) + mean
            sides += [v, np.column_stack([np.cos(2 * v), np.sin(2 * v)])]
        return number(conditional_divergence(*sides, k=20, anchors=80).value)

    few, many = value(200), value(8000)
    assert few > 0.05 and many < 0.4 * few


def test_repeatable_and_seeded() -> None:
    w = world(3, n=300, m=300)
    assert found(w, anchors=20) == found(w, anchors=20)
    assert found(w, anchors=20) != found(w, anchors=20, seed=1)


def test_wrong_arguments() -> None:
    z = np.random.default_rng(4).normal(size=(40, 3))
    with pytest.raises(ValueError, match="given_p has 40 rows, other_p has 39"):
        conditional_divergence(z, z[:39], z, z, k=5)
    with pytest.raises(ValueError, match="40 rows of p for neighbourhoods of 40"):
        conditional_divergence(z, z, z, z, k=40)
    with pytest.raises(ValueError, match="other_q: row 7 is zero"):
        conditional_divergence(z, z, z, np.where(np.arange(40)[:, None] == 7, 0.0, z), k=5)
    with pytest.raises(ValueError, match="dimension"):
        conditional_divergence(z, z, z[:, :2], z, k=5)
    with pytest.raises(ValueError, match="at least 2"):
        conditional_divergence(z, z, z, z, k=1)
