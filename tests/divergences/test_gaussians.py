"""RJSD and MMD of Gaussians, where the kernel's expectation is a closed form: linear and quadratic kernel.

The second moment of N(a, A) is C = A + aaᵀ. So the large-sample MMD² is ‖a - b‖² with the linear and
‖C_P - C_Q‖² with the quadratic kernel, and RJSD is a function of C_P and C_Q. (RBF: `test_fourier.py`.)
"""

from __future__ import annotations

import numpy as np
import pytest

from auditor.divergences import mmd, rjsd, von_neumann_entropy
from auditor.significance import drift_test
from auditor.sketch import Float, Sketch

D = 6
A, B = np.diag(1 / np.arange(1.0, D + 1)), np.diag(np.linspace(0.2, 1.2, D))
MEAN_P, MEAN_Q = np.zeros(D), np.linspace(0.5, 0, D)
C_P, C_Q = A + np.outer(MEAN_P, MEAN_P), B + np.outer(MEAN_Q, MEAN_Q)
MMD2 = {"linear": float(np.square(MEAN_P - MEAN_Q).sum()), "quadratic": float(np.square(C_P - C_Q).sum())}


def draw(rng: np.random.Generator, n: int, q: bool = False) -> Float:
    mean, covariance = (MEAN_Q, B) if q else (MEAN_P, A)
    return mean + rng.normal(size=(n, D)) * np.sqrt(np.diag(covariance))


def truth() -> float:
    a, b = C_P / np.trace(C_P), C_Q / np.trace(C_Q)
    return von_neumann_entropy((a + b) / 2) - (von_neumann_entropy(a) + von_neumann_entropy(b)) / 2


@pytest.mark.parametrize("kernel", ["linear", "quadratic"])
@pytest.mark.parametrize(("n", "m", "repetitions"), [(2, 3, 8000), (30, 10, 2000), (1000, 300, 100)])
def test_mmd_is_unbiased_at_any_size(kernel: str, n: int, m: int, repetitions: int) -> None:
    rng = np.random.default_rng(n)
    values = [mmd(draw(rng, n), draw(rng, m, True), kernel) for _ in range(repetitions)]
    assert np.mean(values) == pytest.approx(MMD2[kernel], abs=4 * np.std(values) / np.sqrt(repetitions))


def test_rjsd_comes_to_the_closed_form() -> None:
    rng = np.random.default_rng(0)
    p, q = Sketch.from_rows(draw(rng, 200_000)), Sketch.from_rows(draw(rng, 200_000, True))
    assert rjsd(p, q) == pytest.approx(truth(), rel=0.02)


def test_corrected_takes_the_bias_off() -> None:
    """Over 40 repetitions the raw value is high by some standard errors, the corrected one is not."""
    rng = np.random.default_rng(1)
    tests = [
        drift_test(draw(rng, 150), draw(rng, 150, True), permutations=1, null_draws=2) for _ in range(40)
    ]
    raw, corrected = (
        np.array([getattr(t, name) for t in tests], float) - truth() for name in ("value", "corrected")
    )
    z_raw, z_corrected = (x.mean() / (x.std(ddof=1) / np.sqrt(len(x))) for x in (raw, corrected))
    assert z_raw > 3 > abs(z_corrected)
