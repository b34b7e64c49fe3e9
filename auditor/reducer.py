"""From sketches to measures: EMI, EMID, bounds, divergences and the verdict of each scenario and model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from auditor.blocks import hash_blocks
from auditor.bounds import bound_terms, emid_bound, missing_terms
from auditor.divergences import joint_rows, rjsd
from auditor.emi import emi, paired_bootstrap
from auditor.errors import AuditError
from auditor.estimators import ClubSums
from auditor.significance import drift_test, holm
from auditor.sketch import RowSample
from auditor.sketching import CONTENTS, SketchSet
from schemas.report import Bound, Divergence, Interval

FORMS = ("scaled", "partial")
LEAST_SHARED = 30
"""Fewer shared base ids than this (or than half of a side) are not a pairing."""


@dataclass(frozen=True)
class Sides:
    """Sampled rows of P and Q, aligned where they are paired."""

    p: RowSample
    q: RowSample
    at_p: NDArray[np.int64]
    at_q: NDArray[np.int64]
    paired: bool

    def rows(
        self, *names: str
    ) -> tuple[list[NDArray[np.float32]], list[NDArray[np.float32]], NDArray[Any], NDArray[Any]]:
        """Rows of P and Q that have every one of `names`, and the hash blocks of their base ids."""
        columns = [CONTENTS.index(name) for name in names]
        has_p = (self.p.rows["has"][self.at_p][:, columns] > 0).all(axis=1)
        has_q = (self.q.rows["has"][self.at_q][:, columns] > 0).all(axis=1)
        if self.paired:
            has_p = has_q = has_p & has_q
        at_p, at_q = self.at_p[has_p], self.at_q[has_q]
        return (
            [self.p.rows[name][at_p] for name in names],
            [self.q.rows[name][at_q] for name in names],
            hash_blocks(self.p.base_ids[at_p]),
            hash_blocks(self.q.base_ids[at_q]),
        )


def aligned(p: RowSample, q: RowSample) -> Sides:
    """Pair rows by base id where Q is a perturbed copy of P; else all rows of both."""
    everything = np.arange(len(p)), np.arange(len(q))
    ids_p, ids_q = p.base_ids, q.base_ids
    if len(set(ids_p)) < len(ids_p) or len(set(ids_q)) < len(ids_q):
        return Sides(p, q, *everything, paired=False)
    _, at_p, at_q = np.intersect1d(ids_p, ids_q, assume_unique=True, return_indices=True)
    if len(at_p) < max(LEAST_SHARED, min(len(p), len(q)) / 2):
        return Sides(p, q, *everything, paired=False)
    return Sides(p, q, at_p.astype(np.int64), at_q.astype(np.int64), paired=True)


def divergence(
    p: SketchSet, q: SketchSet, modality: str, *, seed: int, level: float
) -> tuple[Divergence | None, str | None]:
    """Distance of Q from P in one modality (image, text, joint or response), and why a part of it is missing.

    `value` is of all rows (from the sketches); null, excess, corrected and p-value are of the row samples.
    """
    names = ("image", "text") if modality == "joint" else (modality,)
    for name in names:
        if name not in p.sample.rows or name not in q.sample.rows:
            return None, f"no row has {_article(name)}"
        if min(p.sketches[name].n, q.sketches[name].n) == 0:
            return None, f"no row has {_article(name)}"
    sides = aligned(p.sample, q.sample)
    rows_p, rows_q, blocks_p, blocks_q = sides.rows(*names)
    if min(len(rows_p[0]), len(rows_q[0])) == 0:
        return None, f"no row has {' and '.join(map(_article, names))}"
    one_p: NDArray[np.floating[Any]] = rows_p[0]
    one_q: NDArray[np.floating[Any]] = rows_q[0]
    if modality == "joint":
        one_p, one_q = joint_rows(*rows_p, *rows_q, seed=seed)
    test = drift_test(
        one_p, one_q, seed=seed, paired=sides.paired, level=level, blocks_p=blocks_p, blocks_q=blocks_q
    )
    value = test.value
    if modality != "joint" and (len(one_p), len(one_q)) != (p.sketches[modality].n, q.sketches[modality].n):
        value = rjsd(p.sketches[modality], q.sketches[modality])
    return (
        Divergence(
            value=value,
            excess=test.excess,
            null_mean=test.null_mean,
            null_std=test.null_std,
            corrected=test.corrected,
            interval=test.interval,
            mmd2=test.mmd2,
            p_value=test.p_value,
            n_id=len(one_p),
            n=len(one_q),
            paired=sides.paired,
        ),
        test.reason,
    )


class Share(NamedTuple):
    """Share of the rows that have a content, in P and in Q, and the p-value of their difference."""

    content: str
    p: float
    q: float
    p_value: float


def shares(p: SketchSet, q: SketchSet) -> list[Share]:
    """How many rows have an image, and how many a text: a feed that lost its images shows here first.

    Fisher's exact test of each, Holm-adjusted over the two.
    """
    n, m = p.sample.seen, q.sample.seen
    found = []
    for content in ("image", "text"):
        k, j = p.sketches[content].n, q.sketches[content].n
        p_value = float(stats.fisher_exact([[k, n - k], [j, m - j]]).pvalue) if n and m else 1.0
        found.append(Share(content, k / n if n else 0.0, j / m if m else 0.0, p_value))
    return [s._replace(p_value=a) for s, a in zip(found, holm([s.p_value for s in found]), strict=True)]


def _article(name: str) -> str:
    return f"an {name}" if name == "image" else f"a {name}"


def response_gap(rows: SketchSet) -> float | None:
    """δ = RJSD of the model's responses to the references (nats), over sampled rows that have both."""
    has = rows.sample.rows["has"]
    both = (has[:, CONTENTS.index("response")] > 0) & (has[:, CONTENTS.index("reference")] > 0)
    if not both.any():
        return None
    return rjsd(rows.sample.rows["response"][both], rows.sample.rows["reference"][both])


@dataclass(frozen=True)
class Relevance:
    """EMI on P and Q and their difference (nats): means over the critics, spread beside them."""

    mi_model: float
    mi_reference: float
    emi: float
    emi_spread: float
    emid: float
    emid_spread: float
    n: int
    emi_interval: Interval | None
    emid_interval: Interval | None


def relevance(p: SketchSet, q: SketchSet, *, seed: int, level: float) -> Relevance | None:
    """EMI and EMID over rows that have a query, an answer and a reference; None where a side has none.

    An interval is the mean over critics of the paired block bootstrap's: the critics are held fixed, and see
    the same draws. What training a critic anew would change is the spread, not the interval.
    """
    quadruples: list[tuple[ClubSums, ClubSums, ClubSums, ClubSums]] = list(
        zip(
            p.club["emi_model"],
            p.club["emi_reference"],
            q.club["emi_model"],
            q.club["emi_reference"],
            strict=True,
        )
    )
    if not quadruples or min(s.n.sum() for s in quadruples[0]) == 0:
        return None
    shared = aligned(p.sample, q.sample).paired
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


def model_information(rows: SketchSet) -> float | None:
    """I(X; model's response) in nats, over every answered row; the mean over the critics. No references."""
    sums = rows.club["model"]
    return float(np.mean([s.value() for s in sums])) if sums and sums[0].n.sum() else None


def _spread(values: NDArray[np.float64]) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else 0.0


def _mean_interval(intervals: Sequence[Interval]) -> Interval:
    low, high = np.mean(np.array(intervals), axis=0)
    return float(low), float(high)


def bounds(
    divergences: Mapping[str, Divergence], delta_p: float | None, delta_q: float | None
) -> tuple[dict[str, Bound], dict[str, str]]:
    """The forms that need no entropy, over the terms that are there; why a term is missing."""
    given = {
        "d_v": divergences["image"].value if "image" in divergences else None,
        "d_t": divergences["text"].value if "text" in divergences else None,
        "delta_p": delta_p,
        "delta_q": delta_q,
    }
    found, missing = {}, {}
    for form in FORMS:
        absent = missing_terms(form, given)
        terms = [name for name in bound_terms(form) if name not in absent]
        if not terms:
            found[form] = Bound(value=None, terms=[], complete=False)
            missing[f"bounds.{form}.value"] = f"none of its terms is known ({', '.join(absent)})"
            continue
        value = emid_bound(form, **{name: given[name] for name in terms}, incomplete=bool(absent))  # type: ignore[arg-type]
        found[form] = Bound(value=value, terms=terms, complete=not absent)
        if absent:
            missing[f"bounds.{form}"] = f"incomplete: without {', '.join(absent)}"
    return found, missing


def adjust(divergences: Sequence[Divergence | None]) -> list[Divergence | None]:
    """Holm's adjustment over one family of tests; those without a p-value stay as they are."""
    tested = [d for d in divergences if d is not None and d.p_value is not None]
    adjusted = iter(holm([d.p_value for d in tested if d.p_value is not None]))
    return [
        d.model_copy(update={"p_adjusted": next(adjusted)}) if d is not None and d.p_value is not None else d
        for d in divergences
    ]


def check_comparable(p: SketchSet, q: SketchSet) -> None:
    """Raises `AuditError` where two sets were made by encoders of other dimensions."""
    for name, sketch in p.sketches.items():
        other = q.sketches[name]
        if sketch.dim and other.dim and sketch.dim != other.dim:
            raise AuditError(
                f"{name}: rows of {other.dim} numbers cannot be compared with rows of {sketch.dim}"
            )
