"""The joint divergence D_X of (image, text) pairs has the product kernel ⟨v,v'⟩⟨t,t'⟩, i.e. rows v⊗t.

v⊗t has d_v·d_t coordinates and is never built. Up to some thousand rows the Hadamard product of the two Grams
is the exact Gram, and its factor gives exact coordinates in N dimensions; beyond, a seeded tensor sketch
(Pham & Pagh 2013) gives r coordinates whose inner products are right on average.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from auditor.divergences.representation import rjsd, rows64
from auditor.divergences.spectrum import entropy_of_spectrum
from auditor.sketch import Float

EXACT_ROWS = 3000
"""Up to here n_P + n_Q rows are done exactly: O(N² d + N³), 3,000 rows take 1 to 3 s."""

Array = NDArray[np.floating[Any]]


class JointDivergence(NamedTuple):
    """A `JointDivergence` is D_X (nats) and, where it was sketched, the sketch's error on rows that were done
    both ways."""

    value: float
    exact: bool
    error: float
    """|sketched - exact| on the first EXACT_ROWS rows (shared between P and Q); 0 where exact."""


def rjsd_joint(
    v_p: Array,
    t_p: Array,
    v_q: Array,
    t_q: Array,
    *,
    seed: int = 0,
    entropy_p: float | None = None,
) -> float:
    """Return D_X in nats, RJSD (Eq. 12) of rows v⊗t: v_p (n, d_v), t_p (n, d_t), v_q (m, d_v), t_q (m, d_t).

    Exact up to EXACT_ROWS rows in all, sketched beyond (`joint_divergence` tells the error). `entropy_p` is
    `joint_entropy` of P where it is known (one baseline against many windows); the sketch has no use for it.
    """
    if len(v_p) + len(v_q) <= EXACT_ROWS:
        return _exact(v_p, t_p, v_q, t_q, entropy_p)
    return rjsd(*_sketched(v_p, t_p, v_q, t_q, seed))


def joint_entropy(v: Array, t: Array) -> float:
    """Return the entropy (nats) of the trace-1 second moment of rows v⊗t, v (n, d_v), t (n, d_t), exactly:
    O(n² d + n³).

    ValueError where there are no rows, or only rows whose product is zero.
    """
    gram = _product_gram(v, t)
    scaled = gram / _weight(gram)
    return entropy_of_spectrum(np.asarray(np.linalg.eigvalsh(scaled)))


def joint_divergence(
    v_p: Array, t_p: Array, v_q: Array, t_q: Array, *, seed: int = 0, exact_rows: int = EXACT_ROWS
) -> JointDivergence:
    """Return `rjsd_joint` with its error. `exact_rows` bounds the Gram; 8·exact_rows² bytes of memory,
    twice."""
    n, m = len(v_p), len(v_q)
    if n + m <= exact_rows:
        return JointDivergence(_exact(v_p, t_p, v_q, t_q), True, 0.0)
    f_p, f_q = _sketched(v_p, t_p, v_q, t_q, seed)
    a = min(n, max(exact_rows // 2, exact_rows - m))
    b = min(m, exact_rows - a)
    error = abs(rjsd(f_p[:a], f_q[:b]) - _exact(v_p[:a], t_p[:a], v_q[:b], t_q[:b]))
    return JointDivergence(rjsd(f_p, f_q), False, error)


def joint_rows(v_p: Array, t_p: Array, v_q: Array, t_q: Array, *, seed: int = 0) -> tuple[Float, Float]:
    """Return the coordinates of the rows v⊗t for whatever takes rows (`drift_test`, `rjsd_shares`): (n, r),
    (m, r).

    Exact, with r = n + m, up to EXACT_ROWS / 2 rows where that is no more than max(d_v, d_t); else the tensor
    sketch with r = max(d_v, d_t).
    """
    n, total = len(v_p), len(v_p) + len(v_q)
    if sketched(v_p, t_p, total):
        return _sketched(v_p, t_p, v_q, t_q, seed)
    gram = _pooled_gram(v_p, t_p, v_q, t_q)
    values, vectors = np.linalg.eigh(gram)
    rows = vectors * np.sqrt(np.maximum(values, 0))
    return rows[:n], rows[n:]


def joint_features(v: Array, t: Array, seed: int) -> Float:
    """Return (n, r) coordinates as `joint_rows` gives them where it sketches, r = max(d_v, d_t)."""
    return tensor_sketch(v, t, max(v.shape[1], t.shape[1]), seed)


def sketched(v: Array, t: Array, rows: int) -> bool:
    """Return whether `joint_rows` sketches so many rows in all, of the dimensions of v and t."""
    return rows > min(max(v.shape[1], t.shape[1]), EXACT_ROWS // 2)


def tensor_sketch(v: Array, t: Array, r: int, seed: int) -> Float:
    """Return (n, r) features f with E⟨f,f'⟩ = ⟨v,v'⟩⟨t,t'⟩ over seeds. O(n (d_v + d_t + r log r)).

    The circular convolution of two count sketches is a count sketch of v⊗t.
    """
    _same_length(v, t)
    spectra = []
    for name, z, counts in zip("vt", (v, t), _count_sketches(v.shape[1], t.shape[1], r, seed), strict=True):
        counted = np.asarray((counts @ rows64(z, name).T).T)
        spectra.append(np.fft.rfft(counted, axis=1))
    return np.asarray(np.fft.irfft(spectra[0] * spectra[1], n=r, axis=1))


@lru_cache(maxsize=8)
def _count_sketches(d_v: int, d_t: int, r: int, seed: int) -> tuple[csr_matrix, csr_matrix]:
    """Return the count sketches (r, d_v) and (r, d_t) of a seed, kept for the next rows."""
    rng = np.random.default_rng(seed)
    found = []
    for d in (d_v, d_t):
        cells = (rng.choice([-1.0, 1.0], d), (np.arange(d), rng.integers(r, size=d)))
        found.append(csr_matrix(cells, shape=(d, r)).T)
    return found[0], found[1]


def _sketched(v_p: Array, t_p: Array, v_q: Array, t_q: Array, seed: int) -> tuple[Float, Float]:
    return joint_features(v_p, t_p, seed), joint_features(v_q, t_q, seed)


def _product_gram(v: Array, t: Array) -> Float:
    """(n, n) Hadamard product of the Grams of v and t."""
    _same_length(v, t)
    a, b = rows64(v, "v"), rows64(t, "t")
    return (a @ a.T) * (b @ b.T)


def _pooled_gram(v_p: Array, t_p: Array, v_q: Array, t_q: Array) -> Float:
    """Return the (n + m, n + m) product Gram of P's rows, then Q's."""
    _same_length(v_p, t_p)
    _same_length(v_q, t_q)
    return _product_gram(np.concatenate([v_p, v_q]), np.concatenate([t_p, t_q]))


def _weight(gram: Float) -> float:
    """Return the trace of a Gram. ValueError where it is not positive."""
    weight = float(np.trace(gram))
    if not weight > 0:
        raise ValueError("a side has no rows, or only rows whose product is zero")
    return weight


def _exact(v_p: Array, t_p: Array, v_q: Array, t_q: Array, entropy_p: float | None = None) -> float:
    n = len(v_p)
    gram = _pooled_gram(v_p, t_p, v_q, t_q)
    scale = np.repeat(1 / np.sqrt([2 * _weight(gram[:n, :n]), 2 * _weight(gram[n:, n:])]), [n, len(gram) - n])
    gram *= scale[:, None]
    gram *= scale
    s_m = entropy_of_spectrum(np.asarray(np.linalg.eigvalsh(gram)))
    s_p = joint_entropy(v_p, t_p) if entropy_p is None else entropy_p
    return max(0.0, s_m - 0.5 * (s_p + joint_entropy(v_q, t_q)))


def _same_length(v: Array, t: Array) -> None:
    if len(v) != len(t):
        raise ValueError(f"{len(v)} image rows and {len(t)} text rows: pairs are needed")
