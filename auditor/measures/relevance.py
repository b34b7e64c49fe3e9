"""This module estimates EMI and EMID of rows Q against rows P, means over the critics (nats)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditor.emi import emi, paired_bootstrap
from auditor.measures.pairing import aligned
from auditor.profiles.profile import Profile
from auditor.protocols import Sums
from schemas.report import Interval


@dataclass(frozen=True)
class Relevance:
    """The relevance is EMI on P and Q and their difference (nats): means over the critics, spread beside
    them."""

    mi_model: float
    mi_reference: float
    emi: float
    emi_spread: float
    emid: float
    emid_spread: float
    n: int
    emi_interval: Interval | None
    emid_interval: Interval | None


def relevance(p: Profile, q: Profile, *, seed: int, level: float) -> Relevance | None:
    """Estimate EMI and EMID over rows that have a query, an answer and a reference; None where a side has
    none.

    An interval is the mean over critics of the paired block bootstrap's: the critics are held fixed, and see
    the same draws. What training a critic anew would change is the spread, not the interval.
    """
    quadruples: list[tuple[Sums, Sums, Sums, Sums]] = list(
        zip(
            p.critic_sums["emi_model"],
            p.critic_sums["emi_reference"],
            q.critic_sums["emi_model"],
            q.critic_sums["emi_reference"],
            strict=True,
        )
    )
    if not quadruples or min(s.n.sum() for s in quadruples[0]) == 0:
        return None
    shared = aligned(p.sample, q.sample).related
    boots = [paired_bootstrap(*four, level=level, seed=seed, paired=shared) for four in quadruples]
    emis = np.array([emi(four[2], four[3]) for four in quadruples])
    emids = np.array([emi(four[0], four[1]) - emi(four[2], four[3]) for four in quadruples])
    intervals = [b for b in boots if b is not None]
    known = len(intervals) == len(quadruples)
    return Relevance(
        mi_model=float(np.mean([four[2].value() for four in quadruples])),
        mi_reference=float(np.mean([four[3].value() for four in quadruples])),
        emi=float(emis.mean()),
        emi_spread=_spread(emis),
        emid=float(emids.mean()),
        emid_spread=_spread(emids),
        n=int(quadruples[0][2].n.sum()),
        emi_interval=_mean_interval([(b.emi_q.low, b.emi_q.high) for b in intervals]) if known else None,
        emid_interval=_mean_interval([(b.emid.low, b.emid.high) for b in intervals]) if known else None,
    )


def model_information(rows: Profile) -> float | None:
    """Estimate I(X; model's response) in nats, over every answered row; the mean over the critics. No
    references."""
    sums = rows.critic_sums["model"]
    return float(np.mean([s.value() for s in sums])) if sums and sums[0].n.sum() else None


def _spread(values: NDArray[np.float64]) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else 0.0


def _mean_interval(intervals: Sequence[Interval]) -> Interval:
    low, high = np.mean(np.array(intervals), axis=0)
    return float(low), float(high)
