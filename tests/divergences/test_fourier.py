"""Random Fourier features against closed forms of the RBF kernel and against the exact Gram."""

from __future__ import annotations

import numpy as np
import pytest

from auditor.divergences import FourierFeatures, fourier_features, mmd, rjsd, rjsd_rbf
from auditor.divergences.spectrum import entropy_of_spectrum
from auditor.sketch import Float, Sketch

LOG2 = np.log(2)


def rows(n: int, d: int, seed: int, mean: float = 0.0) -> Float:
    return np.random.default_rng(seed).normal(size=(n, d)) + mean


def mean_kernel(a: Float, s: Float, b: Float, t: Float, variance: float) -> float:
    """E exp(-‖x-y‖²/2σ²) of x ~ N(a, diag s) and y ~ N(b, diag t)."""
    total = variance + s + t
    return float(np.sqrt(variance / total).prod() * np.exp(-0.5 * ((a - b) ** 2 / total).sum()))


def gaussian_mmd2(a: Float, s: Float, b: Float, t: Float, variance: float) -> float:
    pp, qq, pq = (
        mean_kernel(*pair, variance=variance) for pair in ((a, s, a, s), (b, t, b, t), (a, s, b, t))
    )
    return pp + qq - 2 * pq


def mehler_entropy(s: float, variance: float) -> float:
    """S of the RBF kernel's operator under N(m, s): eigenvalues (1 - q) q^k (Mehler's formula)."""
    a, b = 1 / (4 * s), 1 / (2 * variance)
    q = b / (a + b + np.sqrt(a * a + 2 * a * b))
    return float(-np.log(1 - q) - q / (1 - q) * np.log(q))


def quadrature_rjsd(shift: float, s: float, variance: float) -> float:
    """RJSD of N(0, 1) and N(shift, s) in one dimension, exact to rounding by Gauss-Hermite nodes."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    x = np.concatenate([nodes, shift + np.sqrt(s) * nodes])
    w = np.sqrt(np.concatenate([weights, weights]) / weights.sum())
    gram = np.exp(-np.square(x[:, None] - x[None, :]) / (2 * variance)) * np.outer(w, w)
    s_p, s_q, s_m = (
        entropy_of_spectrum(np.linalg.eigvalsh(g)) for g in (gram[:80, :80], gram[80:, 80:], gram / 2)
    )
    assert s_p == pytest.approx(mehler_entropy(1.0, variance), abs=1e-9)
    assert s_q == pytest.approx(mehler_entropy(s, variance), abs=1e-7)
    return s_m - (s_p + s_q) / 2


class TestFeatures:
    @pytest.mark.parametrize("features", [6, 40])  # fewer frequencies than dimensions, and several groups
    def test_the_kernel_is_right_on_average(self, features: int) -> None:
        z = rows(7, 5, 0)
        exact = np.exp(-np.square(z[:, None] - z[None, :]).sum(axis=2) / (2 * 3.0))
        grams = [
            f @ f.T for f in (FourierFeatures(5, features, seed, 3.0).transform(z) for seed in range(600))
        ]
        error = np.abs(np.mean(grams, axis=0) - exact)
        assert (error < 4.5 * np.std(grams, axis=0) / np.sqrt(600) + 1e-12).all()
        assert np.allclose(np.diagonal(grams, axis1=1, axis2=2), 1)

    def test_orthogonal_frequencies_vary_less_than_free_ones(self) -> None:
        x, y = rows(1, 64, 1)[0] / 8, rows(1, 64, 2)[0] / 8
        free = np.random.default_rng(3).normal(size=(400, 64, 64))
        plain = np.cos(np.einsum("sdm,d->sm", free, x - y)).mean(axis=1).std()
        pair = np.stack([x, y])
        ours = np.std(
            [FourierFeatures(64, 128, s, 1.0).transform(pair).prod(axis=0).sum() for s in range(400)]
        )
        assert ours < 0.7 * plain

    def test_sketches_of_shards_merge(self) -> None:
        z = rows(900, 12, 4).astype(np.float32)
        f = fourier_features(z, features=64, seed=5)
        again = FourierFeatures(12, 64, 5, f.variance)
        merged = again.sketch(z[:300]).merge(again.sketch(z[300:]))
        whole = f.sketch(z)
        assert f == again and merged.n == whole.n == 900
        assert np.allclose(merged.S, whole.S, atol=1e-3) and whole.trace == pytest.approx(900, rel=1e-5)
        assert np.array_equal(f.sketch(z).S, whole.S)
        assert FourierFeatures(12, 64, 6, f.variance).frequencies[0, 0] != f.frequencies[0, 0]

    def test_the_width_is_the_one_of_mmd(self) -> None:
        p, q = rows(30, 3, 6), rows(20, 3, 7, 1.0)
        z = np.concatenate([p, q])
        distances = [float(np.square(a - b).sum()) for i, a in enumerate(z) for b in z[:i]]
        assert fourier_features(p, q).variance == pytest.approx(np.median(distances))
        assert fourier_features(np.ones((4, 3))).variance == 1.0

    def test_wrong_arguments(self) -> None:
        z = rows(5, 3, 8)
        with pytest.raises(ValueError, match="even"):
            fourier_features(z, features=7)
        with pytest.raises(ValueError, match="positive"):
            fourier_features(z, variance=0.0)
        with pytest.raises(ValueError, match="dimension"):
            fourier_features(z, rows(5, 4, 9))
        with pytest.raises(ValueError, match="no rows"):
            fourier_features()
        with pytest.raises(ValueError, match="two rows"):
            fourier_features(z[:1])
        with pytest.raises(ValueError, match="dimension 3, q has 2"):
            fourier_features(z).transform(z[:, :2])


class TestMmd:
    def test_unbiased_for_gaussians_at_any_number_of_features(self) -> None:
        """30 and 20 rows, 8 features: wild, but right on average over rows and seeds."""
        a, s = np.zeros(3), np.ones(3)
        b, t = np.array([0.8, 0, 0]), np.array([1.0, 2.0, 0.5])
        truth = gaussian_mmd2(a, s, b, t, 3.0)
        rng = np.random.default_rng(10)
        values = []
        for seed in range(1500):
            p, q = a + rng.normal(size=(30, 3)), b + np.sqrt(t) * rng.normal(size=(20, 3))
            f = FourierFeatures(3, 8, seed, 3.0)
            values.append(mmd(f.sketch(p), f.sketch(q), "linear"))
        assert np.mean(values) == pytest.approx(truth, abs=4 * np.std(values) / np.sqrt(1500))

    def test_gaussians_from_many_rows(self) -> None:
        a, s, b, t = np.zeros(4), np.ones(4), np.full(4, 0.3), np.full(4, 1.5)
        rng = np.random.default_rng(11)
        p, q = rng.normal(size=(20_000, 4)), b + np.sqrt(t) * rng.normal(size=(15_000, 4))
        f = FourierFeatures(4, 1024, 0, 4.0)
        value = mmd(f.sketch(p.astype(np.float32)), f.sketch(q.astype(np.float32)), "linear")
        assert value == pytest.approx(gaussian_mmd2(a, s, b, t, 4.0), rel=0.1)

    def test_the_error_against_the_exact_kernel_falls_with_the_features(self) -> None:
        p, q = rows(200, 6, 12), rows(150, 6, 13, 0.4)
        exact = mmd(p, q, "rbf")
        rms = []
        for r in (32, 512):
            errors = []
            for seed in range(40):
                f = fourier_features(p, q, features=r, seed=seed)
                errors.append(mmd(f.sketch(p), f.sketch(q), "linear") - exact)
            rms.append(float(np.sqrt(np.mean(np.square(errors)))))
        assert rms[1] < 0.4 * rms[0]  # √(32 / 512) = 0.25
        assert rms[1] < 0.1 * exact


class TestRjsd:
    @pytest.mark.parametrize("distance", [0.3, 1.0, 3.0])
    def test_two_points(self, distance: float) -> None:
        """Pure states at kernel value κ: the mixture's eigenvalues are (1 ± κ)/2."""
        p, q = np.zeros((5, 2)), np.tile([distance, 0.0], (3, 1))
        k = np.exp(-(distance**2) / 2)
        truth = entropy_of_spectrum(np.array([(1 + k) / 2, (1 - k) / 2]))
        assert rjsd_rbf(p, q, 1.0) == pytest.approx(truth, abs=1e-12)
        f = FourierFeatures(2, 16_384 if distance > 2 else 4096, 1, 1.0)
        assert rjsd(f.transform(p), f.transform(q)) == pytest.approx(truth, rel=0.05)

    def test_atoms_far_apart_are_a_discrete_law(self) -> None:
        """Counts 4, 3, 1 against 1, 3, 4 of three atoms whose kernel is 0: exactly the JS divergence."""
        atoms = 100 * np.eye(3)
        p, q = np.repeat(atoms, [4, 3, 1], axis=0), np.repeat(atoms, [1, 3, 4], axis=0)
        a, b = np.array([4, 3, 1]) / 8, np.array([1, 3, 4]) / 8
        truth = entropy_of_spectrum((a + b) / 2) - (entropy_of_spectrum(a) + entropy_of_spectrum(b)) / 2
        assert rjsd_rbf(p, q, 1.0) == pytest.approx(truth, abs=1e-12)
        f = FourierFeatures(3, 4096, 0, 1.0)
        assert rjsd(f.transform(p), f.transform(q)) == pytest.approx(truth, rel=0.05)

    def test_none_and_most(self) -> None:
        p = rows(40, 3, 14)
        assert rjsd_rbf(p, p[::-1], 2.0) == pytest.approx(0, abs=1e-9)
        assert rjsd_rbf(p, p + 100, 2.0) == pytest.approx(LOG2, abs=1e-9)
        f = FourierFeatures(3, 512, 0, 2.0)
        assert rjsd(f.sketch(p), f.sketch(p[::-1])) == pytest.approx(0, abs=1e-9)
        assert rjsd(f.sketch(p), f.sketch(p + 100)) == pytest.approx(LOG2, abs=0.05)

    @pytest.mark.parametrize(("shift", "s"), [(0.0, 2.0), (1.0, 1.0), (2.0, 0.5)])
    def test_gaussians_by_quadrature(self, shift: float, s: float) -> None:
        """Large-sample value of one-dimensional Gaussians; their own entropies are Mehler's closed form."""
        truth = quadrature_rjsd(shift, s, 1.0)
        rng = np.random.default_rng(15)
        p, q = rng.normal(size=(20_000, 1)), shift + np.sqrt(s) * rng.normal(size=(20_000, 1))
        values = []
        for seed in range(3):
            f = FourierFeatures(1, 128, seed, 1.0)
            values.append(rjsd(f.sketch(p), f.sketch(q)))
        assert np.mean(values) == pytest.approx(truth, rel=0.05)
        small = rjsd_rbf(p[:500], q[:500], 1.0)
        assert small == pytest.approx(truth, rel=0.3, abs=0.01)

    def test_features_come_to_the_exact_value(self) -> None:
        p, q = rows(150, 5, 16), rows(120, 5, 17, 0.6)
        variance = fourier_features(p, q).variance
        exact = rjsd_rbf(p, q, variance)
        errors = []
        for r in (64, 2048):
            f = [FourierFeatures(5, r, seed, variance) for seed in range(6)]
            errors.append(abs(np.mean([rjsd(g.transform(p), g.transform(q)) for g in f]) - exact))
        assert errors[1] < 0.5 * errors[0] and errors[1] < 0.03 * exact

    def test_wrong_arguments(self) -> None:
        with pytest.raises(ValueError, match="no rows"):
            rjsd_rbf(np.empty((0, 2)), np.ones((3, 2)), 1.0)
        with pytest.raises(ValueError, match="dimension"):
            rjsd_rbf(np.ones((3, 3)), np.ones((3, 2)), 1.0)
        assert isinstance(FourierFeatures(2, 4, 0, 1.0).sketch(np.empty((0, 2))), Sketch)
