"""This module compares rows Q with the reference data under one model: everything that profiles say, but for
the verdict.

A scenario of an audit and a window of traffic are assessed alike. What is found can be written down, so that
a worker finds it and whoever asked reads it, to the bit.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from scipy import stats

from auditor.bounds.entropies import (
    EntropyShift,
    Known,
    QueryEntropies,
    entropy_shift,
    from_log_probabilities,
    upper_entropy,
)
from auditor.errors import AuditError
from auditor.estimators.crossfit import CrossFitted
from auditor.measures.answers import AnswerSide, answer_side, answer_terms
from auditor.measures.bounds import bounds, ceiling, grouped
from auditor.measures.conditional import conditionals
from auditor.measures.contents import Contents, contents
from auditor.measures.credible import Checked, checked
from auditor.measures.divergences import Divergences, input_divergence
from auditor.measures.label_free import label_free
from auditor.measures.reference import Fitted
from auditor.measures.relevance import Relevance, model_information, relevance
from auditor.measures.row_counts import row_counts
from auditor.measures.sampled_entropies import query_entropies
from auditor.profiles.profile import Profile
from auditor.profiles.rows import means
from auditor.significance.design_effect import effective_scores
from auditor.storage.run_dir import write_bytes
from schemas.config import BoundsConfig
from schemas.record import Quarantined
from schemas.report import Interval, Intervals, Measures

FORMAT = 2
"""Raised when assessments come to say other things of the same rows: kept ones are made again."""
NO_ROW = "no usable row"
TERMS = ("emi", "emid", "mi_model", "label_free")
"""What is missing where there is no usable row, beside the divergences."""


@dataclass(frozen=True)
class Settings:
    """These settings are the same for all assessments of a run."""

    level: float
    """The level of intervals."""
    bounds: BoundsConfig
    conditional: bool = False
    """Whether the conditional divergences of Theorem 4.6 are wanted, too."""
    no_critic: str | None = None
    """Why there is no critic, where there is none."""
    ungraded: str = "no answer was graded"
    """Why rows without a graded answer have none, and the way out."""


@dataclass(frozen=True)
class Reference:
    """A reference is the rows P under one model, and what is made of them alone."""

    p: Profile
    answers: AnswerSide
    critics: Sequence[CrossFitted]
    """The critics; without any there is no EMI, and no reweighted label-free estimate."""
    codebook: NDArray[np.float32] | None
    """The codebook of answers and correct answers."""
    fitted: Fitted | None = None
    """The values that were fitted on P before."""
    checked: Checked | None = None
    """Whether the encoders hold the correct answers of P."""

    @classmethod
    def of(
        cls,
        p: Profile,
        critics: Sequence[CrossFitted],
        codebook: NDArray[np.float32] | None,
        fitted: Fitted | None = None,
    ) -> Reference:
        """Make the reference of a profile with usable rows."""
        check = checked(p) if critics else None
        return cls(p, answer_side(p, codebook), critics, codebook, fitted, check)


class Assessment(BaseModel):
    """An assessment is all that profiles say of rows Q under one model."""

    model_config = ConfigDict(extra="forbid")

    measures: Measures
    contents: Contents
    """What the rows hold, in counts."""
    conditional: list[dict[str, Any]]
    """Rows of the table of conditional divergences, where they are asked for."""
    set_aside: list[Quarantined]
    unreliable: str | None = None
    """Why EMI of these rows is not reliable by itself, whatever that of the reference data is."""


def write_assessment(path: Path, assessment: Assessment) -> None:
    """Write an assessment whole (JSON; floats come back as they were)."""
    write_bytes(path, json.dumps(assessment.model_dump(mode="json")).encode())


def read_assessment(path: Path) -> Assessment:
    """Read what `write_assessment` wrote. Raises `AuditError` where the file is none."""
    try:
        return Assessment.model_validate(json.loads(path.read_bytes()))
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise AuditError(f"{path}: not readable ({reason}); delete it and run again") from error


class Accuracy(NamedTuple):
    """The accuracy is the mean score of the graded answers."""

    value: float | None = None
    interval: Interval | None = None


def nothing(q: Profile, modalities: Sequence[str]) -> Assessment:
    """Return the assessment of rows of which none is usable, or that have no reference rows to be compared
    with."""
    lacking = (*TERMS, *(f"divergences.{m}" for m in modalities))
    measures = Measures(n=0, missing=dict.fromkeys(lacking, NO_ROW))
    return Assessment(measures=measures, contents=contents(q), conditional=[], set_aside=list(q.set_aside))


def assess_reference(reference: Reference, settings: Settings, *, seed: int) -> Assessment:
    """Assess the reference rows by themselves: nothing has moved, so there are no divergences and bounds."""
    p = reference.p
    relevant = None
    if reference.critics:
        relevant = relevance(p, p, seed=seed, level=settings.level)
    delta_q = answer_terms(reference.answers, reference.answers, Known()).delta_q
    measures = _measures(p, settings, relevant, itself=True)
    own = reference.checked
    measures = _with_check(measures, own, [own])
    return Assessment(
        measures=measures.model_copy(update={"delta": delta_q}),
        contents=contents(p),
        conditional=[],
        set_aside=list(p.set_aside),
        unreliable=own and own.reason,
    )


@dataclass(frozen=True)
class Current:
    """This value holds rows Q, and what was measured of them before."""

    q: Profile
    divergences: Divergences = field(default_factory=Divergences)
    temperature: float | None = None
    """The temperature at which the model's answers were drawn; None where they were recorded."""
    scenario: str = ""


def assess(
    reference: Reference, current: Current, settings: Settings, *, seed: int, seed_of_inputs: int
) -> Assessment:
    """Compare rows Q with P: bounds, label-free risk, EMI and EMID. `seed_of_inputs` is the seed of the joint
    divergence of the inputs, where that was not measured before."""
    p, q, level = reference.p, current.q, settings.level
    divergences = current.divergences
    joint = divergences.found["joint"].value if "joint" in divergences.found else None
    fitted = reference.fitted
    if joint is None:
        fit = None if fitted is None else fitted.divergences
        joint = input_divergence(p, q, seed=seed_of_inputs, reference=fit)
    of_conditional = conditionals(p, q, seed) if settings.conditional else None
    answers = answer_terms(
        reference.answers,
        answer_side(q, reference.codebook),
        _entropies(reference, current, settings, seed),
    )
    bounds_by_form, lacking = bounds(
        divergences.found,
        joint,
        answers,
        grouped(p, q, divergences, level),
        None if of_conditional is None else of_conditional.terms,
    )
    free, reason = label_free(
        p,
        q,
        reference.critics,
        bound=ceiling(bounds_by_form, answers),
        seed=seed,
        level=level,
        reference=None if fitted is None else fitted.labelled,
    )
    relevant = relevance(p, q, seed=seed, level=level) if reference.critics else None
    measures = _measures(q, settings, relevant)
    own = None if relevant is None else checked(q)
    measures = _with_check(measures, own, [own, reference.checked])
    missing = lacking | measures.missing
    if answers.delta_q is None:
        missing["delta"] = "no row has a response and a reference"
    if reason is not None:
        missing["label_free"] = reason
    return Assessment(
        measures=measures.model_copy(
            update={
                "bounds": bounds_by_form,
                "label_free": free,
                "delta": answers.delta_q,
                "missing": missing,
            }
        ),
        contents=contents(q),
        conditional=[] if of_conditional is None else of_conditional.table(current.scenario),
        set_aside=list(q.set_aside),
        unreliable=own and own.reason,
    )


def accuracy(scores: NDArray[np.float64], level: float, groups: NDArray[np.uint64] | None = None) -> Accuracy:
    """Return the mean of graded scores (n,) with its t interval; neither without any, no interval of one
    alone. groups (n,): which scores are not independent; they count as so many independent ones as tell as
    much (`effective_scores`), with one degree of freedom less than there are groups."""
    if not len(scores):
        return Accuracy()
    mean = float(scores.mean())
    labels = np.arange(len(scores)) if groups is None else np.unique(groups, return_inverse=True)[1]
    independent = int(labels.max()) + 1
    if independent < 2:
        return Accuracy(mean)
    quantile = stats.t.ppf((1 + level) / 2, independent - 1)
    half = float(quantile * scores.std(ddof=1) / np.sqrt(effective_scores(scores, labels)))
    return Accuracy(mean, (max(0.0, mean - half), min(1.0, mean + half)))


def _measures(q: Profile, settings: Settings, relevant: Relevance | None, itself: bool = False) -> Measures:
    """Measure what needs no comparison but that of EMI; `itself`: Q is P, so there is no EMID."""
    graded = accuracy(q.scores, settings.level, q.score_groups)
    information = model_information(q)
    shift = None if itself else relevant
    return Measures(
        n=q.n,
        rows=row_counts(q),
        n_labelled=q.sketches["reference"].n,
        n_emi=relevant.n if relevant else None,
        mi_model=information,
        mi_reference=relevant.mi_reference if relevant else None,
        emi=relevant.emi if relevant else None,
        emi_spread=relevant.emi_spread if relevant else None,
        emid=shift.emid if shift else None,
        emid_spread=shift.emid_spread if shift else None,
        intervals=Intervals(
            emi=relevant.emi_interval if relevant else None,
            emid=shift.emid_interval if shift else None,
            accuracy=graded.interval,
        ),
        accuracy=graded.value,
        descriptors=means(q.facts) | q.norms.descriptors(),
        missing=_missing(settings, relevant, information, graded),
    )


def _with_check(measures: Measures, own: Checked | None, all_checks: Sequence[Checked | None]) -> Measures:
    """Add whether EMI is reliable: it is where no check of the rows, or of the reference data, fails."""
    known = [check for check in all_checks if check is not None]
    if not known or measures.emi is None:
        return measures
    failed = [check for check in known if check.reason is not None]
    update: dict[str, Any] = {"reliable": not failed, "credibility": own and own.credibility}
    if failed:
        where = "" if failed[0] is own else "in the reference data "
        update["missing"] = measures.missing | {"reliable": f"{where}{failed[0].reason}"}
    return measures.model_copy(update=update)


def _missing(
    settings: Settings, relevant: Relevance | None, information: float | None, graded: Accuracy
) -> dict[str, str]:
    missing: dict[str, str] = {}
    if relevant is None:
        reason = settings.no_critic or "no row has a query, an answer and a reference"
        missing |= dict.fromkeys(("emi", "emid", "mi_reference"), reason)
    elif relevant.emi_interval is None:
        missing["intervals.emi"] = missing["intervals.emid"] = "too few hash blocks with rows"
    if information is None:
        missing["mi_model"] = settings.no_critic or "no row has a query and a response"
    if graded.value is None:
        missing["accuracy"] = settings.ungraded
    return missing


def _entropies(reference: Reference, current: Current, settings: Settings, seed: int) -> Known:
    """Return the entropies as given, from the log-probabilities of sampled answers, and from the cells of
    several answers a query; nothing where there are none of these."""
    config = settings.bounds
    known = Known(given_reference=config.entropy_reference, given_model=config.entropy_model)
    of_p, of_q = reference.p.answers, current.q.answers
    if of_p is None or of_q is None:
        return known

    def shift(p: QueryEntropies, q: QueryEntropies) -> EntropyShift:
        return entropy_shift(p, q, level=settings.level, seed=seed)

    if current.temperature is not None:
        p_logs, q_logs = of_p.log_probabilities(), of_q.log_probabilities()
        logs = [
            from_log_probabilities(
                [values for _, values in records], [group for group, _ in records], current.temperature
            )
            for records in (p_logs, q_logs, p_logs + q_logs)
        ]
        known = replace(known, text=upper_entropy(logs[2]), text_shift=shift(*logs[:2]))
    if reference.codebook is not None and of_p.answer_counts.any() and of_q.answer_counts.any():
        cells = [query_entropies(samples, reference.codebook) for samples in ([of_p], [of_q], [of_p, of_q])]
        known = replace(known, cells=upper_entropy(cells[2]), cells_shift=shift(*cells[:2]))
    return known
