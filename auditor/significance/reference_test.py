"""The unpaired permutation test where P has many rows and every Q few: what P alone decides is made once.

The statistics are those of `auditor.significance.permutation`. Their Grams of pooled rows have a part of P
alone, which is kept, and parts with Q, which are small. The metric of the whitened statistic is that of the
pooled covariance, and changes with every Q; in the eigenbasis of P's moment it is a diagonal matrix plus one
row for each of Q's and one for the mean (Woodbury's identity), so that no covariance is made and none
inverted. O(m n d + m d² + K² d) for a Q of m rows, after O(n² d + d³) once, instead of that for every Q.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditor.divergences.mean_discrepancy import mmd
from auditor.significance.permutation import (
    BlockGram,
    PermutationTest,
    block_plan,
    centred_and_metric,
    linear_gram,
    log_choices,
    permuted_labels,
    quadratic_gram,
    unpaired_statistics,
)
from auditor.significance.resampling import ReferenceRows
from auditor.sketch import Float
from auditor.sketch.blocks import Index, equal_blocks

_CUT_SEED = 0
_LEAST_SPREAD = 1e-6
"""Share of the rows' squares that is not their mean's, below which rounding would show in the short way."""


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
    statistics = unpaired_statistics(blocks.grams(q, cut_q.ravel()), labels, block_rows)
    return PermutationTest(mmd(p.sketch, q), statistics, log_choices(k_p, k_q))


@dataclass(frozen=True, eq=False)
class ReferenceBlocks:
    """`ReferenceBlocks` are rows of P cut into k equal blocks, with the parts of the three Grams that P alone
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
    squares: Float
    """(k, d) sums of the coordinates over each block, and of their squares"""

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
                _sums(np.square(coordinates), block_rows),
            )
        blocks: ReferenceBlocks = kept[block_rows, k]
        return blocks

    def grams(self, q: Float, cut: Index) -> tuple[BlockGram, BlockGram, BlockGram]:
        """Return the linear, quadratic and whitened Grams of P's blocks, then Q's: q (m, d) all rows of Q,
        cut (k_q·b,) those in its blocks. To rounding the same as `unpaired_grams`."""
        b, of_blocks = self.block_rows, q[cut]
        own, sums_q = linear_gram(of_blocks, of_blocks, b), _sums(of_blocks, b)
        linear = _joined(self.linear, self.row_sums @ sums_q.T, own)
        inner = np.square(of_blocks.astype(np.float32) @ self.rows32.T)
        across = inner.reshape(len(sums_q), b, -1, b).sum(axis=(1, 3), dtype=np.float64).T
        quadratic = _joined(self.quadratic, across, quadratic_gram(of_blocks, b))
        return linear, quadratic, self._whitened(q, cut)

    def _whitened(self, q: Float, cut: Index) -> BlockGram:
        reference, b = self.reference, self.block_rows
        n, d = reference.rows.shape
        total = n + len(q)
        mean = (reference.rows.sum(axis=0) + q.sum(axis=0)) / total
        power = float(np.trace(reference.moment) + np.square(q).sum()) / total
        spread = power - float(mean @ mean)
        if spread <= _LEAST_SPREAD * power:
            everything = np.concatenate([reference.rows, q])
            z = np.concatenate([self.rows, q[cut]])
            return linear_gram(*centred_and_metric(z, everything), b)
        ridge = spread / d
        # In P's eigenbasis the pooled covariance plus ridge is diag(a) + Qᵀ Q / total - mean meanᵀ.
        vectors = reference.updates.vectors
        a = reference.updates.moments / total + ridge
        middle = mean @ vectors
        of_q = q @ vectors
        low_rank = np.concatenate([of_q / np.sqrt(total), middle[None]])
        signs = np.ones(len(low_rank))
        signs[-1] = -1.0
        weighed = low_rank / a
        core = np.diag(signs) + weighed @ low_rank.T
        z_q = of_q[cut]
        plain = np.concatenate([self.sums, _sums(z_q, b)])
        sums = plain - b * middle
        squares = np.concatenate([self.squares, _sums(np.square(z_q), b)])
        squares += (b * middle - 2 * plain) * middle
        seen = np.concatenate([self.coordinates @ weighed.T, z_q @ weighed.T]) - middle @ weighed.T
        seen_sums = _sums(seen, b)
        solved = np.linalg.solve(core, seen.T).T
        gram = (sums / a) @ sums.T - seen_sums @ _sums(solved, b).T
        norms = squares @ (1 / a) - _sums((seen * solved).sum(axis=1, keepdims=True), b)[:, 0]
        return BlockGram((gram + gram.T) / 2, norms)


def _sums(rows: NDArray[np.float64], block_rows: int) -> Float:
    """(k, .) sums of rows (k·b, .) over blocks."""
    return np.asarray(rows.reshape(-1, block_rows, rows.shape[1]).sum(axis=1))


def _joined(p: BlockGram, across: Float, q: BlockGram) -> BlockGram:
    """The Gram of P's blocks, then Q's, from its parts; across: (k_p, k_q)."""
    return BlockGram(np.block([[p.gram, across], [across.T, q.gram]]), np.concatenate([p.norms, q.norms]))
