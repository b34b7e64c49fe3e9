"""The unbiased maximum mean discrepancy is 0 on average without a shift at any n, and may be negative."""

from __future__ import annotations

from typing import Literal

import numpy as np

from auditor.divergences.representation import Rows, rows64, same_dimension
from auditor.sketch import Float, Sketch

Kernel = Literal["quadratic", "linear", "rbf"]
_CHUNK = 2048
_BANDWIDTH_ROWS = 1000


def mmd(p: Rows, q: Rows, kernel: Kernel = "quadratic") -> float:
    """Return the unbiased MMD² (no unit) between p (n, d) and q (m, d): the U-statistic without the pairs i =
    j.

    `quadratic` ⟨z,z'⟩² and `linear` ⟨z,z'⟩ are functions of sketches, O(n d²); `rbf` exp(-‖z-z'‖²/2σ²), σ²
    the median squared distance of the pooled rows, needs arrays, O((n+m)² d) in chunks.
    ValueError where a side has fewer than two rows, dimensions differ, or the kernel has no such form.
    """
    if kernel == "rbf":
        if isinstance(p, Sketch) or isinstance(q, Sketch):
            raise ValueError("the rbf kernel is no function of sums: pass arrays, not sketches")
        return _mmd_rbf(rows64(p, "p"), rows64(q, "q"))
    if kernel not in ("quadratic", "linear"):
        raise ValueError(f"unknown kernel {kernel!r}: quadratic, linear or rbf")
    a = p if isinstance(p, Sketch) else Sketch.from_rows(rows64(p, "p"))
    b = q if isinstance(q, Sketch) else Sketch.from_rows(rows64(q, "q"))
    same_dimension(a.dim, b.dim)
    if kernel == "linear":
        sums = (float(a.s @ a.s), float(b.s @ b.s), float(a.s @ b.s))
        return unbiased(*sums, a.trace, b.trace, a.n, b.n)
    sums = (float(np.vdot(a.S, a.S)), float(np.vdot(b.S, b.S)), float(np.vdot(a.S, b.S)))
    return unbiased(*sums, a.norm4, b.norm4, a.n, b.n)


def unbiased(pp: float, qq: float, pq: float, diag_p: float, diag_q: float, n: int, m: int) -> float:
    """Return MMD² from the sums of the kernel over P x P, Q x Q, P x Q and over the two diagonals."""
    if n < 2 or m < 2:
        raise ValueError(f"an unbiased MMD needs two rows a side, not {n} and {m}")
    return (pp - diag_p) / (n * (n - 1)) + (qq - diag_q) / (m * (m - 1)) - 2 * pq / (n * m)


def _mmd_rbf(p: Float, q: Float) -> float:
    same_dimension(p.shape[1], q.shape[1])
    variance = median_squared_distance(np.concatenate([p, q]))
    if variance == 0:  # at least half of all pairs coincide: any width is as good
        variance = 1.0
    n, m = len(p), len(q)
    sums = (_rbf_sum(p, p, variance), _rbf_sum(q, q, variance), _rbf_sum(p, q, variance))
    return unbiased(*sums, float(n), float(m), n, m)


def squared_distances(a: Float, b: Float) -> Float:
    norms = np.einsum("ij,ij->i", a, a)[:, None] + np.einsum("ij,ij->i", b, b)[None, :]
    return np.maximum(norms - 2 * (a @ b.T), 0)


def median_squared_distance(z: Float) -> float:
    """Return the median squared distance between every (N / 1,000)-th row of z (N, d): the width of a kernel
    needs no more rows, and the same rows give the same width."""
    sample = z[:: -(-len(z) // _BANDWIDTH_ROWS)]
    return float(np.median(squared_distances(sample, sample)[np.triu_indices(len(sample), 1)]))


def _rbf_sum(a: Float, b: Float, variance: float) -> float:
    total = 0.0
    for start in range(0, len(a), _CHUNK):
        total += float(np.exp(-squared_distances(a[start : start + _CHUNK], b) / (2 * variance)).sum())
    return total
