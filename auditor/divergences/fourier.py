"""Random Fourier features give RJSD and MMD with the RBF kernel from sums (Rahimi & Recht 2007).

The kernel exp(-‖z-z'‖²/2σ²) is no function of sums of z. It is, on average over random frequencies, the inner
product of r features cos(ωz), sin(ωz); the second moment of those is an ordinary `Sketch`: it merges over
shards, nodes and windows, and whoever has the same four numbers (dimension, features, seed, σ²) makes the
same features.

MMD²: features give the linear kernel, so the unbiased MMD² of two sketches is unbiased for the RBF kernel's
at *any* r (over seeds and rows); r only sets its variance (1,000 / 500 rows, MMD² 0.025: off by 0.0003 at
r = 1024).

RJSD of features is *low*: r features hold at most r directions, and the RBF kernel spreads rows over many:
exact 0.043, features 0.029 / 0.035 / 0.040 / 0.041 at r = 64 / 256 / 1024 / 2048 (d = 16); at d = 256, where
the raw value is mostly small-sample bias, exact 0.128, features 0.034 / 0.058 / 0.096 at the first three. So
RJSD of features compares only at one r, and by its excess. Figures: `benchmarks/bench_divergences.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditor.divergences.mean_discrepancy import median_squared_distance, squared_distances
from auditor.divergences.representation import rows64, same_dimension
from auditor.divergences.spectrum import entropy_of_spectrum
from auditor.sketch import CHUNK_ROWS, Float, Floats, Sketch, as_rows

FEATURES = 1024

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class FourierFeatures:
    """`FourierFeatures` map rows (n, dim) to features (n, features). These four numbers determine the map."""

    dim: int
    """d"""
    features: int
    """r, even: one cosine and one sine for each of r/2 frequencies"""
    seed: int
    variance: float
    """σ² of the kernel exp(-‖z-z'‖²/2σ²)"""

    def __post_init__(self) -> None:
        if self.dim < 1 or self.features < 2 or self.features % 2:
            raise ValueError(f"features must be even and positive, not {self.features} (dim {self.dim})")
        if not (np.isfinite(self.variance) and self.variance > 0):
            raise ValueError(f"variance must be positive, not {self.variance}")

    @cached_property
    def frequencies(self) -> Float:
        """Return (d, r/2) columns ω, each N(0, I/σ²), orthogonal in groups of d (Yu et al. 2016). O(r d²)
        once.

        Each alone is exactly Gaussian, so the kernel is right on average; together they cover directions
        evenly, which lowers the variance.
        """
        rng = np.random.default_rng(self.seed)
        d, wanted = self.dim, self.features // 2
        groups = []
        for _ in range(-(-wanted // d)):
            q, r = np.linalg.qr(rng.standard_normal((d, d)))
            uniform = q * np.sign(np.diag(r))  # without the signs QR does not draw evenly
            groups.append(uniform * np.sqrt(rng.chisquare(d, size=d)))
        return np.concatenate(groups, axis=1)[:, :wanted] / np.sqrt(self.variance)

    def transform(self, rows: Array) -> Floats:
        """Return (n, r) features of unit length of (n, d) rows, in the rows' own precision. O(n d r)."""
        z = as_rows(rows)
        same_dimension(self.dim, z.shape[1])
        phase = z @ self.frequencies.astype(z.dtype)
        scale = z.dtype.type(np.sqrt(2 / self.features))
        return np.concatenate([np.cos(phase), np.sin(phase)], axis=1) * scale

    def sketch(self, rows: Array) -> Sketch:
        """Return the sketch of the features, for `rjsd` and `mmd(..., "linear")`. O(n r (d + r)), memory
        O(r²)."""
        z = as_rows(rows)
        total = Sketch.empty(self.features)
        for start in range(0, len(z), CHUNK_ROWS):
            total = total.merge(Sketch.from_rows(self.transform(z[start : start + CHUNK_ROWS])))
        return total


def fourier_features(
    *rows: Array, features: int = FEATURES, seed: int = 0, variance: float | None = None
) -> FourierFeatures:
    """Return the features for arrays (n, d), (m, d), ...; σ² as given, else the median squared distance of
    pooled rows.

    The same width as `mmd(p, q, "rbf")`. Sketches compare only where all four numbers are the same: take σ²
    from the baseline and keep it. ValueError where dimensions differ or there are fewer than two rows.
    """
    if not rows:
        raise ValueError("no rows: pass at least one array")
    checked = [rows64(z, f"rows {i}") for i, z in enumerate(rows)]
    for z in checked[1:]:
        same_dimension(checked[0].shape[1], z.shape[1])
    if variance is None:
        pooled = np.concatenate(checked)
        if len(pooled) < 2:
            raise ValueError(f"the median distance needs two rows, not {len(pooled)}")
        variance = median_squared_distance(pooled) or 1.0  # half of all pairs coincide: any width is as good
    return FourierFeatures(checked[0].shape[1], features, seed, float(variance))


def rjsd_rbf(p: Array, q: Array, variance: float) -> float:
    """Return RJSD (Eq. 12, nats) with the kernel exp(-‖z-z'‖²/2σ²), exact: p (n, d), q (m, d), σ² = variance.

    From the pooled Gram, O((n+m)² d + (n+m)³) and 8(n+m)² bytes, twice: for some thousand rows, and to tell
    how far the features are off.
    """
    a, b = rows64(p, "p"), rows64(q, "q")
    same_dimension(a.shape[1], b.shape[1])
    n, m = len(a), len(b)
    if min(n, m) == 0:
        raise ValueError("a side has no rows")
    z = np.concatenate([a, b])
    gram = np.exp(-squared_distances(z, z) / (2 * variance))
    np.fill_diagonal(gram, 1.0)
    weight = np.sqrt(np.concatenate([np.full(n, 1 / n), np.full(m, 1 / m)]))
    scaled = gram * weight[:, None] * weight[None, :]
    s_p, s_q, s_m = (
        entropy_of_spectrum(np.linalg.eigvalsh(part)) for part in (scaled[:n, :n], scaled[n:, n:], scaled / 2)
    )
    return max(0.0, s_m - 0.5 * (s_p + s_q))
