"""InfoNCE (van den Oord et al. 2018): which of the batch's answers belongs to this query?"""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING

from auditor.estimators.separable import SeparableEstimator

if TYPE_CHECKING:
    import torch


class InfoNCE(SeparableEstimator):
    """E T(x,y) - E log mean_j exp T(x, y_j): at most the log of the batch size, of low variance."""

    @staticmethod
    def bound(scores: torch.Tensor) -> torch.Tensor:
        return (scores.diagonal() - scores.logsumexp(dim=1)).mean() + log(len(scores))
