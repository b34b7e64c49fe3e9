"""RJSD splits exactly over rows, so every record, tag or cluster has its share of the drift.

D = ½ E_P[zᵀ(log C_P - log M)z] + ½ E_Q[zᵀ(log C_Q - log M)z], M = (C_P + C_Q)/2, which is Eq. 12 of the paper
written as a mean over rows. Rank slices by their share *in excess of* their share of the rows, or the largest
slice always comes first.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditor.divergences.representation import rows64, same_dimension
from auditor.sketch import Float


def rjsd_shares(p: NDArray[np.floating[Any]], q: NDArray[np.floating[Any]]) -> tuple[Float, Float]:
    """Return the shares (n,), (m,) in nats of the rows of p (n, d) and q (m, d); together they sum to rjsd(p,
    q).

    Logarithms act on the support of C_P, C_Q and M, which holds all rows of the side. A share may be
    negative: a row that makes the two sides more alike. O(N d min(N, d)), N = n + m.
    ValueError where dimensions differ or a side has no rows, or only rows of zeros.
    """
    zp, zq = rows64(p, "p"), rows64(q, "q")
    same_dimension(zp.shape[1], zq.shape[1])
    weighted = [_weighted(z) for z in (zp, zq)]
    own = np.concatenate([_log_forms(a) for a in weighted])
    # Over the stacked rows M is AᵀA/2: the factor ½ enters the logarithm, log M = log AᵀA - log 2.
    stacked = np.concatenate(weighted)
    mixed = _log_forms(stacked) - np.log(2) * np.einsum("ij,ij->i", stacked, stacked)
    shares = 0.5 * (own - mixed)
    return shares[: len(zp)], shares[len(zp) :]


def _weighted(z: Float) -> Float:
    """Rows scaled so that AᵀA is the second moment at trace 1."""
    total = float(np.einsum("ij,ij->", z, z))
    if not total > 0:
        raise ValueError("no rows, or only rows of zeros: there is nothing to share")
    return z / np.sqrt(total)


def _log_forms(a: Float) -> Float:
    """(n,) aᵢᵀ log(AᵀA) aᵢ of the rows of A (n, d), from the smaller of AᵀA and AAᵀ.

    With AAᵀ = U Λ Uᵀ the form of row i is Σ_k u_ik² λ_k log λ_k: eigenvectors of AᵀA are not needed.
    """
    n, d = a.shape
    if n < d:
        values, vectors = np.linalg.eigh(a @ a.T)
        return np.square(vectors) @ _x_log_x(values)
    values, vectors = np.linalg.eigh(a.T @ a)
    logs = np.zeros(d)
    support = values > np.finfo(np.float64).eps * values[-1]
    logs[support] = np.log(values[support])
    return np.square(a @ vectors) @ logs


def _x_log_x(values: Float) -> Float:
    out = np.zeros(len(values))
    positive = values > 0
    out[positive] = values[positive] * np.log(values[positive])
    return out
