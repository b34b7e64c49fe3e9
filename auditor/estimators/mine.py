"""MINE (Belghazi et al. 2018): the Donsker-Varadhan bound."""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING

from auditor.estimators.separable import SeparableEstimator, off_diagonal

if TYPE_CHECKING:
    import torch


class MINE(SeparableEstimator):
    """E_XY T - log E_X E_Y exp T: the log of a sample mean biases it a little upward.

    All b(b-1) other pairs of a batch form that mean, so the moving average of the original is not needed.
    """

    @staticmethod
    def bound(scores: torch.Tensor) -> torch.Tensor:
        others = off_diagonal(scores)
        return scores.diagonal().mean() - (others.logsumexp(dim=(0, 1)) - log(others.numel()))
