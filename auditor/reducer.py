"""From sketches to measures: EMI, EMID, bounds, divergences and the verdict of each scenario and model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.spatial.distance import jensenshannon

from auditor.blocks import hash_blocks
from auditor.bounds import bound_terms, emid_bound, missing_terms
from auditor.divergences import joint_rows, rjsd, rjsd_joint
from auditor.emi import emi, paired_bootstrap
from auditor.entropies import ON_CELLS, Entropy, Known, answer_entropy, choose
from auditor.errors import AuditError
from auditor.estimators import ClubSums
from auditor.risk import Ceiling
from auditor.risk.codebook import learn_codebook, nearest_cell
from auditor.significance import drift_test, holm
from auditor.sketch import RowSample
from auditor.sketching import CONTENTS, SketchSet
from schemas.report import Bound, Divergence, Interval

FORMS = (
    "scaled",
    "partial",
    "theorem_4_5",
    "theorem_4_5_split",
    "joint",
    "measured",
    "sound",
    "sound_label_free",
)
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
            return None, f"no row has {article(name)}"
        if min(p.sketches[name].n, q.sketches[name].n) == 0:
            return None, f"no row has {article(name)}"
    sides = aligned(p.sample, q.sample)
    rows_p, rows_q, blocks_p, blocks_q = sides.rows(*names)
    if min(len(rows_p[0]), len(rows_q[0])) == 0:
        return None, f"no row has {' and '.join(map(article, names))}"
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


def article(name: str) -> str:
    return f"an {name}" if name == "image" else f"a {name}"


def input_divergence(p: SketchSet, q: SketchSet, *, seed: int) -> float | None:
    """D_X (nats): of image and text together, over sampled rows that have both, or of the only one there."""
    present = [
        name
        for name in ("image", "text")
        if name in p.sample.rows and name in q.sample.rows and min(p.sketches[name].n, q.sketches[name].n)
    ]
    if len(present) < 2:
        return rjsd(p.sketches[present[0]], q.sketches[present[0]]) if present else None
    everything = np.arange(len(p.sample)), np.arange(len(q.sample))
    rows_p, rows_q, _, _ = Sides(p.sample, q.sample, *everything, paired=False).rows(*present)
    if min(len(rows_p[0]), len(rows_q[0])) == 0:
        return None
    return rjsd_joint(*rows_p, *rows_q, seed=seed)


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


@dataclass(frozen=True)
class AnswerTerms:
    """What bounds take of the answers: entropies, and divergences from the references."""

    delta_p: float | None
    delta_q: float | None
    cells_p: float | None
    """δ of the quantised answers (JSD of the laws of their cells)."""
    cells_q: float | None
    known: Known


def answer_terms(
    p: SketchSet, q: SketchSet, codebook: NDArray[np.float32] | None, known: Known
) -> AnswerTerms:
    """The terms of the sampled rows; `known` holds what is known of entropies beside the codebook's own."""
    if codebook is not None:
        known = replace(
            known,
            symbols=len(codebook),
            answers_p=_answers(p, codebook),
            answers_q=_answers(q, codebook),
        )
    return AnswerTerms(
        response_gap(p),
        response_gap(q),
        None if codebook is None else cell_gap(p, codebook),
        None if codebook is None else cell_gap(q, codebook),
        known,
    )


def answer_codebook(sets: Sequence[SketchSet], symbols: int, seed: int) -> NDArray[np.float32] | None:
    """(K, d) centroids, K at most `symbols`, of the sampled answers and references of `sets`: one codebook
    for a whole run, so that cells mean the same everywhere. None where there is none of either."""
    rows = [
        each.sample.rows[name][each.sample.rows["has"][:, CONTENTS.index(name)] > 0]
        for each in sets
        for name in ("response", "reference")
        if name in each.sample.rows
    ]
    every = np.concatenate(rows) if rows else np.zeros((0, 0), np.float32)
    return learn_codebook(every, symbols, seed) if len(every) else None


def _answers(rows: SketchSet, codebook: NDArray[np.float32]) -> Entropy | None:
    if "response" not in rows.sample.rows:
        return None
    has = rows.sample.rows["has"][:, CONTENTS.index("response")] > 0
    if not has.any():
        return None
    cells = nearest_cell(rows.sample.rows["response"][has], codebook)
    return answer_entropy([[c] for c in cells.tolist()], len(codebook), rows.sample.base_ids[has].tolist())


def cell_gap(rows: SketchSet, codebook: NDArray[np.float32]) -> float | None:
    """JSD (nats) of the laws of cells of the responses and of the references, over rows that have both."""
    has = rows.sample.rows["has"]
    both = (has[:, CONTENTS.index("response")] > 0) & (has[:, CONTENTS.index("reference")] > 0)
    if not both.any():
        return None
    laws = [
        np.bincount(nearest_cell(rows.sample.rows[name][both], codebook), minlength=len(codebook))
        for name in ("response", "reference")
    ]
    return float(jensenshannon(laws[0], laws[1]) ** 2)


def bounds(
    divergences: Mapping[str, Divergence], d_x: float | None, answers: AnswerTerms
) -> tuple[dict[str, Bound], dict[str, str]]:
    """Every form, over the terms that are there; why a term is missing."""
    inputs = {
        "d_v": divergences["image"].value if "image" in divergences else None,
        "d_t": divergences["text"].value if "text" in divergences else None,
        "d_x": d_x,
    }
    found, missing = {}, {}
    for form in FORMS:
        entropies = choose(form, answers.known)
        if entropies.reason is not None:
            found[form] = Bound(value=None, terms=[], complete=False, entropy_source=entropies.source)
            missing[f"bounds.{form}.value"] = entropies.reason
            continue
        on_cells = form in ON_CELLS
        given: dict[str, float | None] = {
            **inputs,
            "delta_p": answers.cells_p if on_cells else answers.delta_p,
            "delta_q": answers.cells_q if on_cells else answers.delta_q,
            **entropies.terms,
        }
        absent = missing_terms(form, given)
        named = dict.fromkeys((*bound_terms(form), *entropies.terms))
        terms = [name for name in named if given.get(name) is not None]
        try:
            value = emid_bound(form, **{name: given[name] for name in terms}, incomplete=bool(absent))  # type: ignore[arg-type]
        except ValueError:
            found[form] = Bound(value=None, terms=[], complete=False)
            missing[f"bounds.{form}.value"] = f"none of its terms is known ({', '.join(absent)})"
            continue
        found[form] = Bound(
            value=value,
            terms=terms,
            complete=not absent,
            entropy=entropies.entropy,
            entropy_source=entropies.source,
        )
        if absent:
            missing[f"bounds.{form}"] = f"incomplete: without {', '.join(absent)}"
    return found, missing


def ceiling(found: Mapping[str, Bound], answers: AnswerTerms) -> Ceiling | None:
    """`sound_label_free` as the report has it; None where a term of it is missing."""
    bound = found.get("sound_label_free")
    if bound is None or bound.value is None or not bound.complete or answers.known.symbols is None:
        return None
    return Ceiling(bound.value, answers.known.symbols)


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
