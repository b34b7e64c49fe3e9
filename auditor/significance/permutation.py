"""Permutation tests work on block Grams: every permutation is a quadratic form in them.

Six statistics, each the unbiased MMD² of a kernel: *linear* ⟨z, z'⟩ (a moved mean along the rows' own
spectrum), *quadratic* ⟨z, z'⟩² (second moments), *whitened* ⟨z, z'⟩ in the pooled covariance's metric (a
moved mean, or a few foreign rows, where the rows hardly vary: there the first two are blind), and three more
in that metric (`auditor.significance.kernels`): the *squared* and the *local* one, and the rows' *lengths*.
All are quadratic in sums over blocks of rows. With the K x K matrix of inner products of those sums, 2,000
permutations cost one matrix product of 2,000 x K x K a statistic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import exp, log
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from auditor.divergences.mean_discrepancy import mmd
from auditor.significance.kernels import KERNEL_ROWS, first_rows, length_features, matrix_kernels
from auditor.sketch import Float, Sketch
from auditor.sketch.blocks import Index, equal_blocks

MOST_BLOCKS = 500
"""2,000 permutations of 500 blocks take about a tenth of a second for all statistics."""
LARGE_BLOCKS = 150
"""Blocks where d x d sketches of blocks are cheaper than the rows' Gram (many rows)."""
LEAST_BLOCKS = 20
"""Least blocks of the smaller side, where it has the rows: fewer would leave too little to permute."""
LEAST_SPREAD = 1e-6
"""Share of the rows' squares that is not their mean's, below which single precision would show in the
statistics."""
_MANY_ROWS = 4000
_GRAM_ROWS = 1024
_FEW_BLOCKS = 7
"""Share of the blocks (a seventh) up to which a side's products are gathered instead of multiplied out."""
_DRAWS = 64


FITTED_SHARE = 1 / 20
"""Share of the draws, the largest ones, whose fall-off is carried on where the observed statistic is beyond
all of them."""
LEAST_P = 5e-7
"""No smaller p-value is said: a thousandth of the least one that 2,000 draws can tell."""
_LEAST_DRAWS = 1000
_MOST_VARIATION = 1.25


@dataclass(frozen=True, eq=False)
class PermutationTest:
    """A `PermutationTest` holds what a permutation test found, with statistics for which large is extreme."""

    mmd2: float
    """Unbiased quadratic MMD²"""
    statistics: Float
    """(statistics, 1 + draws), column 0 the observed ones"""
    labellings: float
    """log of the number of different labellings that permutations choose from"""

    @cached_property
    def p_value(self) -> float:
        """Return the p-value of all statistics together: a rank among the draws, and where one of them is
        beyond all of its draws, what their fall-off says (`fitted_tail`, times the statistics), if that is
        less.

        Ranks alone end at 1 in 2,001, which a correction for 40 scenarios makes 0.02: no shift, however
        large, would be found among so many.
        """
        ranked = aggregated_p_value(self.statistics)
        tails = [p for values in self.statistics if (p := fitted_tail(values)) is not None]
        if not tails:
            return ranked
        least = max(LEAST_P, exp(-self.labellings))
        return min(ranked, max(least, len(self.statistics) * min(tails)))

    def beside(self, other: PermutationTest) -> PermutationTest:
        """Return the test of both on rows that are independent of each other, as many draws of each: the
        smallest p-value counts, and the choice is paid for."""
        both = np.concatenate([self.statistics, other.statistics])
        return PermutationTest(self.mmd2, both, self.labellings + other.labellings)


def fitted_tail(values: Float) -> float | None:
    """Return the p-value of the first of values (1 + draws,) from an exponential fall-off of the largest
    twentieth of the others; None where it is not beyond all of them, draws are few, or these fall off in
    another way (spread of their excess over 1.25 of its mean: steps, as a few far rows make them).

    Quadratic statistics fall off like weighted χ², not slower than exponentially. The rate is taken three
    standard errors on the safe side: at 1 in 10,000 and 100,000 the p-value was 5 and 15 times too large in
    the median on Gaussian rows, and too small by at most a factor of 5 in the tenth of the worst fits on rows
    of few directions.
    """
    observed, draws = values[0], np.sort(values[1:])
    if len(draws) < _LEAST_DRAWS or observed <= draws[-1]:
        return None
    k = int(len(draws) * FITTED_SHARE)
    excess = draws[-k:] - draws[-k - 1]
    mean = float(excess.mean())
    if mean <= 0 or excess.std(ddof=1) > _MOST_VARIATION * mean:
        return None
    return float(FITTED_SHARE * np.exp(-(observed - draws[-k - 1]) / (mean * (1 + 3 / np.sqrt(k)))))


class BlockGram(NamedTuple):
    """A `BlockGram` holds inner products of K block sums of features φ: gram (K, K), Σ‖φ‖² over each block's
    rows (K,), and how many rows a block has."""

    gram: Float
    norms: Float
    rows: int


def unpaired_test(
    p: Float, q: Float, permutations: int, rng: np.random.Generator, sketch_p: Sketch | None = None
) -> PermutationTest:
    """Permute equal blocks of rows between p (n, d) and q (m, d).

    Blocks are single rows up to MOST_BLOCKS rows in all. Where one side is far larger, a random part of it
    joins the permutations (at least 24 times the other side's rows where there are LEAST_BLOCKS of them), so
    that cost stays bounded; the MMD² itself uses all rows. `sketch_p`: of p's rows, where it is known.
    """
    block_rows, k_p, k_q = block_plan(len(p), len(q))
    cut_p = equal_blocks(len(p), block_rows, rng)[:k_p]
    cut_q = equal_blocks(len(q), block_rows, rng)[:k_q]
    z = np.concatenate([p[cut_p.ravel()], q[cut_q.ravel()]])
    labels = permuted_labels(k_p, k_q, permutations, rng)
    grams = unpaired_grams(z, block_rows, np.concatenate([p, q]))
    statistics = unpaired_statistics(grams, labels)
    mmd2 = mmd(p if sketch_p is None else sketch_p, q)
    return PermutationTest(mmd2, statistics, log_choices(k_p, k_q))


def paired_test(
    p: Float, q: Float, permutations: int, rng: np.random.Generator, blocks: Index | None = None
) -> PermutationTest:
    """Swap within pairs: each draw flips the signs of φ(p_i) - φ(q_i), whole blocks (n,) at a time if given.

    Exact whatever the sizes of blocks. The sum over pairs i != j of ⟨φ(p_i)-φ(q_i), φ(p_j)-φ(q_j)⟩ is the
    unbiased MMD² of pairs; for an identical copy every draw equals the observed one, so p = 1.
    """
    n = len(p)
    if blocks is None:
        size = -(-n // MOST_BLOCKS)
        labels = rng.permutation(n) // size
    else:
        labels = np.unique(blocks, return_inverse=True)[1]
    order = np.argsort(labels, kind="stable")
    starts = np.flatnonzero(np.diff(labels[order], prepend=-1))
    p, q = p[order], q[order]
    u, v = p + q, p - q
    signs = rng.choice([-1.0, 1.0], (permutations + 1, len(starts)))
    signs[0] = 1.0
    quadratic, norms = _paired_quadratic(u, v, starts)
    moment = v.T @ v / n
    own = in_metric(v, moment, float(np.trace(moment)) / v.shape[1])
    plain, whitened = _paired_linear(v, v, starts), _paired_linear(v, own, starts)
    grams = (plain, quadratic, whitened, *_paired_kernels(p, q, starts))
    mmd2 = float(quadratic.sum() - norms.sum()) / (n * (n - 1))
    statistics = np.stack([_on_grid(quadratic_forms(signs, gram), gram) for gram in grams])
    return PermutationTest(mmd2, statistics, (len(starts) - 1) * log(2))


def aggregated_p_value(statistics: Float) -> float:
    """Return the P-value of several statistics together: (k, 1 + draws), column 0 the observed one, large is
    extreme.

    Each statistic's permutation p-value is found for every draw; their harmonic mean over the statistics
    (Wilson 2019), which follows the smallest one but gains where several agree, is itself ranked among the
    draws, so the choice between statistics is paid for. Counts the observed draw: never 0.
    """
    draws = statistics.shape[1]
    ordered = np.sort(statistics, axis=1)
    at_least = np.stack(
        [draws - np.searchsorted(o, s, side="left") for o, s in zip(ordered, statistics, strict=True)]
    )
    together = np.sort(1 / at_least, axis=0).sum(axis=0)
    return float((together >= together[0]).sum() / draws)


def log_choices(k_p: int, k_q: int) -> float:
    """Return the log of the number of ways to choose k_p units among k_p + k_q, half of it where both sides
    have as many: exchanging the sides changes no statistic."""
    choices = gammaln(k_p + k_q + 1) - gammaln(k_p + 1) - gammaln(k_q + 1)
    return float(choices - (log(2) if k_p == k_q else 0.0))


def block_plan(n: int, m: int) -> tuple[int, int, int]:
    """Return (rows a block, blocks of p, blocks of q) for n and m rows."""
    small = min(n, m)
    most = MOST_BLOCKS
    if n + m > _MANY_ROWS and small * LARGE_BLOCKS >= LEAST_BLOCKS * (n + m):
        most = LARGE_BLOCKS
    block_rows = max(1, min(-(-(n + m) // most), small // LEAST_BLOCKS))
    k_small = small // block_rows
    k_p, k_q = (min(rows // block_rows, max(most - k_small, k_small)) for rows in (n, m))
    return block_rows, k_p, k_q


def unpaired_grams(z: Float, block_rows: int, everything: Float | None = None) -> tuple[BlockGram, ...]:
    """Return the Grams of the six statistics, of (K·block_rows, d) rows in order of blocks.

    Those in the metric of the pooled covariance have that of `everything` (N, d), rows that are in no block
    too (default: z). It does not know which rows are P's: permutations leave it alone, and the test exact.
    """
    of_metric = metric_grams(*centred_and_metric(z, everything), block_rows)
    return linear_gram(z, z, block_rows), quadratic_gram(z, block_rows), *of_metric


def metric_grams(centred: Float, metric: Float, block_rows: int) -> tuple[BlockGram, ...]:
    """Return the four Grams in the pooled metric, of what `centred_and_metric` gave for rows in order of
    blocks."""
    few = kernel_rows(len(centred), block_rows)
    at = first_of_blocks(len(centred), block_rows, few)
    inner = centred[at].astype(np.float32) @ metric[at].astype(np.float32).T
    norms = np.einsum("ij,ij->i", centred, metric)
    return (
        linear_gram(centred, metric, block_rows),
        *kernel_grams(inner, norms[at], few),
        length_gram(norms, block_rows),
    )


def kernel_rows(rows: int, block_rows: int) -> int:
    """Return how many rows of each block have a kernel matrix, of `rows` rows in all."""
    return block_rows if rows <= KERNEL_ROWS else max(1, block_rows * KERNEL_ROWS // rows)


def first_of_blocks(rows: int, block_rows: int, few: int) -> Index:
    """Return the positions of the first `few` rows of each block."""
    return np.arange(rows).reshape(-1, block_rows)[:, :few].ravel()


def kernel_grams(inner: NDArray[np.floating[Any]], norms: Float, block_rows: int) -> Iterator[BlockGram]:
    """Yield the squared and the local Gram of rows (K·block_rows) in order of blocks, from their inner
    products and squared lengths in the pooled metric."""
    k = len(inner) // block_rows
    for kernel in matrix_kernels(inner, norms):
        by_row = kernel.reshape(k, block_rows, -1).sum(axis=1) if block_rows > 1 else kernel
        gram = by_row.reshape(k, k, block_rows).sum(axis=2, dtype=np.float64)
        yield BlockGram((gram + gram.T) / 2, np.zeros(k), block_rows)


def length_gram(norms: Float, block_rows: int) -> BlockGram:
    """Return the Gram of the rows' lengths, of squared lengths (K·block_rows,) in order of blocks."""
    features = length_features(norms)
    return linear_gram(features, features, block_rows)


def centred_and_metric(z: Float, everything: Float | None = None) -> tuple[Float, Float]:
    """Return rows z (k, d) less the mean of `everything` (N, d), and these `in_metric` of its covariance,
    with the ridge of `ridge_of`; everything is z if absent. Equal rows are zeros: what is left of them is
    rounding."""
    whole = z if everything is None else everything
    mean = whole.mean(axis=0)
    rest = whole - mean
    squares = float(np.square(rest).sum())
    if squares <= 1e-20 * np.square(whole).sum():
        return np.zeros_like(z), np.zeros_like(z)
    centred = z - mean
    ridge = ridge_of(squares, z.shape[1]) / len(whole)
    return centred, in_metric(centred, rest.T @ rest / len(whole), ridge)


def ridge_of(squares: float, d: int) -> float:
    """Return the ridge that is added to the moment of centred rows, given the sum of its d eigenvalues: their
    mean, as the nearest power of two, so that it is the same for many sets of rows."""
    return float(2.0 ** np.round(np.log2(squares / d)))


def in_metric(z: Float, covariance: Float, ridge: float) -> Float:
    """Return rows z (n, d) times (C + ridge·I)⁻¹: with a ridge of about the mean eigenvalue, directions far
    below the mean are not blown up to noise. O(n d² + d³). Zeros where the ridge is zero."""
    if ridge <= 0:
        return np.zeros_like(z)
    # By numpy, which leaves the interpreter's lock to other units of work; scipy's factors hold it.
    return np.ascontiguousarray(np.linalg.solve(covariance + ridge * np.eye(z.shape[1]), z.T).T)


def linear_gram(z: Float, metric: Float, block_rows: int) -> BlockGram:
    """Return inner products ⟨z, metric'⟩ of rows (K·block_rows, d) in order of blocks. O(N d + K² d)."""
    sums, metric_sums = (rows.reshape(-1, block_rows, rows.shape[1]).sum(axis=1) for rows in (z, metric))
    norms = np.einsum("ij,ij->i", z, metric).reshape(-1, block_rows).sum(axis=1)
    return BlockGram(sums @ metric_sums.T, norms, block_rows)


def quadratic_gram(z: Float, block_rows: int) -> BlockGram:
    """Return the features zzᵀ of (K·block_rows, d) rows in order of blocks.

    The cheaper of two ways: squared inner products of all rows, O(N² d), or K sketches of d x d, O(K² d²).
    Products of `factors`, sums in float64.
    """
    rows, d = z.shape
    k = rows // block_rows
    norms = np.square(np.einsum("ij,ij->i", z, z)).reshape(-1, block_rows).sum(axis=1)
    single = factors(z)
    if rows * rows <= k * k * d + rows * d:
        gram = np.empty((k, k))
        step = max(1, _GRAM_ROWS // block_rows)
        for a in range(0, k, step):
            inner = np.square(single[a * block_rows : (a + step) * block_rows] @ single.T)
            by_row = inner.reshape(-1, block_rows, rows).sum(axis=1)
            gram[a : a + step] = by_row.reshape(-1, k, block_rows).sum(axis=2, dtype=np.float64)
        return BlockGram(gram, norms, block_rows)
    blocks = single.reshape(k, block_rows, d)
    sketches = np.stack([b.T @ b for b in blocks]).reshape(k, d * d)
    return BlockGram((sketches @ sketches.T).astype(np.float64), norms, block_rows)


def factors(z: Float) -> NDArray[np.floating[Any]]:
    """Return rows (n, d) in single precision; as they are where they hardly vary, as on a day of one picture:
    what rounding makes of equal rows differs from block to block, and would pass for a shift."""
    spread = np.square(z - z.mean(axis=0)).sum()
    return z if spread <= LEAST_SPREAD * np.square(z).sum() else z.astype(np.float32)


def permuted_labels(k_p: int, k_q: int, permutations: int, rng: np.random.Generator) -> Float:
    """Return (1 + permutations, K) of 1 where a block is P's, else 0; the first row as observed."""
    labels = np.zeros((permutations + 1, k_p + k_q))
    labels[:, :k_p] = 1.0
    labels[1:] = rng.permuted(labels[1:], axis=1)
    return labels


def unpaired_statistics(grams: Sequence[BlockGram], labels: Float) -> Float:
    """Return (statistics, 1 + permutations) unbiased MMD² of each Gram under each labelling, the same for
    all."""
    k, few = labels.shape[1], int(labels[0].sum())
    if 2 * few > k:  # P and Q change places, which changes no statistic: the side of fewer blocks is added up
        few, labels = k - few, 1.0 - labels
    if few * _FEW_BLOCKS > k:
        forms = [quadratic_forms(labels, gram.gram) for gram in grams]
    else:
        forms = _forms_of_few([gram.gram for gram in grams], np.nonzero(labels)[1].reshape(-1, few))
    return np.stack(
        [_unpaired_statistic(gram, pp, labels, few) for gram, pp in zip(grams, forms, strict=True)]
    )


def _forms_of_few(grams: Sequence[Float], members: Index) -> list[Float]:
    """The sum of each symmetric Gram (K, K) over the products of each draw's members (draws, few). Draws are
    taken a few at a time, so that positions stay at hand for all Grams."""
    k, (draws, few) = len(grams[0]), members.shape
    one, other = np.triu_indices(few, 1)
    forms = np.empty((len(grams), draws))
    for first in range(0, draws, _DRAWS):
        part = members[first : first + _DRAWS]
        pairs = part[:, one] * k + part[:, other]
        for i, gram in enumerate(grams):
            apart = np.take(gram.ravel(), pairs).sum(axis=1)
            forms[i, first : first + _DRAWS] = 2 * apart + np.diag(gram)[part].sum(axis=1)
    return list(forms)


def _unpaired_statistic(blocks: BlockGram, pp: Float, labels: Float, few: int) -> Float:
    n, m = few * blocks.rows, (labels.shape[1] - few) * blocks.rows
    row = labels @ blocks.gram.sum(axis=1)
    pq, qq = row - pp, blocks.gram.sum() - 2 * row + pp
    diag_p = labels @ blocks.norms
    diag_q = blocks.norms.sum() - diag_p
    value = (pp - diag_p) / (n * (n - 1)) + (qq - diag_q) / (m * (m - 1)) - 2 * pq / (n * m)
    return _on_grid(value, blocks.gram / (min(n, m) * (min(n, m) - 1)))


def quadratic_forms(vectors: Float, gram: Float) -> Float:
    """Return vᵀ G v of each row v."""
    return np.einsum("ij,ij->i", vectors @ gram, vectors)


def _on_grid(values: Float, terms: Float) -> Float:
    """Values rounded to the error of adding up `terms`, so that a draw that repeats the observed partition
    ties with it instead of falling on a side by rounding."""
    step = 1e-12 * float(np.abs(terms).sum())
    return np.round(values / step) if step > 0 else np.zeros_like(values)


def gram_of_units(starts: Index, rows: int, inner: Callable[[slice], NDArray[np.floating[Any]]]) -> Float:
    """Return the (K, K) sums of a (rows, rows) Gram over units of consecutive rows; starts (K,) are their
    first rows, and `inner` gives the Gram of some of the rows with all, a thousand rows at a time."""
    ends = np.append(starts[1:], rows)
    gram = np.empty((len(starts), len(starts)))
    first = 0
    while first < len(starts):
        last = max(first + 1, int(np.searchsorted(ends, starts[first] + _GRAM_ROWS, side="right")))
        by_column = np.add.reduceat(
            inner(slice(starts[first], ends[last - 1])), starts, axis=1, dtype=np.float64
        )
        gram[first:last] = np.add.reduceat(by_column, starts[first:last] - starts[first], axis=0)
        first = last
    return gram


def _paired_linear(v: Float, metric: Float, starts: Index) -> Float:
    sums, metric_sums = (np.add.reduceat(rows, starts, axis=0) for rows in (v, metric))
    return np.asarray(sums @ metric_sums.T)


def _paired_kernels(p: Float, q: Float, starts: Index) -> Iterator[Float]:
    """Of features φ(p) - φ(q) of the kernels in the metric of both sides' covariance, exactly zero where
    p = q. In float64: the differences of near copies are far smaller than the rows."""
    n = len(p)
    centred, metric = centred_and_metric(np.concatenate([p, q]))
    norms = np.einsum("ij,ij->i", centred, metric)
    at, first = first_rows(starts, n, KERNEL_ROWS // 2)
    both = np.concatenate([at, n + at])
    s = len(at)
    apart = (p != q).any(axis=1)
    for kernel in matrix_kernels(centred[both] @ metric[both].T, norms[both]):
        gram = kernel[:s, :s] + kernel[s:, s:] - kernel[:s, s:] - kernel[s:, :s]
        gram *= apart[at] & apart[at][:, None]
        by_column = np.add.reduceat(gram, first, axis=1)
        units = np.add.reduceat(by_column, first, axis=0)
        yield (units + units.T) / 2
    features = length_features(norms)
    differences = (features[:n] - features[n:]) * apart[:, None]
    yield _paired_linear(differences, differences, starts)


def _paired_quadratic(u: Float, v: Float, starts: Index) -> tuple[Float, Float]:
    """Features ppᵀ - qqᵀ = ½(uvᵀ + vuᵀ) with u = p + q, v = p - q: exactly zero where p = q.

    Their inner products are ½(⟨u,u'⟩⟨v,v'⟩ + ⟨u,v'⟩⟨v,u'⟩): their Gram by units and the rows' squared lengths
    are returned. O(n² d) or O(n d² + K² d²), whichever is less.
    """
    n, d = u.shape
    k = len(starts)
    uu, vv, uv = (np.einsum("ij,ij->i", a, b) for a, b in ((u, u), (v, v), (u, v)))
    norms = 0.5 * (uu * vv + np.square(uv))
    if 4 * n * n <= k * k * d + n * d:

        def inner(part: slice) -> Float:
            return np.asarray(0.5 * ((u[part] @ u.T) * (v[part] @ v.T) + (u[part] @ v.T) * (v[part] @ u.T)))

        return gram_of_units(starts, n, inner), norms
    sketches = np.empty((k, d * d), dtype=np.float32)
    for i, part in enumerate(np.split(np.arange(n), starts[1:])):
        half = u[part].T @ v[part]
        sketches[i] = (0.5 * (half + half.T)).ravel()
    return (sketches @ sketches.T).astype(np.float64), norms
