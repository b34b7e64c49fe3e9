"""This module computes what bounds need of the answers: their divergence from the references, entropies, the
codebook."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import jensenshannon

from auditor.bounds.discrete_entropy import entropy
from auditor.bounds.entropies import Entropy, Known, answer_entropy
from auditor.divergences.representation import rows64
from auditor.neighbours.codebook import learn_codebook, nearest_cell
from auditor.profiles.profile import Profile, having
from auditor.significance import rows_suffice
from auditor.significance.resampling import Pairs, RjsdResampler
from auditor.sketch.blocks import JACKKNIFE_GROUPS, deleted_together


class Grouped(NamedTuple):
    """The value is a statistic of one side's rows; `without` is the statistic with each group of hash blocks
    left out (None: too few rows); `null` is its mean where chance alone tells the two sides apart."""

    value: float
    without: Mapping[int, float] | None
    null: float | None = None

    @property
    def excess(self) -> float | None:
        """Return the value less what chance alone gives."""
        return None if self.null is None else self.value - self.null


NULL_DRAWS = 10
"""Draws of what chance alone gives: answers and references change places, whole groups of rows at a time."""


def response_gap(rows: Profile) -> Grouped | None:
    """Measure δ = RJSD of the model's responses to the references (nats), over sampled rows that have
    both."""
    labelled = having(rows.sample, "response", "reference")
    if not labelled.any():
        return None
    response, reference = (rows64(rows.sample.rows[n][labelled], n) for n in ("response", "reference"))
    resampler = RjsdResampler(response, reference, Pairs.all(len(response)))
    of_groups = rows.sample.groups[labelled]
    labels = np.unique(of_groups, return_inverse=True)[1].astype(np.int64)
    null = float(resampler.null(NULL_DRAWS, np.random.default_rng(0), blocks=labels).mean())
    if not rows_suffice(resampler, int(labelled.sum())):
        return Grouped(resampler.value, None, null)
    groups = deleted_together(of_groups)
    left = resampler.left(groups, groups)
    return Grouped(left.value, {g: value for (_, g), value in left.without.items()}, null)


@dataclass(frozen=True)
class AnswerSide:
    """This value is what bounds need of one side's answers."""

    delta: Grouped | None
    cells: Grouped | None
    """δ of the quantised answers (JSD of the laws of their cells)."""
    answers: Entropy | None
    """H(P_Yθ) of the quantised answers."""
    varying: Grouped | None
    """Its plug-in value, and without each group of records: how it varies."""
    symbols: int | None


def answer_side(rows: Profile, codebook: NDArray[np.float32] | None) -> AnswerSide:
    """Compute what bounds need of the sampled rows of P, or of Q."""
    if codebook is None:
        return AnswerSide(response_gap(rows), None, None, None, None)
    return AnswerSide(
        response_gap(rows), cell_gap(rows, codebook), *_answers(rows, codebook), symbols=len(codebook)
    )


@dataclass(frozen=True)
class AnswerTerms:
    """These terms are what bounds need of the answers: entropies, and divergences from the references."""

    p: AnswerSide
    q: AnswerSide
    known: Known

    @property
    def delta_q(self) -> float | None:
        """Return δ of Q."""
        return None if self.q.delta is None else self.q.delta.value


def answer_terms(p: AnswerSide, q: AnswerSide, known: Known) -> AnswerTerms:
    """Return the terms of both sides; `known` holds what is known of entropies beside the codebook's own."""
    if p.symbols is not None:
        known = replace(known, symbols=p.symbols, answers_p=p.answers, answers_q=q.answers)
    return AnswerTerms(p, q, known)


def answer_codebook(sets: Sequence[Profile], symbols: int, seed: int) -> NDArray[np.float32] | None:
    """Learn (K, d) centroids, K at most `symbols`, of the sampled answers and references of `sets`: one
    codebook for a whole run, so that cells mean the same everywhere. None where there is none of either."""
    rows = [
        profile.sample.rows[name][having(profile.sample, name)]
        for profile in sets
        for name in ("response", "reference")
        if name in profile.sample.rows
    ]
    vectors = np.concatenate(rows) if rows else np.zeros((0, 0), np.float32)
    return learn_codebook(vectors, symbols, seed) if len(vectors) else None


def _answers(rows: Profile, codebook: NDArray[np.float32]) -> tuple[Entropy | None, Grouped | None]:
    has = having(rows.sample, "response")
    if "response" not in rows.sample.rows or not has.any():
        return None, None
    cells = nearest_cell(rows.sample.rows["response"][has], codebook)
    groups = rows.sample.groups[has]
    estimate = answer_entropy([[c] for c in cells.tolist()], len(codebook), groups.tolist())
    counts = np.zeros((JACKKNIFE_GROUPS, len(codebook)))
    np.add.at(counts, (deleted_together(groups), cells), 1)
    return estimate, _without_each(counts, lambda law: float(entropy(law)))


def cell_gap(rows: Profile, codebook: NDArray[np.float32]) -> Grouped | None:
    """Measure the JSD (nats) of the laws of cells of the responses and of the references, over rows that have
    both."""
    labelled = having(rows.sample, "response", "reference")
    if not labelled.any():
        return None
    of_groups = rows.sample.groups[labelled]
    groups = deleted_together(of_groups)
    cells = np.stack(
        [nearest_cell(rows.sample.rows[n][labelled], codebook) for n in ("response", "reference")]
    )
    counts = np.zeros((JACKKNIFE_GROUPS, 2, len(codebook)))
    for side in (0, 1):
        np.add.at(counts[:, side], (groups, cells[side]), 1)

    def divergence(laws: NDArray[np.float64]) -> float:
        return float(jensenshannon(laws[0], laws[1]) ** 2)

    labels, rng = np.unique(of_groups, return_inverse=True)[1], np.random.default_rng(0)
    null = np.empty(NULL_DRAWS)
    for i in range(NULL_DRAWS):
        swap = rng.integers(2, size=int(labels.max()) + 1)[labels]
        dealt = np.stack([np.where(swap, cells[1], cells[0]), np.where(swap, cells[0], cells[1])])
        null[i] = divergence(np.stack([np.bincount(d, minlength=len(codebook)) / len(swap) for d in dealt]))
    return _without_each(counts, divergence)._replace(null=float(null.mean()))


def _without_each(counts: NDArray[np.float64], statistic: Callable[[NDArray[np.float64]], float]) -> Grouped:
    """Compute a statistic of the laws of cells, whole and without each group, by (groups, ..., cells)
    counts."""

    def value(kept: NDArray[np.float64]) -> float:
        return statistic(kept / kept.sum(axis=-1, keepdims=True))

    whole = counts.sum(axis=0)
    present = [g for g, own in enumerate(counts) if own.any()]
    return Grouped(value(whole), {g: value(whole - counts[g]) for g in present} if len(present) > 1 else None)
