"""The representation Jensen-Shannon divergence (RJSD) is Eq. 12 of the paper."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditor.divergences.spectrum import OVERFLOW, entropy_of_rows, positive_trace, von_neumann_entropy
from auditor.sketch import Float, Sketch, as_rows

Rows = NDArray[np.floating[Any]] | Sketch


def rjsd(p: Rows, q: Rows, *, entropy_p: float | None = None) -> float:
    """Return S((C_P + C_Q)/2) - ½(S(C_P) + S(C_Q)) in nats, in [0, log 2]; C the uncentred second moment at
    trace 1.

    p (n, d) and q (m, d) arrays or sketches. Arrays with n + m < d take the Gram route, O((n+m)² d); all else
    the second moments, O(d³) after the sketch: same value to 1e-9. `entropy_p` is S(C_P) where it is known
    (one baseline against many scenarios). ValueError where dimensions differ, a side has no rows, or
    squares of rows overflow.

    The raw value is badly biased in small samples and never compares across sizes: see
    `auditor.significance.drift_test` for the excess over the null.
    """
    if not isinstance(p, Sketch) and not isinstance(q, Sketch):
        zp, zq = rows64(p, "p"), rows64(q, "q")
        same_dimension(zp.shape[1], zq.shape[1])
        if len(zp) + len(zq) < zp.shape[1]:
            weighted = np.concatenate([zp / np.sqrt(_norm2(zp)), zq / np.sqrt(_norm2(zq))])
            s_m, s_q = entropy_of_rows(weighted), entropy_of_rows(zq)
            s_p = entropy_of_rows(zp) if entropy_p is None else entropy_p
            return max(0.0, s_m - 0.5 * (s_p + s_q))
    c_p, c_q = trace_one(p, "p"), trace_one(q, "q")
    same_dimension(len(c_p), len(c_q))
    s_p = von_neumann_entropy(c_p) if entropy_p is None else entropy_p
    return max(0.0, von_neumann_entropy(c_p + c_q) - 0.5 * (s_p + von_neumann_entropy(c_q)))


def trace_one(z: Rows, name: str = "rows") -> Float:
    """Return (d, d) float64 second moment at trace 1, of an array or a sketch."""
    if isinstance(z, Sketch):
        S = z.S
    else:
        rows = rows64(z, name)
        S = rows.T @ rows
    return S / positive_trace(S)


def rows64(z: NDArray[np.floating[Any]], name: str) -> Float:
    """Return checked rows in float64: entropies of small eigenvalues need it."""
    return as_rows(z, name).astype(np.float64, copy=False)


def same_dimension(d_p: int, d_q: int) -> None:
    """Raise ValueError unless both sides have one dimension."""
    if d_p != d_q:
        raise ValueError(f"p has dimension {d_p}, q has {d_q}")


def _norm2(z: Float) -> float:
    total = float(np.einsum("ij,ij->", z, z))
    if not np.isfinite(total):
        raise ValueError(OVERFLOW)
    if not total > 0:
        raise ValueError("no rows, or only rows of zeros: a second moment of trace 0 cannot be normalised")
    return total
