"""Two models are compared on the same records by paired differences of EMI (nats).

Two models answer the same questions, so a draw of hash blocks weighs both alike, over one scenario or many
(the same base id falls into the same block under every shift): what makes a question hard is common to both
and cancels. The critics are held fixed: intervals are about the sample of records, not about training, nor
about scenarios that were not audited.

The bootstrap gives a difference's bias and standard error, Student's t (blocks - 1 degrees) the interval and
the p-value, so that the two always agree and small p-values survive Holm's factor: the least p-value from
shares of 1,000 draws, 0.001, is too large over 61 scenarios.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from scipy import stats

from auditor.emi import LEAST_BLOCKS, block_weights, effective_blocks, emi
from auditor.protocols import Sums
from auditor.significance import benjamini_hochberg, holm
from auditor.sketch import Float
from schemas.report import Status

Adjustment = Literal["holm", "benjamini-hochberg"]
_ADJUST = {"holm": holm, "benjamini-hochberg": benjamini_hochberg}


class EmiSums(NamedTuple):
    """`EmiSums` hold what a model's EMI over one scenario is made of: a pair of sums for each critic."""

    model: Sequence[Sums]
    """of (x, ŷ); `Profile.critic_sums["emi_model"]`"""
    reference: Sequence[Sums]
    """of (x, y) over the same rows; `Profile.critic_sums["emi_reference"]`"""

    @property
    def value(self) -> float:
        """Return EMI, the mean over the critics."""
        return float(np.mean([emi(m, r) for m, r in zip(self.model, self.reference, strict=True)]))


@dataclass(frozen=True)
class Difference:
    """A `Difference` is EMI of the first model less EMI of the second, in nats: positive where the first is
    better."""

    value: float
    """As estimated."""
    corrected: float | None
    """`value` less the bootstrap's bias; interval and p-values are centred on it. None: see `reason`."""
    std: float | None
    low: float | None
    high: float | None
    level: float
    p_value: float | None
    """Two-sided, of no difference."""
    blocks: int
    """Hash blocks, as many equal ones as tell as much (`effective_blocks`)."""
    p_adjusted: float | None = None
    """Over the scenarios, where there are several."""
    reason: str | None = None


@dataclass(frozen=True)
class Comparison:
    """A `Comparison` is of two models over many scenarios."""

    scenarios: dict[str, Difference]
    mean: Difference
    """The mean difference over the scenarios, each weighing the same; from the same draws."""
    adjustment: Adjustment
    better: int
    """Scenarios where the first is better at adjusted p <= 1 - level."""
    worse: int


@dataclass(frozen=True)
class NonInferiority:
    """`NonInferiority` says whether the new model is no worse than the current one by more than a margin."""

    status: Status
    """pass: no worse than that. fail: worse than that. undecided: the records do not tell."""
    because: str
    difference: Difference
    """New less current."""
    margin: float
    """nats"""
    bound: float | None
    """The difference is at least this, with one-sided confidence `level`."""
    level: float
    p_value: float | None
    """One-sided, of a new model that is worse by the margin or more: small where it passes."""


def compare(a: EmiSums, b: EmiSums, *, level: float = 0.9, draws: int = 1000, seed: int = 0) -> Difference:
    """Return EMI of a less EMI of b over one scenario's rows. compare(b, a) is its exact mirror image.

    The sums are over the same hash blocks, one pair a critic, the same critics on both sides. O(draws ·
    blocks · d) a sum; sums that are one object on both sides (references) are drawn once and cancel exactly.
    Rows in fewer than LEAST_BLOCKS blocks: the value alone, with the reason. ValueError where sums differ in
    blocks or critics, one has no rows, or level or draws make no sense.
    """
    drawn = _Draws([a, b], level, draws, seed)
    return drawn.difference(a.value - b.value, drawn.emi_values(a) - drawn.emi_values(b))


def compare_over(
    pairs: Mapping[str, tuple[EmiSums, EmiSums]],
    *,
    level: float = 0.9,
    draws: int = 1000,
    seed: int = 0,
    adjustment: Adjustment = "holm",
) -> Comparison:
    """Compare a with b over scenarios (scenario -> (a, b)): each difference, p-values adjusted over the
    scenarios, and the mean difference.

    All scenarios are drawn with the same block weights, so copies of one record under many shifts count as
    the one record they are; scenarios that share no record vary apart all the same. Holm bounds the chance
    of any false claim, Benjamini-Hochberg the share of false ones. ValueError where there is no scenario.
    """
    if not pairs:
        raise ValueError("no scenario to compare over")
    drawn = _Draws([side for pair in pairs.values() for side in pair], level, draws, seed)
    values = {name: a.value - b.value for name, (a, b) in pairs.items()}
    spreads = {name: drawn.emi_values(a) - drawn.emi_values(b) for name, (a, b) in pairs.items()}
    mean = drawn.difference(float(np.mean(list(values.values()))), np.mean(list(spreads.values()), axis=0))
    differences = {
        name: drawn.difference(values[name], spreads[name], [a, b]) for name, (a, b) in pairs.items()
    }
    tested = {name: d.p_value for name, d in differences.items() if d.p_value is not None}
    for name, p in zip(tested, _ADJUST[adjustment](list(tested.values())), strict=True):
        differences[name] = replace(differences[name], p_adjusted=p)
    clear = [d for d in differences.values() if d.p_adjusted is not None and d.p_adjusted <= 1 - level]
    return Comparison(
        differences,
        mean,
        adjustment,
        better=sum(d.corrected is not None and d.corrected > 0 for d in clear),
        worse=sum(d.corrected is not None and d.corrected < 0 for d in clear),
    )


def non_inferiority(difference: Difference, margin: float, *, level: float = 0.95) -> NonInferiority:
    """Judge a difference (new less current, of one scenario or the mean over many).

    Pass where the lower one-sided bound lies above -margin, fail where the upper one lies below it,
    undecided between. `margin` (nats, at least 0) is what one is ready to lose, stated before looking.
    """
    if not (np.isfinite(margin) and margin >= 0):
        raise ValueError(f"the margin is a finite number of nats, at least 0, not {margin}")
    if not 0.5 < level < 1:
        raise ValueError(f"level {level} must lie in (0.5, 1)")
    d = difference
    if d.corrected is None or d.std is None:
        because = f"the difference {d.value:+.3f} nats has no interval: {d.reason}"
        return NonInferiority("undecided", because, d, margin, None, level, None)
    half = float(stats.t.ppf(level, d.blocks - 1)) * d.std
    low, high = d.corrected - half, d.corrected + half
    p_value = _upper_tail(d.corrected + margin, d.std, d.blocks)
    status: Status = "pass" if low > -margin else "fail" if high < -margin else "undecided"
    why = {
        "pass": "no worse than the margin allows",
        "fail": "worse by more than the margin",
        "undecided": "the interval holds the margin: more records would tell",
    }[status]
    side, end = ("at most", high) if status == "fail" else ("at least", low)
    because = (
        f"new less current {d.corrected:+.3f} nats, {side} {end:+.3f} with {100 * level:g}% confidence, "
        f"margin {margin:g}: {why}"
    )
    return NonInferiority(status, because, d, margin, low, level, p_value)


class _Draws:
    """`_Draws` holds one set of block weights, and gives each side's EMI under it."""

    def __init__(self, sides: Sequence[EmiSums], level: float, draws: int, seed: int) -> None:
        all_sums = [s for side in sides for s in (*side.model, *side.reference)]
        if not all_sums or len({s.n.shape for s in all_sums}) != 1:
            raise ValueError("all sums must be over the same hash blocks")
        if len({len(part) for side in sides for part in side}) != 1:
            raise ValueError("all sides must have the same critics, one sum each")
        if not 0 < level < 1 or draws < 2:
            raise ValueError(f"level {level} must lie in (0, 1), draws {draws} be at least 2")
        self._level = level
        self._rows = np.sum([s.n for side in sides for s in side.model], axis=0)
        has_rows = np.any([s.n > 0 for s in all_sums], axis=0)
        self._weights = (
            block_weights(has_rows, draws, np.random.default_rng(seed))
            if has_rows.any()
            else np.zeros((draws, len(has_rows)))
        )
        self._cache: dict[int, Float] = {}

    def emi_values(self, side: EmiSums) -> Float:
        """Return (draws,) EMI of a side, the mean over its critics."""
        per_critic = [
            self._values(m) - self._values(r) for m, r in zip(side.model, side.reference, strict=True)
        ]
        return np.asarray(np.mean(per_critic, axis=0))

    def _values(self, sums: Sums) -> Float:
        # The sides live as long as this object, so an id stands for one sum.
        if id(sums) not in self._cache:
            self._cache[id(sums)] = sums.reweighted(self._weights).values()
        return self._cache[id(sums)]

    def difference(self, value: float, drawn: Float, sides: Sequence[EmiSums] = ()) -> Difference:
        """Return a difference with the interval and p-value of its draws. `sides` are those whose blocks
        count, where these are not all."""
        rows: Float = self._rows
        if sides:
            rows = np.sum([s.n for side in sides for s in side.model], axis=0)
        blocks = int((rows > 0).sum())
        drawn = drawn[np.isfinite(drawn)]
        if blocks < LEAST_BLOCKS or len(drawn) < 2:
            why = f"rows in {blocks} hash blocks, fewer than the {LEAST_BLOCKS} that a bootstrap needs"
            return Difference(value, None, None, None, None, self._level, None, blocks, reason=why)
        k = int(effective_blocks(rows))
        # A bootstrap of k blocks has (k-1)/k of the variance.
        std = float(drawn.std(ddof=1)) * float(np.sqrt(k / (k - 1)))
        corrected = 2 * value - float(drawn.mean())
        half = float(stats.t.ppf((1 + self._level) / 2, k - 1)) * std
        return Difference(
            value,
            corrected,
            std,
            corrected - half,
            corrected + half,
            self._level,
            min(1.0, 2 * _upper_tail(abs(corrected), std, k)),
            k,
        )


def _upper_tail(distance: float, std: float, blocks: int) -> float:
    """P(t >= distance / std); a difference that never varies is certain."""
    if std == 0:
        return 0.5 if distance == 0 else float(distance < 0)
    return float(stats.t.sf(distance / std, blocks - 1))
