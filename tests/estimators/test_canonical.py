"""The Gaussian log-ratio against the true one, and Ledoit and Wolf's covariance against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.covariance import LedoitWolf

from auditor.estimators.canonical import FORMS, Coordinates, GaussianRatio, shrunk_covariance
from auditor.testing.known_pairs import correlation, gaussian, half_cube, student


@pytest.mark.parametrize(("n", "d"), [(30, 50), (400, 8)])
def test_the_covariance_is_that_of_ledoit_and_wolf(n: int, d: int) -> None:
    z = np.random.default_rng(0).normal(size=(n, d)) * np.arange(1, d + 1) ** -0.5
    z -= z.mean(axis=0)
    fourth = float(np.square(np.square(z).sum(axis=1)).mean())
    ours = shrunk_covariance(z.T @ z / n, fourth, n)
    np.testing.assert_allclose(
        ours, LedoitWolf(assume_centered=True).fit(z).covariance_, rtol=1e-9, atol=1e-12
    )


def test_with_many_rows_it_is_the_true_log_ratio_of_gaussians() -> None:
    family = gaussian(3, 1.0, axes=5)
    rows, fresh = family.draw(20_000, 0), family.draw(300, 1)
    ratio = GaussianRatio.fit(rows.x, rows.y, np.arange(20_000), 0)
    seen = ratio.see(fresh.x, fresh.y)
    np.testing.assert_allclose(ratio.correlations, correlation(3, 1.0), atol=0.02)
    assert np.abs(seen.f @ seen.g.T - family.scores(fresh)).mean() < 0.05


def test_what_does_not_depend_has_no_direction_in_any_number_of_dimensions() -> None:
    """Fewer rows than dimensions: plain canonical correlations are all 1."""
    for seed in range(5):
        x, y = np.random.default_rng(seed).normal(size=(2, 60, 90))
        ratio = GaussianRatio.fit(x, y, np.arange(60), seed)
        assert -0.5 * np.log1p(-np.square(ratio.correlations)).sum() < 0.6
        fresh = np.random.default_rng(100 + seed).normal(size=(2, 400, 90))
        seen = ratio.see(*fresh)
        assert abs(np.einsum("ij,ij->i", seen.f, seen.g).mean()) < 0.6


def test_the_form_follows_the_tails() -> None:
    def form(family: object) -> str:
        rows = family.draw(4000, 3)  # type: ignore[attr-defined]
        ratio = GaussianRatio.fit(rows.x, rows.y, np.arange(4000), 0)
        return FORMS[int(ratio.coordinates_x.form[0])]

    assert form(half_cube(4, 2.0, None)) == "ranks"
    assert form(student(4, 1, 1.0)) == "directions"


@pytest.mark.parametrize("form", FORMS)
def test_coordinates_of_strange_columns(form: str) -> None:
    """A constant, a coin, and a Cauchy column: finite, and scaled where they can be."""
    rng = np.random.default_rng(4)
    z = np.stack([np.full(500, 3.0), rng.integers(2, size=500), rng.standard_cauchy(500)], axis=1)
    mapped = Coordinates.fit(z, form)(z)  # type: ignore[arg-type]
    assert mapped.shape == (500, 4) and np.isfinite(mapped).all()
    np.testing.assert_allclose(mapped.mean(axis=0), 0, atol=1e-9)
    assert np.isfinite(Coordinates.fit(z, form)(1e30 * np.ones((2, 3)))).all()  # type: ignore[arg-type]


def test_arrays_there_and_back() -> None:
    rows = gaussian(3, 1.0).draw(300, 6)
    ratio = GaussianRatio.fit(rows.x, rows.y[:, :2], np.arange(300), 0)
    back = GaussianRatio.from_arrays(ratio.to_arrays())
    for a, b in zip(ratio.see(rows.x, rows.y[:, :2]), back.see(rows.x, rows.y[:, :2]), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="do not fit"):
        GaussianRatio.from_arrays(ratio.to_arrays() | {"to_v": ratio.to_v[:-1]})
