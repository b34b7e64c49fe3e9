"""Entropies of second moments are updated, without a new spectrum, after a few rows were taken off or given
more weight.

Let T be a (d, d) second moment of trace 1, with eigenvalues λ, and B = T + c XᵀX of k rows X. With
x log x = x ∫ [1/(1+t) - 1/(x+t)] dt over t > 0, and after integration by parts,

    tr B log B - tr T log T = Δ (1 + log b) + ∫ [Δ/(b+t) - log det(I + c X (T+t)⁻¹ Xᵀ)] dt,   Δ = tr B - tr T,

for any b > 0; the one that is taken lets the integrand fall with t⁻³. In s = log t it is analytic up to
|Im s| = π, so the trapezoidal rule of step h is off by exp(-2π²/h): 51 nodes give the entropy to 1e-11 or so.
O(k d²) once for X, then O(k² d + k³) a node, all of it matrix products; a spectrum is O(d³), and half of it
waits for memory.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from auditor.divergences.spectrum import positive_trace
from auditor.sketch import Float

_STEP, _QUICK_STEP = 0.75, 1.25
_LOW, _HIGH = 1e-12, 3e4
"""Ends of the nodes: below, the integrand hardly changes any more; above, it falls with t⁻³."""
LEAST_DIM = 128
"""Dimensions below which a spectrum takes only a millisecond."""
WORTH = 3
"""Dimensions a row of X from which this is at least as fast as spectra (and far faster on a machine whose
memory others use: of 1,280 dimensions and 100 rows 0.03 s for two entropies instead of 4 to 5)."""


def worth(k: int, d: int) -> bool:
    """Return whether updates by k rows are to be preferred to spectra of (d, d) matrices."""
    return d >= LEAST_DIM and d >= WORTH * k


class Updates:
    """`Updates` gives entropies of T + c XᵀX for many X and one T (d, d), positive semidefinite. O(d³), with
    eigenvectors."""

    def __init__(self, moment: Float) -> None:
        self._trace = positive_trace(moment)
        values, self.vectors = np.linalg.eigh(moment / self._trace)
        """(d, d) the eigenvectors of the moment, by columns"""
        self._values = np.maximum(values, 0.0)
        positive = self._values[self._values > 0]
        self._own = float((positive * np.log(positive)).sum())

    @property
    def moments(self) -> Float:
        """Return (d,) the eigenvalues of the moment, of its own trace."""
        return self._values * self._trace

    def coordinates(self, rows: Float) -> Float:
        """Return (k, d) rows X as `entropies` takes them. O(k d²)."""
        return np.asarray(rows @ self.vectors) / np.sqrt(self._trace)

    def entropies(self, x: Float, factors: Sequence[float], quick: bool = False) -> list[float]:
        """Return S (nats) of T + c XᵀX, at trace 1, for each c, which is at least -1 (then X are rows of T);
        `x` as `coordinates` gives them. LinAlgError where rounding leaves T - XᵀX an eigenvalue below zero.

        `quick`: to some 1e-6 instead of 1e-9, in a third of the time (fewer nodes, single precision): for a
        null, which varies by far more from draw to draw.
        """
        step, precision = (_QUICK_STEP, np.float32) if quick else (_STEP, np.float64)
        nodes = np.exp(np.arange(np.log(_LOW), np.log(_HIGH), step))
        weights = step * nodes
        # The nodes that were cut off, as geometric series.
        weights[0] /= 1 - np.exp(-step)
        weights[-1] /= 1 - np.exp(-2 * step)
        products, with_moment = x @ x.T, (x * self._values) @ x.T
        grams = np.empty((len(nodes), len(x), len(x)))
        rows = x.astype(precision, copy=False)
        for gram, t in zip(grams, nodes, strict=True):
            scaled = rows * (1 / np.sqrt(self._values + t)).astype(precision)
            gram[...] = scaled @ scaled.T
        identity = np.eye(len(x))
        entropies = []
        for c in factors:
            change = c * float(np.trace(products))
            # (tr B² - tr T²) / 2Δ
            b = c * float(np.trace(with_moment) + c * np.square(products).sum() / 2) / change
            factor = np.linalg.cholesky(identity + c * grams)
            determinants = 2 * np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(axis=1)
            integral = float(weights @ (change / (b + nodes) - determinants))
            total = self._own + change * (1 + np.log(b)) + integral
            trace = 1 + change
            entropies.append(float(np.log(trace) - total / trace))
        return entropies
