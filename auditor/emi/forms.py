"""EMI has other forms than the published one, by critics in closed form that know correct answers alone.

The paper trains one critic on the pairs of all models' answers and of the correct answers, and evaluates it
on those rows. A model whose answers repeat the question, or are always the same, then raises its own EMI. A
critic that is trained on correct answers alone does not learn any model's style; cross-fitted, it knows no
row's correct answer by heart. Critics are ridge regressions on random tanh features (`Gaussian`): they do as
well as trained networks at no cost.

`style_free`: of answers and correct answers alike only what a ridge regression on the question and the
length of the answer leaves over. `cosine` is no EMI but the rival that any form must beat.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from auditor.emi.comparison import EmiSums
from auditor.estimators.crossfit import FOLDS, CrossFitted, block_folds
from auditor.estimators.gaussian import FEATURES, RIDGE, Gaussian, root_mean_square
from auditor.sketch import Float
from auditor.sketch.blocks import HASH_BLOCKS

SEEDS = 3
"""Draws of features that a form is the mean over."""
MOST_ROWS = 20_000
"""Rows of the pool that a critic is trained on: a seeded sample beyond that."""

Array = NDArray[np.float32]


@dataclass(frozen=True)
class AnswerRows:
    """`AnswerRows` are rows of one model that have a query, an answer and a correct answer."""

    x: Array
    """(n, d_x) inputs"""
    question: Array
    """(n, d_t) vectors of the questions; zeros where there is none"""
    response: Array
    """(n, d_y)"""
    reference: Array
    """(n, d_y)"""
    chars: Array
    """(n, 2) characters of the answer and of the correct answer; zeros where they are not known"""
    blocks: NDArray[np.int64]
    """(n,) hash blocks of what the rows belong to"""

    def __len__(self) -> int:
        return len(self.x)


class FormSums(NamedTuple):
    """`FormSums` hold what each form is made of, over the hash blocks; the last is a value."""

    reference_trained: EmiSums
    cross_fitted: EmiSums
    style_free: EmiSums
    cosine: float


class Forms:
    """`Forms` hold critics that are fitted on correct answers of a pool, for rows of its groups."""

    def __init__(self, pool: Sequence[AnswerRows], answers: Sequence[AnswerRows], *, seed: int = 0) -> None:
        """Fit the critics on the correct answers of `pool`, each row once; `answers`: rows of every model, of
        whose answers and correct answers the style is learned. O(rows · FEATURES²). ValueError where there
        are rows in fewer than two folds of hash blocks."""
        x, y, blocks = (
            np.concatenate([getattr(rows, name) for rows in pool]) for name in ("x", "reference", "blocks")
        )
        if len(x) > MOST_ROWS:
            kept = np.sort(np.random.default_rng(seed).choice(len(x), MOST_ROWS, replace=False))
            x, y, blocks = x[kept], y[kept], blocks[kept]
        else:
            kept = np.arange(len(x))
        fold = block_folds(blocks, FOLDS)
        if len(np.unique(fold)) < FOLDS:
            raise ValueError(f"rows in fewer than {FOLDS} folds of hash blocks: too few groups to cross-fit")
        self._style = _Style(answers)
        free = np.concatenate([self._style.residual(rows)[1] for rows in pool])[kept]
        seeds = range(seed, seed + SEEDS)
        self._in_sample = [CrossFitted((_critic(s).fit(x, y),)) for s in seeds]
        self._cross_fitted, self._style_free = (
            [
                CrossFitted(tuple(_critic(s).fit(x[fold != k], z[fold != k]) for k in range(FOLDS)))
                for s in seeds
            ]
            for z in (y, free)
        )

    def sums(self, rows: AnswerRows) -> FormSums:
        """Return every form's sums of rows (one at least), O(n · FEATURES · d_y)."""

        def of(critics: Sequence[CrossFitted], response: Array, reference: Array) -> EmiSums:
            return EmiSums(
                *(
                    [critic.sums(rows.x, y, rows.blocks, HASH_BLOCKS) for critic in critics]
                    for y in (response, reference)
                )
            )

        lengths = np.linalg.norm(rows.response, axis=1) * np.linalg.norm(rows.reference, axis=1)
        products = np.einsum("ij,ij->i", rows.response.astype(np.float64), rows.reference)
        return FormSums(
            of(self._in_sample, rows.response, rows.reference),
            of(self._cross_fitted, rows.response, rows.reference),
            of(self._style_free, *self._style.residual(rows)),
            float((products / np.maximum(lengths, 1e-12)).mean()),
        )


def _critic(seed: int) -> Gaussian:
    return Gaussian(features=FEATURES, ridge=RIDGE, seed=seed)


class _Style:
    """The part of an answer's vector that its question and its length explain: a ridge regression, fitted on
    answers and correct answers alike, so that it tells none from the other."""

    def __init__(self, answers: Sequence[AnswerRows]) -> None:
        known = np.concatenate([_known(rows, side) for rows in answers for side in (0, 1)])
        vectors = np.concatenate([y for rows in answers for y in (rows.response, rows.reference)])
        self._mean_z, self._mean_y = known.mean(axis=0), vectors.mean(axis=0, dtype=np.float64)
        z = known - self._mean_z
        self._scale = root_mean_square(z)
        z /= self._scale
        gram = z.T @ z
        gram[np.diag_indices_from(gram)] += RIDGE
        self._slopes = np.linalg.solve(gram, z.T @ (vectors - self._mean_y))

    def residual(self, rows: AnswerRows) -> tuple[Array, Array]:
        """Return (n, d_y) what is left of the answers, and of the correct answers."""
        left = [
            y - (_known(rows, side) - self._mean_z) @ (self._slopes / self._scale) - self._mean_y
            for side, y in enumerate((rows.response, rows.reference))
        ]
        return left[0].astype(np.float32), left[1].astype(np.float32)


def _known(rows: AnswerRows, side: int) -> Float:
    """Return (n, d_t + 1) question and length; the length weighs as much as a coordinate of a unit vector."""
    length = np.log1p(rows.chars[:, side].astype(np.float64)) / np.sqrt(max(rows.question.shape[1], 1))
    return np.column_stack([rows.question.astype(np.float64), length])
