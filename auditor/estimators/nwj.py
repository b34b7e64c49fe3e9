"""NWJ (Nguyen, Wainwright & Jordan 2010) is also called MINE-f."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from auditor.estimators.pair_sums import PairSums
from auditor.estimators.registry import TRAINED, critic
from auditor.estimators.separable import SeparableEstimator, SeparableOptions, off_diagonal
from auditor.sketch import Float

if TYPE_CHECKING:
    import torch


class NWJSums(PairSums):
    """The bound is 1 + 1/N Σ_i T_ii - mean_{i≠j} e^{T_ij}: the first term is of all rows, the second of the
    kept ones."""

    kind = "nwj"

    def _bounds(self, weights: Float) -> Float:
        out = np.zeros(len(weights))
        for scores in self.scores:
            c, means = self._pair_means(scores, weights)
            w = weights[:, scores.blocks]
            rows, joint = w @ self.n[scores.blocks], w @ self.t[scores.blocks]
            out += np.where(means > 0, rows + joint - rows * np.exp(c) * means, 0.0)
        return out


@critic("nwj", sums=NWJSums, reads=TRAINED, options=SeparableOptions)
class NWJ(SeparableEstimator):
    """The bound E_XY T - E_X E_Y exp(T - 1) is unbiased from a sample, and of high variance where MI is
    large."""

    sums_type = NWJSums
    # One pair that the critic scores too high has an exponential gradient: unclipped, the held-out bound fell
    # from 1.5 to -85 nats within 300 steps (two Gaussian pairs, 2 nats) and training stopped early.
    clip = 1.0

    @staticmethod
    def bound(scores: torch.Tensor) -> torch.Tensor:
        # 1 + T is the critic: T = 0, where training starts, then gives 0 instead of -1/e.
        return 1 + scores.diagonal().mean() - off_diagonal(scores).exp().mean()
