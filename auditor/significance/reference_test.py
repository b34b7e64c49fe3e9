"""The unpaired permutation test where P has many rows and every Q few: what P alone decides is made once.

The statistics are those of `auditor.significance.permutation`. Their Grams of pooled rows have a part of P
alone, which is kept, and parts with Q, which are small. The metric of the pooled covariance changes with
every Q; in the eigenbasis of P's moment it is a diagonal matrix plus one row for each of Q's and one for the
mean (Woodbury's identity), so that no covariance is made and none inverted. The ridge is a power of two, the
same for most Q's, and so is the diagonal matrix: P's inner products in it are kept, too. For a Q of m rows
O(m n d + m d² + n² m + K² d), after O(n² d + d³) once, instead of that for every Q.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditor.divergences.mean_discrepancy import mmd
from auditor.significance.permutation import (
    LEAST_SPREAD,
    BlockGram,
    PermutationTest,
    block_plan,
    first_of_blocks,
    kernel_grams,
    kernel_rows,
    length_gram,
    linear_gram,
    log_choices,
    permuted_labels,
    quadratic_gram,
    ridge_of,
    unpaired_grams,
    unpaired_statistics,
)
from auditor.significance.resampling import ReferenceRows
from auditor.sketch import Float
from auditor.sketch.blocks import Index, equal_blocks

_CUT_SEED = 0
_MOST_RIDGES = 2
"""Ridges whose inner products are kept."""


def reference_test(
    p: ReferenceRows, q: Float, permutations: int, rng: np.random.Generator
) -> PermutationTest:
    """Permute equal blocks of rows between P's rows (n, d) and q (m, d), as `unpaired_test` does.

    P is cut into blocks once for all Q of one plan of blocks, from a seed of its own; the blocks of q and the
    permutations are drawn from `rng`.
    """
    block_rows, k_p, k_q = block_plan(len(p.rows), len(q))
    cut_q = equal_blocks(len(q), block_rows, rng)[:k_q]
    labels = permuted_labels(k_p, k_q, permutations, rng)
    blocks = ReferenceBlocks.of(p, block_rows, k_p)
    statistics = unpaired_statistics(blocks.grams(q, cut_q.ravel()), labels)
    return PermutationTest(mmd(p.sketch, q), statistics, log_choices(k_p, k_q))


@dataclass(frozen=True, eq=False)
class ReferenceBlocks:
    """`ReferenceBlocks` are rows of P cut into k equal blocks, with the parts of the Grams that P alone
    decides."""

    reference: ReferenceRows
    rows: Float
    """(k·b, d) in order of blocks"""
    rows32: NDArray[np.float32]
    row_sums: Float
    """(k, d) sums of the rows over each block"""
    block_rows: int
    """b"""
    linear: BlockGram
    quadratic: BlockGram
    coordinates: Float
    """(k·b, d) the rows in the eigenbasis of the moment of all of P's rows"""
    sums: Float
    """(k, d) sums of the coordinates over each block"""
    metrics: dict[float, RidgeMetric]
    """By the ridge: what was kept for the last of them"""

    @classmethod
    def of(cls, reference: ReferenceRows, block_rows: int, k: int) -> ReferenceBlocks:
        """Return k blocks of the reference's rows, kept with it for the next call."""
        kept = reference.blocks
        if (block_rows, k) not in kept:
            cut = equal_blocks(len(reference.rows), block_rows, np.random.default_rng(_CUT_SEED))[:k]
            rows = reference.rows[cut.ravel()]
            coordinates = rows @ reference.updates.vectors
            kept[block_rows, k] = cls(
                reference,
                rows,
                rows.astype(np.float32),
                _sums(rows, block_rows),
                block_rows,
                linear_gram(rows, rows, block_rows),
                quadratic_gram(rows, block_rows),
                coordinates,
                _sums(coordinates, block_rows),
                {},
            )
        blocks: ReferenceBlocks = kept[block_rows, k]
        return blocks

    def grams(self, q: Float, cut: Index) -> tuple[BlockGram, ...]:
        """Return the Grams of all statistics, of P's blocks, then Q's: q (m, d) all rows of Q, cut (k_q·b,)
        those in its blocks. To rounding, and but for the scale of the last three, the same as
        `unpaired_grams`."""
        b, of_blocks = self.block_rows, q[cut]
        total = len(self.reference.rows) + len(q)
        mean = (self.reference.rows.sum(axis=0) + q.sum(axis=0)) / total
        power = float(np.trace(self.reference.moment) + np.square(q).sum())
        squares = power - total * float(mean @ mean)
        if squares <= LEAST_SPREAD * power:  # rounding would show in the short way
            everything = np.concatenate([self.reference.rows, q])
            return unpaired_grams(np.concatenate([self.rows, of_blocks]), b, everything)
        own, sums_q = linear_gram(of_blocks, of_blocks, b), _sums(of_blocks, b)
        linear = _joined(self.linear, self.row_sums @ sums_q.T, own)
        inner = np.square(of_blocks.astype(np.float32) @ self.rows32.T)
        across = inner.reshape(len(sums_q), b, -1, b).sum(axis=(1, 3), dtype=np.float64).T
        quadratic = _joined(self.quadratic, across, quadratic_gram(of_blocks, b))
        return linear, quadratic, *self._in_metric(q, cut, mean, squares)

    def _in_metric(self, q: Float, cut: Index, mean: Float, squares: float) -> tuple[BlockGram, ...]:
        """Return the Grams in the metric of the pooled rows, of this mean, and of these squares less it."""
        reference, b = self.reference, self.block_rows
        n, d = reference.rows.shape
        total = n + len(q)
        # In P's eigenbasis the moment of the centred pooled rows plus ridge is diag + QᵀQ - total·mean·meanᵀ.
        metric = self._metric(ridge_of(squares, d))
        vectors = reference.updates.vectors
        middle, of_q = mean @ vectors, q @ vectors
        low_rank = np.concatenate([of_q, np.sqrt(total) * middle[None]])
        signs = np.ones(len(low_rank))
        signs[-1] = -1.0
        weighed = low_rank / metric.diagonal
        core = np.diag(signs) + weighed @ low_rank.T
        z_q = of_q[cut]
        seen = np.concatenate([self.coordinates @ weighed.T, z_q @ weighed.T])
        to_middle = seen[:, -1] / np.sqrt(total) - float(middle @ (middle / metric.diagonal)) / 2
        across = seen[:, cut]  # of each row with Q's rows in blocks, in the diagonal part of the metric
        seen -= middle @ weighed.T
        solved = np.linalg.solve(core, seen.T).T
        norms = np.concatenate([metric.norms, np.einsum("ij,ij->i", z_q, z_q / metric.diagonal)])
        norms -= 2 * to_middle + np.einsum("ij,ij->i", seen, solved)

        sums = np.concatenate([self.sums, _sums(z_q, b)]) - b * middle
        seen_sums = _sums(seen, b)
        gram = (sums / metric.diagonal) @ sums.T - seen_sums @ _sums(solved, b).T
        whitened = BlockGram(total * (gram + gram.T) / 2, total * norms.reshape(-1, b).sum(axis=1), b)

        # Less the parts seen, and less the mean, in one product. The kernels do not change with scale.
        few = kernel_rows(len(norms), b)
        at = first_of_blocks(len(norms), b, few)
        of_p, one = len(self.rows) // b * few, np.ones((len(at), 1))
        left = np.concatenate([seen[at], to_middle[at][:, None], one], axis=1).astype(np.float32)
        right = np.concatenate([-solved[at], -one, -to_middle[at][:, None]], axis=1).astype(np.float32)
        inner = left @ right.T
        inner[:of_p, :of_p] += metric.inner(few)
        cross = across[at][:, first_of_blocks(len(cut), b, few)].astype(np.float32)
        inner[:, of_p:] += cross
        inner[of_p:, :of_p] += cross[:of_p].T
        return whitened, *kernel_grams(inner, norms[at], few), length_gram(norms, b)

    def _metric(self, ridge: float) -> RidgeMetric:
        if ridge not in self.metrics:
            if len(self.metrics) >= _MOST_RIDGES:
                self.metrics.clear()
            diagonal = self.reference.updates.moments + ridge
            norms = np.einsum("ij,ij->i", self.coordinates, self.coordinates / diagonal)
            self.metrics[ridge] = RidgeMetric(self.coordinates, self.block_rows, diagonal, norms, {})
        return self.metrics[ridge]


@dataclass(frozen=True, eq=False)
class RidgeMetric:
    """A `RidgeMetric` is the part of the pooled metric that P's moment and the ridge decide, in P's
    eigenbasis."""

    coordinates: Float
    block_rows: int
    diagonal: Float
    """(d,) eigenvalues of P's moment plus the ridge"""
    norms: Float
    """(k·b,) squared lengths of P's rows"""
    kept: dict[int, NDArray[np.float32]]

    def inner(self, few: int) -> NDArray[np.float32]:
        """Return the inner products of the first `few` rows of each block of P."""
        if few not in self.kept:
            at = first_of_blocks(len(self.coordinates), self.block_rows, few)
            rows = (self.coordinates[at] / np.sqrt(self.diagonal)).astype(np.float32)
            self.kept.clear()
            self.kept[few] = rows @ rows.T
        return self.kept[few]


def _sums(rows: NDArray[np.float64], block_rows: int) -> Float:
    """(k, .) sums of rows (k·b, .) over blocks."""
    return np.asarray(rows.reshape(-1, block_rows, rows.shape[1]).sum(axis=1))


def _joined(p: BlockGram, across: Float, q: BlockGram) -> BlockGram:
    """The Gram of P's blocks, then Q's, from its parts; across: (k_p, k_q)."""
    return BlockGram(
        np.block([[p.gram, across], [across.T, q.gram]]), np.concatenate([p.norms, q.norms]), p.rows
    )
