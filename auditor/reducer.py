"""From sketches to measures: EMI, EMID, bounds, divergences and the verdict of each scenario and model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.spatial.distance import jensenshannon

from auditor.blocks import JACKKNIFE_GROUPS, group_shares, hash_blocks, record_groups
from auditor.bounds import bound_terms, emid_bound, missing_terms
from auditor.divergences import joint_entropy, joint_rows, rjsd, rjsd_joint, von_neumann_entropy
from auditor.divergences.joint import EXACT_ROWS
from auditor.divergences.representation import rows64
from auditor.divergences.resampling import ReferenceRows, RjsdResampler
from auditor.emi import emi, paired_bootstrap
from auditor.entropies import ON_CELLS, Entropy, Known, answer_entropy, choose, entropy
from auditor.errors import AuditError
from auditor.estimators import ClubSums
from auditor.jackknife import Left, Shares, moments, profile_interval
from auditor.risk import Ceiling
from auditor.risk.codebook import learn_codebook, nearest_cell
from auditor.significance import drift_test, holm, rows_needed
from auditor.sketch import RowSample
from auditor.sketching import SketchSet, having
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
        has_p, has_q = having(self.p, *names)[self.at_p], having(self.q, *names)[self.at_q]
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


def apart(p: RowSample, q: RowSample) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(n,), (m,) rows of P and of Q that are of different records: all of them, but where Q is a perturbed
    copy of P half of the records stand for P and the other half for Q, since a row beside its own copy says
    nothing of what else is near."""
    if not aligned(p, q).paired:
        return np.ones(len(p), dtype=bool), np.ones(len(q), dtype=bool)
    return hash_blocks(p.base_ids) % 2 == 0, hash_blocks(q.base_ids) % 2 == 1


class Measured(NamedTuple):
    """A divergence, and why it or a part of it is missing."""

    divergence: Divergence | None
    reason: str | None
    left: Left | None = None
    """RJSD of the row samples with each group of hash blocks left out, where rows suffice."""


@dataclass(frozen=True, eq=False)
class Reference:
    """What divergences take of P alone: fitted once, it serves every Q that P is compared with."""

    rows: Mapping[str, ReferenceRows]
    """image, text, response -> the sampled rows that have it"""
    entropies: Mapping[str, float]
    """The same -> S(C_P) of all rows (nats)"""
    joint: float | None
    """`joint_entropy` of the sampled rows that have an image and a text, while they are few enough"""

    @classmethod
    def fit(cls, p: SketchSet) -> Reference:
        """Of P's sample and sketches: a few spectra a modality, and one of its pairs."""
        of = {name: having(p.sample, name) for name in ("image", "text", "response") if p.sketches[name].n}
        joint = None
        if "image" in of and "text" in of:
            both = of["image"] & of["text"]
            if 0 < both.sum() < EXACT_ROWS:
                joint = joint_entropy(p.sample.rows["image"][both], p.sample.rows["text"][both])
        return cls(
            {
                name: ReferenceRows.fit(p.sample.rows[name][has], record_groups(p.sample.base_ids[has]))
                for name, has in of.items()
                if has.any()
            },
            {name: von_neumann_entropy(p.sketches[name]) for name in of},
            joint,
        )

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Plain arrays, for npz (never pickle), without P's rows."""
        return {
            **{f"entropy.{name}": np.array(value) for name, value in self.entropies.items()},
            **({} if self.joint is None else {"joint": np.array(self.joint)}),
            **{
                f"rows.{name}.{key}": a for name, of in self.rows.items() for key, a in of.to_arrays().items()
            },
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], p: SketchSet) -> Reference:
        """Inverse of `to_arrays`, given the P that it was fitted on. ValueError or KeyError where it cannot
        have been."""

        def under(prefix: str) -> dict[str, NDArray[Any]]:
            return {key.removeprefix(prefix): a for key, a in arrays.items() if key.startswith(prefix)}

        rows = {
            name: ReferenceRows.from_arrays(
                under(f"rows.{name}."), p.sample.rows[name][having(p.sample, name)]
            )
            for name in dict.fromkeys(key.split(".")[0] for key in under("rows."))
        }
        entropies = {name: float(a) for name, a in under("entropy.").items()}
        joint = float(arrays["joint"]) if "joint" in arrays else None
        if not np.isfinite([*entropies.values(), 0.0 if joint is None else joint]).all():
            raise ValueError("not a reference: an entropy is not finite")
        return cls(rows, entropies, joint)


def divergence(
    p: SketchSet, q: SketchSet, modality: str, *, seed: int, level: float, reference: Reference | None = None
) -> Measured:
    """Distance of Q from P in one modality (image, text, joint or response), and why a part of it is missing.

    `value` is of all rows (from the sketches); null, excess, corrected and p-value are of the row samples.
    `reference`: what was fitted on P before; it changes no bit.
    """
    names = ("image", "text") if modality == "joint" else (modality,)
    for name in names:
        if name not in p.sample.rows or name not in q.sample.rows:
            return Measured(None, f"no row has {article(name)}")
        if min(p.sketches[name].n, q.sketches[name].n) == 0:
            return Measured(None, f"no row has {article(name)}")
    sides = aligned(p.sample, q.sample)
    rows_p, rows_q, blocks_p, blocks_q = sides.rows(*names)
    if min(len(rows_p[0]), len(rows_q[0])) == 0:
        return Measured(None, f"no row has {' and '.join(map(article, names))}")
    one_p: NDArray[np.floating[Any]] = rows_p[0]
    one_q: NDArray[np.floating[Any]] = rows_q[0]
    if modality == "joint":
        one_p, one_q = joint_rows(*rows_p, *rows_q, seed=seed)
    # Where Q is a perturbed copy of P, only the rows that have a partner are compared.
    fitted = None if reference is None or sides.paired else reference.rows.get(modality)
    test = drift_test(
        one_p if fitted is None else fitted,
        one_q,
        seed=seed,
        paired=sides.paired,
        level=level,
        blocks_p=blocks_p,
        blocks_q=blocks_q,
    )
    value = test.value
    if modality != "joint" and (len(one_p), len(one_q)) != (p.sketches[modality].n, q.sketches[modality].n):
        entropy_p = None if reference is None else reference.entropies.get(modality)
        value = rjsd(p.sketches[modality], q.sketches[modality], entropy_p=entropy_p)
    return Measured(
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
        test.left,
    )


@dataclass(frozen=True)
class Divergences:
    """By modality: what was found, why it or a part of it is missing, and RJSD without each group of rows."""

    found: dict[str, Divergence] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    left: dict[str, Left | None] = field(default_factory=dict)

    def __or__(self, other: Divergences) -> Divergences:
        """Of both's modalities."""
        return Divergences(self.found | other.found, self.missing | other.missing, self.left | other.left)


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


def input_divergence(
    p: SketchSet, q: SketchSet, *, seed: int, reference: Reference | None = None
) -> float | None:
    """D_X (nats): of image and text together, over sampled rows that have both, or of the only one there.

    `reference`: what was fitted on P before; it changes no bit.
    """
    present = [
        name
        for name in ("image", "text")
        if name in p.sample.rows and name in q.sample.rows and min(p.sketches[name].n, q.sketches[name].n)
    ]
    if len(present) < 2:
        if not present:
            return None
        name = present[0]
        entropy_p = None if reference is None else reference.entropies.get(name)
        return rjsd(p.sketches[name], q.sketches[name], entropy_p=entropy_p)
    everything = np.arange(len(p.sample)), np.arange(len(q.sample))
    rows_p, rows_q, _, _ = Sides(p.sample, q.sample, *everything, paired=False).rows(*present)
    if min(len(rows_p[0]), len(rows_q[0])) == 0:
        return None
    entropy_p = None if reference is None else reference.joint
    return rjsd_joint(*rows_p, *rows_q, seed=seed, entropy_p=entropy_p)


class Grouped(NamedTuple):
    """A statistic of one side's rows, and with each group of hash blocks left out (None: too few rows)."""

    value: float
    without: Mapping[int, float] | None


def response_gap(rows: SketchSet) -> Grouped | None:
    """δ = RJSD of the model's responses to the references (nats), over sampled rows that have both."""
    both = having(rows.sample, "response", "reference")
    if not both.any():
        return None
    response, reference = (rows64(rows.sample.rows[n][both], n) for n in ("response", "reference"))
    resampler = RjsdResampler(response, reference, paired=True)
    if int(both.sum()) < rows_needed(resampler):
        return Grouped(resampler.value, None)
    groups = record_groups(rows.sample.base_ids[both])
    left = resampler.left(groups, groups)
    return Grouped(left.value, {g: value for (_, g), value in left.without.items()})


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
class AnswerSide:
    """What bounds take of one side's answers."""

    delta: Grouped | None
    cells: Grouped | None
    """δ of the quantised answers (JSD of the laws of their cells)."""
    answers: Entropy | None
    """H(P_Yθ) of the quantised answers."""
    varying: Grouped | None
    """Its plug-in value, and without each group of records: how it varies."""
    symbols: int | None


def answer_side(rows: SketchSet, codebook: NDArray[np.float32] | None) -> AnswerSide:
    """Of the sampled rows of P, or of Q."""
    if codebook is None:
        return AnswerSide(response_gap(rows), None, None, None, None)
    return AnswerSide(
        response_gap(rows), cell_gap(rows, codebook), *_answers(rows, codebook), symbols=len(codebook)
    )


@dataclass(frozen=True)
class AnswerTerms:
    """What bounds take of the answers: entropies, and divergences from the references."""

    p: AnswerSide
    q: AnswerSide
    known: Known

    @property
    def delta_q(self) -> float | None:
        """δ of Q."""
        return None if self.q.delta is None else self.q.delta.value


def answer_terms(p: AnswerSide, q: AnswerSide, known: Known) -> AnswerTerms:
    """The terms of both sides; `known` holds what is known of entropies beside the codebook's own."""
    if p.symbols is not None:
        known = replace(known, symbols=p.symbols, answers_p=p.answers, answers_q=q.answers)
    return AnswerTerms(p, q, known)


def answer_codebook(sets: Sequence[SketchSet], symbols: int, seed: int) -> NDArray[np.float32] | None:
    """(K, d) centroids, K at most `symbols`, of the sampled answers and references of `sets`: one codebook
    for a whole run, so that cells mean the same everywhere. None where there is none of either."""
    rows = [
        each.sample.rows[name][having(each.sample, name)]
        for each in sets
        for name in ("response", "reference")
        if name in each.sample.rows
    ]
    every = np.concatenate(rows) if rows else np.zeros((0, 0), np.float32)
    return learn_codebook(every, symbols, seed) if len(every) else None


def _answers(rows: SketchSet, codebook: NDArray[np.float32]) -> tuple[Entropy | None, Grouped | None]:
    has = having(rows.sample, "response")
    if "response" not in rows.sample.rows or not has.any():
        return None, None
    cells = nearest_cell(rows.sample.rows["response"][has], codebook)
    base_ids = rows.sample.base_ids[has]
    found = answer_entropy([[c] for c in cells.tolist()], len(codebook), base_ids.tolist())
    counts = np.zeros((JACKKNIFE_GROUPS, len(codebook)))
    np.add.at(counts, (record_groups(base_ids), cells), 1)
    return found, _without_each(counts, lambda law: float(entropy(law)))


def cell_gap(rows: SketchSet, codebook: NDArray[np.float32]) -> Grouped | None:
    """JSD (nats) of the laws of cells of the responses and of the references, over rows that have both."""
    both = having(rows.sample, "response", "reference")
    if not both.any():
        return None
    groups = record_groups(rows.sample.base_ids[both])
    counts = np.zeros((JACKKNIFE_GROUPS, 2, len(codebook)))
    for side, name in enumerate(("response", "reference")):
        np.add.at(counts[:, side], (groups, nearest_cell(rows.sample.rows[name][both], codebook)), 1)
    return _without_each(counts, lambda laws: float(jensenshannon(laws[0], laws[1]) ** 2))


def _without_each(counts: NDArray[np.float64], of: Callable[[NDArray[np.float64]], float]) -> Grouped:
    """Of the laws of cells, by (groups, ..., cells) counts."""

    def value(kept: NDArray[np.float64]) -> float:
        return of(kept / kept.sum(axis=-1, keepdims=True))

    whole = counts.sum(axis=0)
    there = [g for g, own in enumerate(counts) if own.any()]
    return Grouped(value(whole), {g: value(whole - counts[g]) for g in there} if len(there) > 1 else None)


def bounds(
    divergences: Mapping[str, Divergence],
    d_x: float | None,
    answers: AnswerTerms,
    groups: Groups | None = None,
    conditional: Mapping[str, float] | None = None,
) -> tuple[dict[str, Bound], dict[str, str]]:
    """Every form, over the terms that are there; why a term is missing. With `groups` also intervals, from
    the jackknife of all estimates in a form together; Ĥ and (B) are held fixed. With `conditional` (terms
    of Theorem 4.6, see `auditor.conditionals`) that bound, too, without an interval."""
    inputs = {
        "d_v": divergences["image"].value if "image" in divergences else None,
        "d_t": divergences["text"].value if "text" in divergences else None,
        "d_x": d_x,
        **(conditional or {}),
    }
    found, missing, silent = {}, {}, []
    for form in FORMS if conditional is None else (*FORMS, "theorem_4_6"):
        entropies = choose(form, answers.known)
        if entropies.reason is not None:
            found[form] = Bound(value=None, terms=[], complete=False, entropy_source=entropies.source)
            missing[f"bounds.{form}.value"] = entropies.reason
            continue
        on_cells = form in ON_CELLS
        of_answers = {
            "delta_p": answers.p.cells if on_cells else answers.p.delta,
            "delta_q": answers.q.cells if on_cells else answers.q.delta,
            "h_model_p": answers.p.varying,
            "h_model_q": answers.q.varying,
        }
        given: dict[str, float | None] = {
            **inputs,
            **{name: None if of is None else of.value for name, of in of_answers.items()},
            **entropies.terms,
        }
        absent = missing_terms(form, given)
        named = dict.fromkeys((*bound_terms(form), *entropies.terms))
        terms = {name: value for name in named if (value := given.get(name)) is not None}
        try:
            value = emid_bound(form, **terms, incomplete=bool(absent))  # type: ignore[arg-type]
        except ValueError:
            found[form] = Bound(value=None, terms=[], complete=False)
            missing[f"bounds.{form}.value"] = f"none of its terms is known ({', '.join(absent)})"
            continue
        interval = None
        if groups is not None and form != "theorem_4_6":
            varying = {name: left for name, left in groups.terms(of_answers).items() if name in terms}
            known = {name: left for name, left in varying.items() if left is not None}
            if len(known) < len(varying):
                silent.append(form)
            else:
                interval = groups.interval(form, terms, known)
        found[form] = Bound(
            value=value,
            terms=list(terms),
            complete=not absent,
            entropy=entropies.entropy,
            entropy_source=entropies.source,
            interval=interval,
        )
        if absent:
            missing[f"bounds.{form}"] = f"incomplete: without {', '.join(absent)}"
    if silent:
        missing["bounds.interval"] = f"too few rows for an interval of {', '.join(silent)}"
    return found, missing


@dataclass(frozen=True)
class Groups:
    """What intervals of bounds are made of: groups of records, and the inputs' divergences without each."""

    shares: Shares
    inputs: Mapping[str, Left | None]
    """d_v, d_t, d_x; None where rows are too few"""
    level: float

    def terms(self, of_answers: Mapping[str, Grouped | None]) -> dict[str, Left | None]:
        """Every estimate in a bound; those of the answers vary with the rows of their own side."""
        found = dict(self.inputs)
        for name, of in of_answers.items():
            if of is None or of.without is None:
                found[name] = None
                continue
            sides = ("both", name[-1])
            found[name] = Left(
                of.value, {(s, g): of.without.get(g, of.value) for s, g in self.shares if s in sides}
            )
        return found

    def interval(self, form: str, terms: Mapping[str, float], varying: Mapping[str, Left]) -> Interval | None:
        """Of the bound over `terms`, of which those of `varying` are estimates; the others are held fixed."""
        names = list(varying)

        def bound(values: NDArray[np.float64]) -> float:
            kept = {**terms, **dict(zip(names, values.tolist(), strict=True))}
            return emid_bound(form, **kept, incomplete=True)

        try:
            return profile_interval(bound, moments(list(varying.values()), self.shares), self.level)
        except ValueError:  # rows of too few records
            return None


def grouped(p: SketchSet, q: SketchSet, divergences: Divergences, level: float) -> Groups:
    """The groups of sampled rows, and of `divergences` those of the inputs (image, text, joint)."""
    sides = aligned(p.sample, q.sample)
    groups_p = record_groups(p.sample.base_ids[sides.at_p])
    groups_q = record_groups(q.sample.base_ids[sides.at_q])
    v, t = (divergences.left.get(name) for name in ("image", "text"))
    both = "image" in divergences.found and "text" in divergences.found
    return Groups(
        group_shares(groups_p, groups_q, sides.paired),
        {"d_v": v, "d_t": t, "d_x": divergences.left.get("joint") if both else v or t},
        level,
    )


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
