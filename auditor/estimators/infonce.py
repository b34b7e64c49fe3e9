"""InfoNCE (van den Oord et al. 2018) asks which of the batch's answers belongs to a query."""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING

import numpy as np

from auditor.estimators.pair_sums import PairSums
from auditor.estimators.registry import TRAINED, critic
from auditor.estimators.separable import SeparableEstimator, SeparableOptions
from auditor.sketch import Float

if TYPE_CHECKING:
    import torch

_DRAWS = 128
"""Weightings at a time: a matrix of kept rows by weightings is made."""


class InfoNCESums(PairSums):
    """One of the K candidates of a row is its own answer; the others weigh as the mean of those kept:

        1/N Σ_i [T_ii - log( (e^{T_ii} + (K-1) mean_{j≠i} e^{T_ij}) / K )],   K = KEPT_ROWS, or N if smaller.

    Both terms vary together from row to row, so both are taken from the kept rows.
    """

    kind = "infonce"

    def _bounds(self, weights: Float) -> Float:
        out = np.zeros(len(weights))
        for scores in self.scores:
            n = self.n[scores.blocks]
            share = (n / self.kept[scores.blocks])[scores.own, None]
            log_true = (scores.true - scores.top)[:, None]
            true = np.exp(log_true)
            for start in range(0, len(weights), _DRAWS):
                w = weights[start : start + _DRAWS, scores.blocks]
                rows, own = w @ n, w.T[scores.own]
                other_mean = scores.pair_sums @ w.T / np.maximum(rows - own, 1.0)
                k = np.clip(rows, 1.0, self.candidates)
                row = log_true - np.log((true + (k - 1.0) * other_mean) / k)
                out[start : start + _DRAWS] += (own * share * row).sum(axis=0)
        return out


@critic("infonce", sums=InfoNCESums, reads=TRAINED, options=SeparableOptions)
class InfoNCE(SeparableEstimator):
    """The bound E T(x,y) - E log mean_j exp T(x, y_j) is at most log K, K = KEPT_ROWS or as many rows
    as it is evaluated on, and of low variance."""

    sums_type = InfoNCESums

    @staticmethod
    def bound(scores: torch.Tensor) -> torch.Tensor:
        return (scores.diagonal() - scores.logsumexp(dim=1)).mean() + log(len(scores))
