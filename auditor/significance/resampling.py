"""RJSD under resampling: its null by permutation, its bias and interval by the delete-a-block jackknife."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from auditor.divergences.spectrum import (
    entropy_of_rows,
    entropy_of_spectrum,
    entropy_rank,
    positive_trace,
    spectrum,
    von_neumann_entropy,
)
from auditor.significance.jackknife import Deletion, Left
from auditor.sketch import Float
from auditor.sketch.blocks import Index


class RjsdResampler:
    """RJSD of p (n, d) and q (m, d), and of what is left or exchanged when rows move.

    Fewer rows than dimensions: the rows are first turned into n + m coordinates, an exact isometry, so
    that no spectrum is larger than the rows are many.
    """

    def __init__(self, p: Float, q: Float, paired: bool) -> None:
        z = np.concatenate([p, q])
        if len(z) < z.shape[1]:
            z = np.asarray(np.linalg.qr(z.T, mode="r")).T
        self._p, self._q, self._paired = z[: len(p)], z[len(p) :], paired
        self._S_p, self._S_q = self._p.T @ self._p, self._q.T @ self._q
        mixture = spectrum(self._S_p / positive_trace(self._S_p) + self._S_q / positive_trace(self._S_q))
        self._mixture = entropy_of_spectrum(mixture)
        self._entropy_p, self._entropy_q = entropy_of_rows(self._p), entropy_of_rows(self._q)
        self.value = max(0.0, self._mixture - 0.5 * (self._entropy_p + self._entropy_q))
        """RJSD in nats (Eq. 12)"""
        self.effective_rank = float(np.exp(self._mixture))
        """exp of the entropy of (C_P + C_Q)/2"""
        self.entropy_rank = entropy_rank(mixture)
        """Among how many directions that entropy is spread"""

    @cached_property
    def _pooled(self) -> float:
        return von_neumann_entropy(self._S_p + self._S_q)

    def null(self, draws: int, rng: np.random.Generator, blocks: Index | None = None) -> Float:
        """(draws,) RJSD after rows were exchanged at random: pooled and dealt anew, or swapped within pairs
        (whole blocks (n,) of pairs at a time, if given)."""
        n = len(self._p)
        out = np.empty(draws)
        if self._paired:
            labels = np.arange(n) if blocks is None else np.unique(blocks, return_inverse=True)[1]
            for i in range(draws):
                swap = rng.integers(2, size=int(labels.max()) + 1).astype(bool)[labels][:, None]
                out[i] = self._exchanged(np.where(swap, self._q, self._p), np.where(swap, self._p, self._q))
            return out
        z = np.concatenate([self._p, self._q])
        for i in range(draws):
            order = rng.permutation(len(z))
            out[i] = self._exchanged(z[order[:n]], z[order[n:]])
        return out

    def _exchanged(self, p: Float, q: Float) -> float:
        """RJSD after an exchange: the sum of both second moments has not changed."""
        total = self._S_p + self._S_q
        if len(p) <= len(q):
            S_p = p.T @ p
            S_q = total - S_p
        else:
            S_q = q.T @ q
            S_p = total - S_q
        tr_p, tr_q = positive_trace(S_p), positive_trace(S_q)
        # With equal traces (unit rows, equal sizes) the mixture is the pooled moment, whoever holds the rows.
        same = abs(tr_p - tr_q) <= 1e-12 * (tr_p + tr_q)
        mixture = self._pooled if same else _mixture_entropy(S_p, S_q)
        return max(0.0, mixture - 0.5 * (_entropy(p, S_p) + _entropy(q, S_q)))

    def left(self, groups_p: Index, groups_q: Index) -> Left:
        """RJSD with each group of rows left out, P's groups (n,) and Q's (m,) in turn; both members of a pair
        together where paired (P's groups are then Q's)."""
        without: dict[Deletion, float] = {}
        if self._paired:
            for g in np.unique(groups_p):
                without["both", int(g)] = self._without(groups_p == g, groups_p == g)
            return Left(self.value, without)
        for g in np.unique(groups_p):
            without["p", int(g)] = self._without(groups_p == g, None)
        for g in np.unique(groups_q):
            without["q", int(g)] = self._without(None, groups_q == g)
        return Left(self.value, without)

    def _without(self, drop_p: NDArray[np.bool_] | None, drop_q: NDArray[np.bool_] | None) -> float:
        S_p, entropy_p = _delete(self._p, self._S_p, self._entropy_p, drop_p)
        S_q, entropy_q = _delete(self._q, self._S_q, self._entropy_q, drop_q)
        return _mixture_entropy(S_p, S_q) - 0.5 * (entropy_p + entropy_q)


def _mixture_entropy(S_p: Float, S_q: Float) -> float:
    return von_neumann_entropy(S_p / positive_trace(S_p) + S_q / positive_trace(S_q))


def _entropy(rows: Float, S: Float) -> float:
    """The smaller spectrum: of the second moment at hand, or of the Gram where rows are fewer."""
    return entropy_of_rows(rows) if len(rows) < len(S) else von_neumann_entropy(S)


def _delete(rows: Float, S: Float, entropy: float, drop: NDArray[np.bool_] | None) -> tuple[Float, float]:
    if drop is None:
        return S, entropy
    gone = rows[drop]
    rest = S - gone.T @ gone
    return rest, _entropy(rows[~drop], rest)
