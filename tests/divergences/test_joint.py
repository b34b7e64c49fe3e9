"""The joint divergence: exact as rows v⊗t, and close when sketched."""

from __future__ import annotations

import numpy as np
import pytest

from auditor.divergences import (
    joint_divergence,
    joint_entropy,
    joint_rows,
    rjsd,
    rjsd_joint,
    tensor_sketch,
    von_neumann_entropy,
)
from auditor.divergences.joint import EXACT_ROWS
from auditor.sketch import Floats


def unit(z: Floats) -> Floats:
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def pairs(n: int, d_v: int, d_t: int, seed: int, mean: float = 0.0) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    return unit(rng.normal(size=(n, d_v)) + mean), unit(rng.normal(size=(n, d_t)) + mean)


def outer(v: Floats, t: Floats) -> Floats:
    return np.einsum("ni,nj->nij", v, t).reshape(len(v), -1)


@pytest.mark.parametrize(("n", "m"), [(12, 9), (40, 70)])
def test_exact_is_rjsd_of_the_outer_products(n: int, m: int) -> None:
    v_p, t_p = pairs(n, 5, 4, 0)
    v_q, t_q = pairs(m, 5, 4, 1, 0.5)
    expected = rjsd(outer(v_p, t_p), outer(v_q, t_q))
    assert rjsd_joint(v_p, t_p, v_q, t_q) == pytest.approx(expected, abs=1e-9)


def test_the_same_marginals_may_hide_a_joint_shift() -> None:
    """v and t equal in P, independent in Q: only the joint divergence sees it."""
    v = np.eye(4)[np.arange(400) % 4]
    t_q = np.eye(4)[(np.arange(400) // 4) % 4]
    assert rjsd(v, v) == pytest.approx(0, abs=1e-9) and rjsd(v, t_q) == pytest.approx(0, abs=1e-9)
    m = np.concatenate([np.full(4, 0.5 * 0.25 + 0.5 / 16), np.full(12, 0.5 / 16)])
    expected = -(m * np.log(m)).sum() - 0.5 * (np.log(4) + np.log(16))
    assert rjsd_joint(v, v, v, t_q) == pytest.approx(expected, abs=1e-9)


def test_tensor_sketch_is_unbiased() -> None:
    v, t = pairs(6, 10, 7, 2)
    exact = (v @ v.T) * (t @ t.T)
    grams = [f @ f.T for f in (tensor_sketch(v, t, 32, seed) for seed in range(400))]
    error = np.abs(np.mean(grams, axis=0) - exact)
    assert (error < 4.5 * np.std(grams, axis=0) / 20 + 1e-12).all()


def test_sketched_beyond_the_limit_with_its_error() -> None:
    """v⊗t of a few directions, as embeddings are: 64 coordinates can hold what moved."""
    few = np.exp(-np.arange(64.0))
    (v_p, t_p), (v_q, t_q) = (
        tuple(unit(rng.normal(size=(300, 64)) * few + mean * np.eye(64)[1]) for _ in range(2))
        for rng, mean in ((np.random.default_rng(3), 0.0), (np.random.default_rng(4), 0.6))
    )
    exact = rjsd_joint(v_p, t_p, v_q, t_q)
    sketched = joint_divergence(v_p, t_p, v_q, t_q, exact_rows=200)
    assert not sketched.exact and sketched.error > 0
    assert sketched.value == pytest.approx(exact, rel=0.15)
    assert sketched.error < 0.2 * exact


def test_joint_rows() -> None:
    v_p, t_p = pairs(10, 30, 20, 5)
    v_q, t_q = pairs(12, 30, 20, 6, 0.5)
    f_p, f_q = joint_rows(v_p, t_p, v_q, t_q)
    assert rjsd(f_p, f_q) == pytest.approx(rjsd_joint(v_p, t_p, v_q, t_q), abs=1e-9)
    many = pairs(EXACT_ROWS, 8, 8, 7)
    assert joint_rows(*many, *many)[0].shape == (EXACT_ROWS, 8)
    with pytest.raises(ValueError, match="pairs are needed"):
        rjsd_joint(v_p, t_p[:5], v_q, t_q)


def test_an_entropy_of_p_that_is_known_changes_no_bit() -> None:
    (v_p, t_p), (v_q, t_q) = pairs(40, 30, 20, 8), pairs(12, 30, 20, 9, 0.5)
    known = joint_entropy(v_p, t_p)
    assert rjsd_joint(v_p, t_p, v_q, t_q, entropy_p=known) == rjsd_joint(v_p, t_p, v_q, t_q)
    assert rjsd_joint(v_p, t_p, v_q, t_q) == joint_divergence(v_p, t_p, v_q, t_q).value
    assert known == pytest.approx(von_neumann_entropy(outer(v_p, t_p).T @ outer(v_p, t_p)), abs=1e-9)
    with pytest.raises(ValueError, match="product is zero"):
        rjsd_joint(v_p, t_p, 0 * v_q, t_q)


def test_beyond_the_limit_the_sketch_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auditor.divergences.joint.EXACT_ROWS", 40)
    (v_p, t_p), (v_q, t_q) = pairs(40, 30, 20, 8), pairs(12, 30, 20, 9, 0.5)
    sketched = joint_divergence(v_p, t_p, v_q, t_q, seed=2, exact_rows=40)
    assert not sketched.exact and rjsd_joint(v_p, t_p, v_q, t_q, seed=2) == sketched.value
