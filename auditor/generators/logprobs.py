"""This module sums the log-probabilities of the tokens that transformers draws."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class TokenLogProbs:
    """This class watches generation, as a logits processor of transformers, and sums log p (nats) of the
    tokens chosen, up to and with the end token.

    Keeps one (rows, vocabulary) table at a time, where asking `generate` for its scores keeps one for every
    token.
    """

    def __init__(self, temperature: float, stops: Tensor, rows: int) -> None:
        """`temperature` > 0 of the distribution that log p is under; `stops`: ids of end tokens."""
        import torch

        self._temperature = temperature
        self._stops = stops
        self._table: Tensor | None = None
        self._open = torch.ones(rows, dtype=torch.bool, device=stops.device)
        self.total = torch.zeros(rows, dtype=torch.float64, device=stops.device)
        self.count = torch.zeros(rows, dtype=torch.int64, device=stops.device)

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """Called before each token is chosen: settles the token before, keeps the table, changes nothing."""
        import torch

        self.settle(input_ids)
        self._table = torch.log_softmax(scores.float() / self._temperature, dim=-1)
        return scores

    def settle(self, ids: Tensor) -> None:
        """Count the last column of `ids` (rows, length); call once more when generation is over."""
        import torch

        if self._table is None:
            return
        token = ids[:, -1]
        log_p = self._table.gather(1, token.unsqueeze(1)).squeeze(1).double()
        self.total += torch.where(self._open, log_p, 0.0)
        self.count += self._open
        self._open &= ~torch.isin(token, self._stops)
        self._table = None
