"""Other tests of two samples, as referees, in numpy and from their papers; each a p-value by permutation.

MMDAgg (Schrab et al. 2023): Laplace and Gaussian kernels of ten widths each, the smallest rank of all.
MMD-FUSE (Biggs, Schrab & Gretton 2023): the same kernels at its own widths, each MMD over its kernel's size,
a soft maximum. Martingale MMD (github.com/anirbanc96/mMMD): the MMD of pairs added up in order and divided by
its own spread, Gaussian kernel of the median distance; it takes as many rows of P as Q has. RBF: the MMD of
one Gaussian kernel of the median distance, the form that alibi-detect has.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from auditor.significance.permutation import permuted_labels
from auditor.sketch import Float

WIDTHS = 10


def unbiased(kernel: Float, labels: Float) -> Float:
    """(draws,) unbiased MMD² under labels (draws, N) of 1 where a row is P's."""
    k32, l32 = kernel.astype(np.float32), labels.astype(np.float32)
    np.fill_diagonal(k32, 0)
    n, m = int(labels[0].sum()), int((1 - labels[0]).sum())
    product = l32 @ k32
    pp = np.einsum("ij,ij->i", product, l32).astype(np.float64)
    row, whole = product.sum(axis=1, dtype=np.float64), float(k32.sum(dtype=np.float64))
    pq, qq = row - pp, whole - 2 * row + pp
    return np.asarray(pp / (n * (n - 1)) + qq / (m * (m - 1)) - 2 * pq / (n * m))


def ranked(values: Float) -> float:
    """Share of the draws that are as large as the first."""
    return float((values >= values[0]).mean())


def smallest_rank(statistics: Float) -> float:
    """P-value of the smallest p-value of several statistics (k, draws)."""
    draws = statistics.shape[1]
    at_least = [draws - np.searchsorted(np.sort(s), s, side="left") for s in statistics]
    return ranked(-np.min(at_least, axis=0).astype(np.float64))


def mmdagg(p: Float, q: Float, permutations: int, rng: np.random.Generator) -> float:
    z, n = np.concatenate([p, q]), len(p)
    labels, found = permuted_labels(n, len(q), permutations, rng), []
    for name, power in (("cityblock", 1), ("euclidean", 2)):
        distances = cdist(z, z, name)
        across = distances[:n, n:].ravel()
        least = across.min() if across.min() >= 0.1 else max(np.quantile(across, 0.05), 0.1)
        ends = np.log([least / 2, 2 * max(across.max(), 0.3)])
        for width in np.exp(np.linspace(*ends, WIDTHS)):
            found.append(unbiased(np.exp(-((distances / width) ** power)), labels))
    return smallest_rank(np.array(found))


def mmd_fuse(p: Float, q: Float, permutations: int, rng: np.random.Generator) -> float:
    z, least = np.concatenate([p, q]), min(len(p), len(q))
    labels, found = permuted_labels(len(p), len(q), permutations, rng), []
    for name in ("cityblock", "euclidean"):
        distances = cdist(z, z, name)
        apart = distances[np.triu_indices(len(z), 1)]
        for width in np.linspace(np.quantile(apart, 0.05) / 2, 2 * np.quantile(apart, 0.95), WIDTHS):
            scaled = distances / width
            kernel = np.exp(-np.sqrt(2) * scaled if name == "cityblock" else -np.square(scaled) / 2)
            np.fill_diagonal(kernel, 0)
            size = np.sqrt(np.square(kernel).sum() / (least * (least - 1)))
            found.append(unbiased(kernel, labels) * least * (least - 1) / size)
    together = np.array(found)
    top = together.max(axis=0)
    return ranked(top + np.log(np.exp(together - top).mean(axis=0)))


def rbf(p: Float, q: Float, permutations: int, rng: np.random.Generator) -> float:
    z = np.concatenate([p, q])
    squared = cdist(z, z, "sqeuclidean")
    kernel = np.exp(-squared / np.median(squared))
    return ranked(unbiased(kernel, permuted_labels(len(p), len(q), permutations, rng)))


def martingale(p: Float, q: Float, permutations: int, rng: np.random.Generator) -> float:
    n = min(len(p), len(q))
    z = np.concatenate([p[:n], q[:n]])
    squared = cdist(z, z, "sqeuclidean")
    kernel = np.exp(-squared / np.median(squared))
    orders = [np.arange(2 * n), *(rng.permutation(2 * n) for _ in range(permutations))]
    return ranked(np.array([_martingale(kernel[np.ix_(order, order)], n) for order in orders]))


def _martingale(kernel: NDArray[np.floating], n: int) -> float:
    pairs = np.tril(kernel[:n, :n] + kernel[n:, n:] - kernel[:n, n:] - kernel[n:, :n], -1)
    steps = pairs.sum(axis=1)[1:] / np.arange(2, n + 1)
    return float(steps.sum() / np.sqrt(np.square(steps).sum()))


def martingale_pass(p: Float, q: Float) -> float:
    """One pass of the martingale MMD, no permutation: its statistic is compared with the normal law."""
    n = min(len(p), len(q))
    p, q = p[:n], q[:n]
    width = np.median(_squared(p[:500], q[:500]))
    blocks = [np.exp(-_squared(a, b) / width) for a, b in ((p, p), (p, q), (q, p), (q, q))]
    pairs = np.tril(blocks[0] - blocks[1] - blocks[2] + blocks[3], -1)
    steps = pairs.sum(axis=1)[1:] / np.arange(2, n + 1)
    return float(steps.sum() / np.sqrt(np.square(steps).sum()))


def _squared(a: Float, b: Float) -> Float:
    return np.square(a).sum(axis=1)[:, None] + np.square(b).sum(axis=1) - 2 * a @ b.T


REFEREES = {"MMDAgg": mmdagg, "FUSE": mmd_fuse, "RBF": rbf, "martingale": martingale}
