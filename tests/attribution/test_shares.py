"""Shares of rows: exact, and on the rows that moved. Their sum: see also tests/divergences/test_rjsd.py."""

from __future__ import annotations

import numpy as np
import pytest

from auditor.attribution import rjsd_shares
from auditor.divergences import rjsd
from auditor.sketch import Floats


def logm(c: Floats) -> Floats:
    values, vectors = np.linalg.eigh(c)
    return (vectors * np.log(values)) @ vectors.T


def test_shares_are_the_formula_with_full_rank() -> None:
    rng = np.random.default_rng(0)
    p, q = rng.normal(size=(40, 6)), rng.normal(size=(30, 6)) * np.arange(1, 7)
    c_p, c_q = (z.T @ z / np.square(z).sum() for z in (p, q))
    by_p, by_q = rjsd_shares(p, q)
    m = logm((c_p + c_q) / 2)
    expected_p = 0.5 * np.einsum("ij,jk,ik->i", p, logm(c_p) - m, p) / np.square(p).sum()
    expected_q = 0.5 * np.einsum("ij,jk,ik->i", q, logm(c_q) - m, q) / np.square(q).sum()
    np.testing.assert_allclose(by_p, expected_p, atol=1e-12)
    np.testing.assert_allclose(by_q, expected_q, atol=1e-12)


@pytest.mark.parametrize(("n", "m", "d"), [(30, 25, 200), (300, 200, 16), (30, 300, 100)])
def test_repeated_rows_and_deficient_rank(n: int, m: int, d: int) -> None:
    rng = np.random.default_rng(1)
    basis = rng.normal(size=(min(5, d), d))
    p, q = rng.normal(size=(n, len(basis))) @ basis, np.repeat(rng.normal(size=(m // 5, d)), 5, axis=0)
    by_p, by_q = rjsd_shares(p, q)
    assert by_p.sum() + by_q.sum() == pytest.approx(rjsd(p, q), abs=1e-9)
    np.testing.assert_allclose(by_q.reshape(-1, 5), by_q[::5, None] * np.ones(5), atol=1e-12)


def test_the_slice_that_moved_has_the_drift() -> None:
    rng = np.random.default_rng(2)
    p, q = rng.normal(size=(400, 20)), rng.normal(size=(400, 20))
    q[:40] += 4 * np.eye(20)[3]
    shares = rjsd_shares(p, q)[1]
    assert shares[:40].sum() > 5 * shares[40:].sum()
