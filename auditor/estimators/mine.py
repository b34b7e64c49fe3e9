"""MINE (Belghazi et al. 2018) is the Donsker-Varadhan bound."""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING

import numpy as np

from auditor.estimators.pair_sums import PairSums
from auditor.estimators.registry import TRAINED, critic
from auditor.estimators.separable import SeparableEstimator, SeparableOptions, off_diagonal
from auditor.sketch import Float

if TYPE_CHECKING:
    import torch


class MINESums(PairSums):
    """The bound is 1/N Σ_i T_ii - log mean_{i≠j} e^{T_ij}: the first term is of all rows, the second of the
    kept ones."""

    kind = "mine"

    def _bounds(self, weights: Float) -> Float:
        out = np.zeros(len(weights))
        for scores in self.scores:
            c, means = self._pair_means(scores, weights)
            w = weights[:, scores.blocks]
            rows, joint = w @ self.n[scores.blocks], w @ self.t[scores.blocks]
            out += np.where(means > 0, joint - rows * (c + np.log(means)), 0.0)
        return out


@critic("mine", sums=MINESums, reads=TRAINED, options=SeparableOptions)
class MINE(SeparableEstimator):
    """The bound is E_XY T - log E_X E_Y exp T. The log of a sample mean biases it a little upward.

    All b(b-1) other pairs of a batch form that mean, so the moving average of the original is not needed.
    """

    sums_type = MINESums

    @staticmethod
    def bound(scores: torch.Tensor) -> torch.Tensor:
        false_scores = off_diagonal(scores)
        return scores.diagonal().mean() - (false_scores.logsumexp(dim=(0, 1)) - log(false_scores.numel()))
