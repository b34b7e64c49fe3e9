"""From sums to a report's row: rows Q held against rows P under one model, a scenario or a window alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from auditor.bounds.entropies import Known
from auditor.estimators.crossfit import FoldedClub
from auditor.measures import reducer
from auditor.measures.label_free import label_free
from auditor.profiles.rows import means
from auditor.profiles.sketching import SketchSet
from schemas.report import Bound, Interval, Intervals, LabelFree, Row


@dataclass(frozen=True)
class Against:
    """The in-distribution rows, and what all others are measured with."""

    p: SketchSet
    answers: reducer.AnswerSide
    """Of P."""
    critics: Sequence[FoldedClub]
    """Where there are none there is no EMI, and of label-free voices not the reweighted one."""
    level: float
    """Of intervals."""


@dataclass(frozen=True)
class Assessed:
    """All that sums say of rows Q under one model."""

    q: SketchSet
    answers: reducer.AnswerTerms
    relevance: reducer.Relevance | None
    information: float | None
    """I(X; the model's response), nats."""
    divergences: reducer.Divergences = field(default_factory=reducer.Divergences)
    bounds: Mapping[str, Bound] = field(default_factory=dict)
    lacking: Mapping[str, str] = field(default_factory=dict)
    """Why a bound or a term of it is missing, by path."""
    label_free: LabelFree | None = None
    silent: str | None = None
    """Why there is no `label_free`."""
    itself: bool = False
    """Whether Q is P: then there is no EMID."""

    @property
    def n(self) -> int:
        """Usable rows."""
        return self.q.sample.seen


class Accuracy(NamedTuple):
    """Mean score of the graded answers."""

    value: float | None = None
    interval: Interval | None = None


NOT_GRADED = Accuracy()


def first(against: Against, *, seed: int) -> Assessed:
    """The in-distribution rows by themselves: nothing has moved, so there are no divergences and bounds."""
    p = against.p
    return Assessed(
        p,
        reducer.answer_terms(against.answers, against.answers, Known()),
        reducer.relevance(p, p, seed=seed, level=against.level) if against.critics else None,
        reducer.model_information(p),
        itself=True,
    )


@dataclass(frozen=True)
class New:
    """Rows Q, and what was found of them before."""

    q: SketchSet
    answers: reducer.AnswerSide
    divergences: reducer.Divergences
    d_x: float | None
    """Divergence of the inputs (nats)."""
    known: Known = field(default_factory=Known)
    conditional: Mapping[str, float] | None = None
    """Terms of Theorem 4.6; None: that bound is not wanted."""


def assess(against: Against, new: New, *, seed: int) -> Assessed:
    """Rows Q held against P: bounds, label-free risk, EMI and EMID."""
    p, q, level = against.p, new.q, against.level
    answers = reducer.answer_terms(against.answers, new.answers, new.known)
    groups = reducer.grouped(p, q, new.divergences, level)
    bounds, lacking = reducer.bounds(new.divergences.found, new.d_x, answers, groups, new.conditional)
    free, silent = label_free(
        p, q, against.critics, bound=reducer.ceiling(bounds, answers), seed=seed, level=level
    )
    return Assessed(
        q,
        answers,
        reducer.relevance(p, q, seed=seed, level=level) if against.critics else None,
        reducer.model_information(q),
        new.divergences,
        bounds,
        lacking,
        free,
        silent,
    )


def accuracy(scores: NDArray[np.float64], level: float) -> Accuracy:
    """Mean of graded scores (n,) with its t interval; neither without any, no interval of one alone."""
    if not len(scores):
        return NOT_GRADED
    mean = float(scores.mean())
    if len(scores) < 2:
        return Accuracy(mean)
    half = float(stats.t.ppf((1 + level) / 2, len(scores) - 1) * scores.std(ddof=1) / np.sqrt(len(scores)))
    return Accuracy(mean, (max(0.0, mean - half), min(1.0, mean + half)))


def row(
    of: Assessed, facts: Mapping[str, int], about: Mapping[str, Any], graded: Accuracy = NOT_GRADED
) -> Row:
    """The report's row. `facts`: see `rows.descriptors`; `about`: fields of `Row` that are no measures."""
    relevance, shift = of.relevance, None if of.itself else of.relevance
    return Row(
        **about,
        n=of.n,
        n_labelled=of.q.sketches["reference"].n,
        n_emi=relevance.n if relevance else None,
        mi_model=of.information,
        mi_reference=relevance.mi_reference if relevance else None,
        emi=relevance.emi if relevance else None,
        emi_spread=relevance.emi_spread if relevance else None,
        emid=shift.emid if shift else None,
        emid_spread=shift.emid_spread if shift else None,
        intervals=Intervals(
            emi=relevance.emi_interval if relevance else None,
            emid=shift.emid_interval if shift else None,
            accuracy=graded.interval,
        ),
        bounds=dict(of.bounds),
        divergences=of.divergences.found,
        delta=of.answers.delta_q,
        label_free=of.label_free,
        accuracy=graded.value,
        descriptors=means(facts) | of.q.norms.descriptors(),
    )
