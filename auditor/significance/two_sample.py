"""A drift test asks whether Q's difference from P is more than chance, and how large it is.

Three questions, three tools. *Is there a shift?* The p-value comes from six MMDs together (RJSD has little
power against a moved mean): linear, quadratic and whitened ones, and in the whitened metric the squared and
the local kernel and the rows' lengths. The harmonic mean of their permutation p-values is ranked among the
same permutations. *How large is it?* RJSD, less its mean under permutation (`excess`),
which compares across sample sizes. *How large in truth?* The delete-a-block jackknife of RJSD (`corrected`),
where rows suffice; of its variance the null's, which a jackknife counts twice, is taken off once.

Where Q is a perturbed copy of P (rows aligned, shared base ids), everything is done within pairs. Where some
rows have their copy on the other side (a day that replays old requests among new ones), these are swapped
within pairs and the others permuted, each with statistics of their own: neither part hides the other.
A permutation test is right on average over baselines: windows against one baseline are not independent tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auditor.divergences.mean_discrepancy import mmd
from auditor.divergences.representation import rows64, same_dimension
from auditor.significance.grouped import LEAST_GROUPS, grouped_test
from auditor.significance.jackknife import Left, jackknife
from auditor.significance.permutation import PermutationTest, paired_test, unpaired_test
from auditor.significance.reference_test import reference_test
from auditor.significance.resampling import Pairs, ReferenceRows, RjsdResampler
from auditor.sketch import Float, Sketch
from auditor.sketch.blocks import JACKKNIFE_GROUPS, Index, group_shares, jackknife_groups

ROWS_PER_RANK = 5
"""Rows a side, in multiples of the effective and of the entropy rank, from which the jackknife holds (it
fails badly below).

The entropy rank is there for embeddings with one dominant direction: two samples of one distribution (n=120,
d=256, effective rank 1.2, entropy rank 79) gave a "corrected" value of 5 half-widths of its interval. Fewer
multiples of it were too few: at 90/90 rows, d=256, fast spectrum (the sample's entropy rank is 23 where the
population's is 29) 3 gave 13.5% coverage, and 4 gave a value in 8% of the samples and covered 44% of those.
"""
PERMUTATIONS = 2000
NULL_DRAWS = 16
FAR_MORE = 8
"""Times Q's rows from which what could be made of all rows together (the null of RJSD, the features of a
classifier) is made of P's rows alone: among so many the few of Q would change next to nothing, every Q has
the same yardstick, and it is made once."""
_INSIDE = 3.0
"""Standard deviations of the null by which an excess must be negative to be named."""
NULL_SEED = 0
"""Seed of the null that is made of P's rows alone."""


@dataclass(frozen=True)
class DriftTest:
    """A `DriftTest` is the result of `drift_test`. Divergences are in nats; a field is None where it cannot
    be computed (`reason`)."""

    value: float | None
    """RJSD as in Eq. 12: for parity with the paper, never to be compared across sizes."""
    excess: float | None
    """value - null_mean: 0 on average without a shift at every n and d."""
    null_mean: float | None
    """Mean RJSD after exchanges of rows between P and Q, or of parts of P alone where P has FAR_MORE rows."""
    null_std: float | None
    corrected: float | None
    """RJSD with the jackknife's bias taken off."""
    interval: tuple[float, float] | None
    """Interval of `corrected` at `level`. Where it would lie above `excess` it reaches down to there, and
    half of its width further: the jackknife takes the bias to fall with 1/n, and that of a spectrum with a
    long tail of directions that n rows do not show falls more slowly (d=768, variances j^-2, 300/300 rows:
    corrected 0.0095, excess 0.0049, truth 0.0052; under large shifts it is the excess that is too low)."""
    mmd2: float | None
    """Unbiased quadratic MMD² (within pairs where paired)."""
    p_value: float | None
    n_p: int
    n_q: int
    effective_rank: float | None
    """exp of the entropy of (C_P + C_Q)/2."""
    reason: str | None
    """Why a field is None."""
    level: float
    paired: bool
    """Whether all rows were compared with their copies."""
    seed: int
    copies: int = 0
    """Rows of q that were compared with their copies in p."""
    left: Left | None = field(default=None, repr=False)
    """RJSD with each group of rows left out, where `corrected` is known: for bounds that are made of it."""

    @property
    def inside(self) -> bool:
        """Return whether RJSD is clearly below what exchanges of rows give (by more than 3 null_std): no
        divergence is negative, so the rows are not two independent samples. As a rule Q's rows lie inside P:
        they are drawn from P's own rows, or copies of them."""
        if self.excess is None or self.null_std is None:
            return False
        return self.excess < -_INSIDE * self.null_std


def rows_suffice(resampler: RjsdResampler, rows: int) -> bool:
    """Return whether so many rows a side are enough for the jackknife of RJSD."""
    least = max(ROWS_PER_RANK * resampler.effective_rank, 2 * JACKKNIFE_GROUPS)
    # The spectrum that the other rank takes is not needed where these are too few already.
    return rows >= least and rows >= ROWS_PER_RANK * resampler.entropy_rank


def drift_test(
    p: ArrayLike | ReferenceRows,
    q: ArrayLike,
    seed: int = 0,
    paired: bool = False,
    *,
    permutations: int = PERMUTATIONS,
    null_draws: int = NULL_DRAWS,
    level: float = 0.9,
    blocks_p: NDArray[np.int64] | None = None,
    blocks_q: NDArray[np.int64] | None = None,
    groups_p: NDArray[np.int64] | None = None,
    groups_q: NDArray[np.int64] | None = None,
    shared: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None,
) -> DriftTest:
    """Compare rows q (m, d) with rows p (n, d). Equal to the bit for one seed on a fixed number of threads.

    paired: row i of q is a perturbed copy of row i of p (n = m). blocks_p, blocks_q (n,), (m,): hash blocks
    of the rows' base ids, where rows share base ids: whole blocks are then deleted by the jackknife and,
    where paired (blocks_q is then blocks_p), swapped together. groups_p, groups_q (n,), (m,): labels of rows
    that belong together (turns of a chat, questions about one image): where rows are not paired, whole groups
    are permuted and dealt. `corrected` wants as many groups as rows else, and with fewer than LEAST_GROUPS
    groups on a side there is no p-value. shared (s,), (s,): positions of rows in p and in q that are copies
    of each other, where only some are. Cost: at worst (many rows) some
    2·null_draws + 80 spectra of a d x d matrix, none of them larger than (n+m) x (n+m). What was fitted on p
    before (`ReferenceRows`) saves a part of them, and the numbers are the same to 1e-9.
    ValueError where dimensions differ, a row is not finite, or paired rows are not aligned.
    """
    fitted = p if isinstance(p, ReferenceRows) else None
    zp = rows64(np.asarray(p), "p") if fitted is None else fitted.rows
    zq = rows64(np.asarray(q), "q")
    same_dimension(zp.shape[1], zq.shape[1])
    n, m = len(zp), len(zq)
    if paired and n != m:
        raise ValueError(f"paired rows must be aligned: {n} rows of p, {m} of q")
    pairs = Pairs.all(n) if paired else Pairs.of(n, m, shared)
    if null_draws < 2 or permutations < 1:
        raise ValueError("at least two null draws and one permutation are needed")
    if min(n, m) < 2:
        nothing: dict[str, Any] = dict.fromkeys(
            (
                "value",
                "excess",
                "null_mean",
                "null_std",
                "corrected",
                "interval",
                "mmd2",
                "p_value",
                "effective_rank",
            )
        )
        return DriftTest(
            **nothing, n_p=n, n_q=m, reason="too few rows", level=level, paired=paired, seed=seed
        )

    test_rng, null_rng, group_rng = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(3))
    labels = _labels(groups_p, groups_q, n, m)
    groups = min(n, m) if labels is None else min(len(np.unique(part)) for part in (labels[:n], labels[n:]))
    few = labels is not None and groups < LEAST_GROUPS
    if labels is not None:
        blocks_p = labels[:n] if blocks_p is None else blocks_p
        blocks_q = labels[n:] if blocks_q is None else blocks_q
    far_more = pairs is None and n >= FAR_MORE * m
    if far_more and fitted is None:
        fitted = ReferenceRows.fit(zp)
    if far_more and fitted is not None and labels is None and n >= zp.shape[1]:
        test = reference_test(fitted, zq, permutations, test_rng)
    else:
        sketch_p = None if fitted is None else fitted.sketch
        test = _tested(zp, zq, pairs, labels, blocks_p, permutations, test_rng, sketch_p)
    resampler = RjsdResampler(zp if fitted is None else fitted, zq, pairs)
    if far_more and fitted is not None:
        null = fitted.null(m, null_draws, NULL_SEED, None if labels is None else labels[:n])
    else:
        null = resampler.null(null_draws, null_rng, labels, blocks_p)
    null_mean, null_std = float(null.mean()), float(null.std(ddof=1))

    corrected: float | None = None
    interval: tuple[float, float] | None = None
    reason: str | None = None
    left: Left | None = None
    excess = resampler.value - null_mean
    if not rows_suffice(resampler, groups):
        reason = "too few rows" if labels is None else f"too few groups of rows ({groups})"
    else:
        groups_p = jackknife_groups(n, group_rng, blocks_p)
        groups_q = groups_p if paired else jackknife_groups(m, group_rng, blocks_q)
        if pairs is not None and blocks_q is None:
            groups_q[pairs.q] = groups_p[pairs.p]
        left = replace(resampler.left(groups_p, groups_q), quadratic=null_std**2)
        shares = group_shares(groups_p, groups_q, pairs is not None)
        corrected, _, low, high = jackknife(left, shares, level)
        interval = (low if low <= excess else excess - (high - low) / 2, high)
    return DriftTest(
        value=resampler.value,
        excess=excess,
        null_mean=null_mean,
        null_std=null_std,
        corrected=corrected,
        interval=interval,
        mmd2=test.mmd2,
        p_value=None if few else test.p_value,
        n_p=n,
        n_q=m,
        effective_rank=resampler.effective_rank,
        reason=reason,
        level=level,
        paired=paired,
        seed=seed,
        copies=0 if pairs is None else len(pairs.q),
        left=left,
    )


def _tested(
    p: Float,
    q: Float,
    pairs: Pairs | None,
    labels: Index | None,
    blocks_p: Index | None,
    permutations: int,
    rng: np.random.Generator,
    sketch_p: Sketch | None = None,
) -> PermutationTest:
    """Swap within pairs, where there are any, and permute the rows that have no partner, where both sides
    have some."""
    n = len(p)
    if pairs is None:
        if labels is not None:
            return grouped_test(p, q, labels[:n], labels[n:], permutations, rng)
        return unpaired_test(p, q, permutations, rng, sketch_p)
    blocks = None if blocks_p is None else blocks_p[pairs.p]
    swapped = paired_test(p[pairs.p], q[pairs.q], permutations, rng, blocks)
    if min(len(pairs.rest_p), len(pairs.rest_q)) < 2:
        return swapped
    rest: Index | None = None
    if labels is not None:
        sides = labels[:n][pairs.rest_p], labels[n:][pairs.rest_q]
        if min(len(np.unique(side)) for side in sides) < LEAST_GROUPS:
            return swapped
        rest = np.concatenate(sides)
    alone = _tested(p[pairs.rest_p], q[pairs.rest_q], None, rest, None, permutations, rng)
    return replace(swapped.beside(alone), mmd2=mmd(p, q))


def _labels(
    groups_p: NDArray[np.int64] | None, groups_q: NDArray[np.int64] | None, n: int, m: int
) -> NDArray[np.int64] | None:
    """Labels (n + m,) of the rows' groups, no group on both sides; None where every row is its own."""
    if groups_p is None or groups_q is None:
        return None
    if (len(groups_p), len(groups_q)) != (n, m):
        raise ValueError(f"{len(groups_p)} and {len(groups_q)} group labels for {n} and {m} rows")
    sides = [np.unique(groups, return_inverse=True)[1] for groups in (groups_p, groups_q)]
    labels = np.concatenate([sides[0], sides[1] + sides[0].max() + 1])
    return None if labels.max() + 1 == n + m else labels


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's step-down adjusted p-values, in the order given: they bound the chance of any false
    alarm."""
    p = _checked(p_values)
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p))))
    return _in_order(steps, order)


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Return Benjamini-Hochberg adjusted p-values, in the order given: they bound the share of false
    alarms."""
    p = _checked(p_values)
    order = np.argsort(p, kind="stable")
    raised = p[order] * len(p) / np.arange(1, len(p) + 1)
    return _in_order(np.minimum.accumulate(raised[::-1])[::-1], order)


def _checked(p_values: Sequence[float]) -> NDArray[np.float64]:
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise ValueError("p-values must lie in [0, 1]")
    return p


def _in_order(adjusted: NDArray[np.float64], order: NDArray[np.intp]) -> list[float]:
    out = np.empty(len(order))
    out[order] = np.minimum(adjusted, 1.0)
    return [float(v) for v in out]
