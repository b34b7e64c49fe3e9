"""Has the law of b given a changed, where neither a nor b need have moved by itself?

A question dealt to another picture, or a model that was exchanged for one with the same answers in other
places, leaves every marginal as it was. What changes is how b goes with a, and a critic that was fitted on P
knows how it should: the score of a row is <μ(a) - mean, b - mean>, μ the critic's mean of b given a. On the
rows of P and Q the mean score is compared, by permuting whole groups of rows.

μ is a ridge regression on random features (`Gaussian`), which costs no training steps. Everything is
cross-fitted: groups of rows fall into five folds by their hash, those of Q as those of P. Rows of a fold,
whichever side they are of, have their scores from a critic that was fitted on three other folds of P, less
what the score should be at this a: a line in ‖μ(a) - mean‖² that was fitted on the fifth. So without a change
rows of both sides are exchangeable in each fold, and the test is exact; and a new mix of known a alone moves
the mean score little.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auditor.divergences.representation import rows64
from auditor.estimators.gaussian import FEATURES, Gaussian
from auditor.significance.permutation import PermutationTest, log_choices
from auditor.sketch import Float
from auditor.sketch.blocks import Index, group_sums, hash_blocks

FOLDS = 5
LEAST_ROWS_P = 100
LEAST_GROUPS_Q = 20
"""Fewer groups than this, in all folds together, are not tested."""


class _Judge(NamedTuple):
    """One fold's critic, its means, and the line that scores are taken from, in units of their spread."""

    critic: Gaussian
    mean_mu: Float
    mean_b: Float
    line: Float
    spread: float

    def scores(self, a: Float, b: Float) -> Float:
        """Return (r,) standardised scores of rows a (r, d_a), b (r, d_b)."""
        score, square = _products(self.critic, self.mean_mu, self.mean_b, a, b)
        return np.asarray((score - self.line[0] - self.line[1] * square) / self.spread)


class DependenceTest(NamedTuple):
    """What was found of the law of b given a."""

    change: float
    """Mean score of Q less that of P, in standard deviations of P's scores: below 0 where b goes with a less
    than it did."""
    p_value: float
    n_p: int
    n_q: int


@dataclass(frozen=True, eq=False)
class ReferenceScores:
    """Critics of each fold and the scores of P's rows: fitted once, they serve every Q."""

    judges: tuple[_Judge, ...]
    scores: Float
    """(n,)"""
    folds: Index
    """(n,)"""
    groups: NDArray[np.str_]
    """(n,)"""

    @classmethod
    def fit(cls, a: ArrayLike, b: ArrayLike, groups: NDArray[np.str_]) -> ReferenceScores:
        """Fit on P's rows a (n, d_a), b (n, d_b), and the names (n,) of their groups. Five times O(n d k +
        k³) for k = 400 features.

        ValueError where rows are fewer than LEAST_ROWS_P, a fold has too few of them, or one is not finite.
        """
        rows_a, rows_b = rows64(np.asarray(a), "a"), rows64(np.asarray(b), "b")
        folds = fold_of(groups)
        counts = np.bincount(folds, minlength=FOLDS)
        if len(rows_a) < LEAST_ROWS_P or counts.min() < LEAST_ROWS_P // (2 * FOLDS):
            raise ValueError(
                f"{len(rows_a)} rows in {len(np.unique(groups))} groups are too few to learn how one goes "
                "with the other"
            )
        judges, scores = [], np.empty(len(rows_a))
        for fold in range(FOLDS):
            held, line = folds == fold, folds == (fold + 1) % FOLDS
            judge = _judge(rows_a, rows_b, ~held & ~line, line)
            scores[held] = judge.scores(rows_a[held], rows_b[held])
            judges.append(judge)
        return cls(tuple(judges), scores, folds, np.asarray(groups, dtype=np.str_))

    def test(
        self,
        a: ArrayLike,
        b: ArrayLike,
        groups: NDArray[np.str_],
        permutations: int = 2000,
        seed: int = 0,
    ) -> DependenceTest:
        """Test Q's rows a (m, d_a), b (m, d_b) with the names (m,) of their groups.

        ValueError where they are in fewer than LEAST_GROUPS_Q groups, or a row is not finite.
        """
        rows_a, rows_b = rows64(np.asarray(a), "a"), rows64(np.asarray(b), "b")
        folds = fold_of(groups)
        if len(np.unique(groups)) < LEAST_GROUPS_Q:
            raise ValueError(f"{len(np.unique(groups))} groups of rows, fewer than {LEAST_GROUPS_Q}")
        scores = np.empty(len(rows_a))
        for fold, judge in enumerate(self.judges):
            held = folds == fold
            if held.any():
                scores[held] = judge.scores(rows_a[held], rows_b[held])
        rng = np.random.default_rng(seed)
        # Sums of scores and rows of Q's side in each draw, a fold at a time: labels change within folds.
        sums, rows, log_ways = np.zeros(permutations + 1), np.zeros(permutations + 1), 0.0
        for fold in range(FOLDS):
            of_p = _sums(self.scores[self.folds == fold], self.groups[self.folds == fold])
            of_q = _sums(scores[folds == fold], groups[folds == fold])
            units = np.concatenate([of_q, of_p])
            drawn = units[drawn_apart(len(units), len(of_q), permutations, rng)].sum(axis=1)
            sums += np.append(of_q[:, 0].sum(), drawn[:, 0])
            rows += np.append(of_q[:, 1].sum(), drawn[:, 1])
            log_ways += log_choices(len(of_p), len(of_q)) if len(of_p) and len(of_q) else 0.0
        whole, n = float(self.scores.sum() + scores.sum()), len(self.scores) + len(scores)
        change = sums / np.maximum(rows, 1) - (whole - sums) / np.maximum(n - rows, 1)
        # Rounded, so that draws that repeat the observed one tie with it.
        test = PermutationTest(0.0, np.round(np.abs(change), 12)[None], log_ways)
        return DependenceTest(
            float(scores.mean() - self.scores.mean()), test.p_value, len(self.scores), len(scores)
        )


def fold_of(groups: NDArray[np.str_]) -> Index:
    """Return (n,) fold of each row by the name of its group."""
    return hash_blocks(groups.tolist()) % FOLDS


def drawn_apart(k: int, take: int, draws: int, rng: np.random.Generator) -> Index:
    """Return (draws, take) numbers below k, in each draw without one coming twice: the first steps of a
    shuffle, all draws at once."""
    order = np.tile(np.arange(k), (draws, 1))
    every = np.arange(draws)
    for place in range(take):
        other = rng.integers(place, k, size=draws)
        order[every, place], order[every, other] = order[every, other], order[every, place]
    return order[:, :take]


def _judge(a: Float, b: Float, train: NDArray[np.bool_], line: NDArray[np.bool_]) -> _Judge:
    critic = Gaussian(features=FEATURES).fit(a[train], b[train])
    mean_mu = critic.moments(a[train])[0].mean(axis=0, dtype=np.float64)
    mean_b = b[train].mean(axis=0)
    score, square = _products(critic, mean_mu, mean_b, a[line], b[line])
    design = np.stack([np.ones_like(square), square], axis=1)
    coefficients = np.asarray(np.linalg.lstsq(design, score, rcond=None)[0], dtype=np.float64)
    spread = float((score - design @ coefficients).std()) or 1.0
    return _Judge(critic, mean_mu, mean_b, coefficients, spread)


def _products(critic: Gaussian, mean_mu: Float, mean_b: Float, a: Float, b: Float) -> tuple[Float, Float]:
    """(r,) scores <μ(a) - mean, b - mean>, and (r,) ‖μ(a) - mean‖²."""
    mu = critic.moments(a)[0] - mean_mu
    return np.einsum("ij,ij->i", mu, b - mean_b), np.einsum("ij,ij->i", mu, mu)


def _sums(scores: Float, groups: NDArray[np.str_]) -> Float:
    """(k, 2) sum of scores, and number of rows, of each group."""
    return group_sums(np.stack([scores, np.ones_like(scores)], axis=1), groups)
