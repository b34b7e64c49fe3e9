"""Known mutual information against integrals and against what the log-ratio itself must satisfy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from auditor.testing.known_pairs import (
    Family,
    gaussian,
    half_cube,
    spiral,
    student,
    student_entropy,
    swiss_roll,
)

FAMILIES = [
    gaussian(3, 1.0),
    half_cube(2, 1.5),
    half_cube(2, 1.5, None),
    spiral(3, 2.0),
    swiss_roll(1.0),
    student(2, 2),
    student(3, 2, 1.0, 4),
]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f"{f.name} {f.information:.2f}")
def test_the_mean_log_ratio_is_the_information_and_its_exponential_has_mean_1(family: Family) -> None:
    """E log r = I, and e^r of rows that do not belong together has mean 1: r is a ratio of densities."""
    true, false = [], []
    for seed in range(40):
        scores = family.scores(family.draw(400, seed))
        true.append(scores.diagonal().mean())
        false.append(np.exp(scores[~np.eye(400, dtype=bool)]).mean())
    assert abs(np.mean(true) - family.information) < 4 * np.std(true) / np.sqrt(40)
    assert abs(np.mean(false) - 1) < 4 * np.std(false) / np.sqrt(40)


@pytest.mark.parametrize("p", [1, 2])
def test_the_entropy_of_a_student_law(p: int) -> None:
    law = stats.multivariate_t(np.zeros(p), np.eye(p), df=3, seed=0)
    draws = law.rvs(200_000).reshape(-1, p)
    assert student_entropy(p, 3) == pytest.approx(-law.logpdf(draws).mean(), abs=0.01)


def test_the_information_of_a_student_law_is_its_integral() -> None:
    """Two dimensions, dof 2, correlation 0.6: the mean of r log r over a grid of both sides' quantiles."""
    rho, dof = 0.6, 2
    family = student(1, dof, -0.5 * np.log(1 - rho**2))
    side = stats.t(dof)
    x = side.ppf((np.arange(2000) + 0.5) / 2000)
    joint = stats.multivariate_t([0, 0], [[1, rho], [rho, 1]], df=dof)
    grid = np.stack(np.meshgrid(x, x, indexing="ij"), axis=-1)
    log_ratio = joint.logpdf(grid) - side.logpdf(x)[:, None] - side.logpdf(x)[None, :]
    assert family.information == pytest.approx((np.exp(log_ratio) * log_ratio).mean(), abs=0.01)
    np.testing.assert_allclose(family.log_ratio(x[:, None], x[:, None]), log_ratio, atol=1e-9)


def test_maps_can_be_undone() -> None:
    """The turn of the spiral keeps lengths; the roll's angle gives back the rank."""
    rows = spiral(3, 1.0).draw(100, 0)
    np.testing.assert_allclose(np.linalg.norm(rows.x, axis=1), np.linalg.norm(rows.latent_x, axis=1))
    rows = swiss_roll(1.0).draw(100, 0)
    rank = (np.linalg.norm(rows.x, axis=1) * 21 / (1.5 * np.pi) - 1) / 2
    np.testing.assert_allclose(rank, stats.norm.cdf(rows.latent_x[:, 0]), atol=1e-9)
