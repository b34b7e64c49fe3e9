"""EMI and EMID (Eq. 7 and 9 of the paper) come from critics' sums, with intervals by a bootstrap of hash
blocks.

EMI = I(X; Ŷ) - I(X; Y) of one critic, EMID = EMI(P) - EMI(Q), in nats. The critic is held fixed: the
intervals are about the sample of records, not about the training (its spread over seeds is reported beside
them).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from auditor.protocols import Sums
from auditor.sketch import Float

LEAST_BLOCKS = 10
"""Blocks with rows a side below which a bootstrap of blocks says nothing."""


@dataclass(frozen=True)
class Estimate:
    """An `Estimate` is a value (nats) with its bias, standard error and interval by the bootstrap."""

    value: float
    """As estimated: for parity with the paper."""
    bias: float
    """Mean of the draws less the value; `value - bias` is the debiased estimate."""
    std: float
    """Standard error."""
    low: float
    """Percentiles of the draws, twice the bias taken off: once for the draws', once for the value's own."""
    high: float


@dataclass(frozen=True)
class EmidIntervals:
    """`EmidIntervals` are estimates of EMI on P, EMI on Q and EMID, all from the same draws."""

    emi_p: Estimate
    emi_q: Estimate
    emid: Estimate
    level: float
    draws: int
    """Draws that were used: those that left a side without rows are not."""
    paired: bool


def emi(sums_model: Sums, sums_reference: Sums) -> float:
    """Return EMI = I(X; Ŷ) - I(X; Y) in nats (Eq. 7), of the sums of (x, ŷ) and of (x, y) over the same x."""
    return sums_model.value() - sums_reference.value()


def emid(p_model: Sums, p_reference: Sums, q_model: Sums, q_reference: Sums) -> float:
    """Return EMID = EMI(P) - EMI(Q) in nats (Eq. 9): positive where relevance is lost on Q."""
    return emi(p_model, p_reference) - emi(q_model, q_reference)


def paired_bootstrap(
    p_model: Sums,
    p_reference: Sums,
    q_model: Sums,
    q_reference: Sums,
    level: float = 0.9,
    draws: int = 1000,
    seed: int = 0,
    *,
    paired: bool = True,
) -> EmidIntervals | None:
    """Compute intervals for EMI and EMID: blocks (the same hash blocks on all sides) are drawn with
    replacement.

    paired: P and Q share base ids, so a draw weighs a block alike in both; else P and Q are drawn apart. The
    model's and the reference's sums of one side are always drawn together. No estimate is linear in its sums:
    each draw's value is computed anew, O(draws · blocks · d). None where a side has rows in fewer than
    LEAST_BLOCKS blocks. ValueError where the sums differ in blocks, or level or draws make no sense.
    """
    sides = (p_model, p_reference, q_model, q_reference)
    if len({s.n.shape for s in sides}) != 1:
        raise ValueError("all four sums must be over the same hash blocks")
    if not 0 < level < 1 or draws < 2:
        raise ValueError(f"level {level} must lie in (0, 1), draws {draws} be at least 2")
    has_p, has_q = ((a.n > 0) | (b.n > 0) for a, b in ((p_model, p_reference), (q_model, q_reference)))
    if min(has_p.sum(), has_q.sum()) < LEAST_BLOCKS:
        return None
    rng = np.random.default_rng(seed)
    if paired:
        weights_p = weights_q = block_weights(has_p | has_q, draws, rng)
    else:
        weights_p, weights_q = (block_weights(has, draws, rng) for has in (has_p, has_q))
    emi_p, emi_q = (
        model.reweighted(w).values() - reference.reweighted(w).values()
        for model, reference, w in ((p_model, p_reference, weights_p), (q_model, q_reference, weights_q))
    )
    used = np.isfinite(emi_p) & np.isfinite(emi_q)
    value_p, value_q = emi(p_model, p_reference), emi(q_model, q_reference)
    k_p, k_q = effective_blocks(p_model.n), effective_blocks(q_model.n)
    return EmidIntervals(
        emi_p=_estimate(value_p, emi_p[used], level, k_p),
        emi_q=_estimate(value_q, emi_q[used], level, k_q),
        emid=_estimate(value_p - value_q, (emi_p - emi_q)[used], level, min(k_p, k_q)),
        level=level,
        draws=int(used.sum()),
        paired=paired,
    )


def block_weights(has_rows: NDArray[np.bool_], draws: int, rng: np.random.Generator) -> Float:
    """Return (draws, blocks): how often each block with rows is drawn; 0 for the empty ones."""
    weights = np.zeros((draws, len(has_rows)))
    k = int(has_rows.sum())
    weights[:, has_rows] = rng.multinomial(k, np.full(k, 1 / k), size=draws)
    return weights


def effective_blocks(rows: NDArray[Any]) -> float:
    """Return how many equal blocks tell as much as blocks of so many rows (blocks,): (Σn)²/Σn² (Kish 1965),
    at least 2."""
    n = rows.astype(np.float64)
    return max(2.0, float(n.sum() ** 2 / np.square(n).sum())) if n.any() else 2.0


def _estimate(value: float, draws: Float, level: float, k: float) -> Estimate:
    """A bootstrap of k blocks has (k-1)/k of the variance, and no more degrees of freedom than k - 1: limits
    are as much farther out as the quantile of t is than the normal one."""
    bias = float(draws.mean()) - value
    spread = (draws - draws.mean()) * np.sqrt(k / (k - 1))
    wider = stats.t.ppf((1 + level) / 2, k - 1) / stats.norm.ppf((1 + level) / 2)
    low, high = wider * np.quantile(spread, [(1 - level) / 2, (1 + level) / 2]) + (value - bias)
    return Estimate(value, bias, float(spread.std(ddof=1)), float(low), float(high))
