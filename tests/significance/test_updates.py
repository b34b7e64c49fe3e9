"""Entropies after a few rows were taken off or weighed anew: equal to those of a new spectrum."""

from __future__ import annotations

import numpy as np
import pytest

from auditor.divergences.spectrum import von_neumann_entropy
from auditor.divergences.updates import Updates
from auditor.significance.resampling import Deck, Pairs, RjsdResampler
from auditor.sketch import Float


def rows(n: int, d: int, seed: int, power: float = 1.0) -> Float:
    z = np.random.default_rng(seed).normal(size=(n, d)) * np.arange(1, d + 1.0) ** -power
    return np.asarray(z / np.linalg.norm(z, axis=1, keepdims=True))


@pytest.mark.parametrize(("n", "d", "k", "power"), [(400, 60, 12, 1.0), (90, 60, 5, 3.0), (1000, 40, 1, 0.0)])
def test_the_entropy_is_that_of_a_new_spectrum(n: int, d: int, k: int, power: float) -> None:
    z = rows(n, d, 0, power)
    moment = z.T @ z
    updates = Updates(moment)
    x = z[:k]
    factors = [-1.0, -0.5, n / k - 1, 0.3]
    found = updates.entropies(updates.coordinates(x), factors)
    truth = [von_neumann_entropy(moment + c * x.T @ x) for c in factors]
    np.testing.assert_allclose(found, truth, rtol=0, atol=1e-10)
    quick = updates.entropies(updates.coordinates(x), factors, quick=True)
    np.testing.assert_allclose(quick, truth, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("n", "m", "d"), [(300, 10, 130), (10, 300, 130), (150, 6, 200), (180, 30, 130)])
def test_the_null_is_that_of_spectra(n: int, m: int, d: int, monkeypatch: pytest.MonkeyPatch) -> None:
    p, q = rows(n, d, 1), rows(m, d, 2) * 1.01
    p[3:6] = p[0]  # copies
    q[0] = 0
    q[0, -1] = 1  # a row that may stand alone
    quick = RjsdResampler(p, q).null(8, np.random.default_rng(3))
    monkeypatch.setattr("auditor.divergences.updates.WORTH", 1000)
    exact = RjsdResampler(p, q).null(8, np.random.default_rng(3))
    np.testing.assert_allclose(quick, exact, rtol=0, atol=5e-6)


@pytest.mark.parametrize(("n", "m", "paired"), [(300, 170, False), (200, 200, True)])
def test_what_is_left_without_a_group_is_that_of_spectra(
    n: int, m: int, paired: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(5)
    p, q, groups_p = rows(n, 130, 6), rows(m, 130, 7), rng.integers(20, size=n)
    groups_q = groups_p if paired else rng.integers(20, size=m)
    quick = RjsdResampler(p, q, Pairs.all(len(p)) if paired else None).left(groups_p, groups_q)
    monkeypatch.setattr("auditor.divergences.updates.WORTH", 1000)
    exact = RjsdResampler(p, q, Pairs.all(len(p)) if paired else None).left(groups_p, groups_q)
    assert list(quick.without) == list(exact.without)
    np.testing.assert_allclose(list(quick.without.values()), list(exact.without.values()), rtol=0, atol=1e-10)


def test_updates_are_used_where_a_side_has_few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> float:
        raise AssertionError("a spectrum was taken")

    monkeypatch.setattr(Deck, "apart", never)
    RjsdResampler(rows(200, 130, 1), rows(10, 130, 2)).null(2, np.random.default_rng(0))


def test_rows_that_cannot_be_taken_off_are_told() -> None:
    z = rows(50, 10, 4)
    updates = Updates(z.T @ z)
    with pytest.raises(np.linalg.LinAlgError):
        updates.entropies(updates.coordinates(2 * z[:3]), [-1.0])
