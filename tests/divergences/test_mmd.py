"""Unbiased MMD² against the U-statistic written out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from auditor.divergences import mmd
from auditor.sketch import Sketch


def u_statistic(p: np.ndarray, q: np.ndarray, kernel: Callable[[np.ndarray, np.ndarray], float]) -> float:
    n, m = len(p), len(q)
    pp = sum(kernel(p[i], p[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    qq = sum(kernel(q[i], q[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return pp + qq - 2 * sum(kernel(a, b) for a in p for b in q) / (n * m)


@pytest.fixture
def samples() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(13, 4)), rng.normal(size=(9, 4)) + 0.5


def test_quadratic_and_linear(samples: tuple[np.ndarray, np.ndarray]) -> None:
    p, q = samples
    for z in ((p, q), (Sketch.from_rows(p), Sketch.from_rows(q)), (p, Sketch.from_rows(q))):
        assert mmd(*z) == pytest.approx(u_statistic(p, q, lambda a, b: float(a @ b) ** 2), abs=1e-12)
        assert mmd(*z, kernel="linear") == pytest.approx(
            u_statistic(p, q, lambda a, b: float(a @ b)), abs=1e-12
        )


def test_rbf(samples: tuple[np.ndarray, np.ndarray]) -> None:
    p, q = samples
    z = np.concatenate([p, q])
    distances = [float(np.square(a - b).sum()) for i, a in enumerate(z) for b in z[:i]]
    width = float(np.median(distances))
    expected = u_statistic(p, q, lambda a, b: float(np.exp(-np.square(a - b).sum() / (2 * width))))
    assert mmd(p, q, kernel="rbf") == pytest.approx(expected, abs=1e-12)
    with pytest.raises(ValueError, match="arrays"):
        mmd(Sketch.from_rows(p), q, kernel="rbf")


def test_it_is_0_on_average_without_a_shift() -> None:
    rng = np.random.default_rng(1)
    for kernel in ("quadratic", "linear", "rbf"):
        values = [mmd(rng.normal(size=(8, 3)), rng.normal(size=(5, 3)), kernel) for _ in range(600)]
        assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(600)


def test_wrong_arguments(samples: tuple[np.ndarray, np.ndarray]) -> None:
    p, q = samples
    with pytest.raises(ValueError, match="two rows"):
        mmd(p[:1], q)
    with pytest.raises(ValueError, match="dimension 4, q has 3"):
        mmd(p, q[:, :3])
    with pytest.raises(ValueError, match="unknown kernel"):
        mmd(p, q, kernel="cubic")  # type: ignore[arg-type]
