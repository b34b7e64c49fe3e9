"""This module gives an interval for the EMID of quantised variables that needs no label on Q
(docs/design/theory.md).

What Q's missing I(X; Y) can be is *identified* up to the rows outside P's support
(`tables.identified_limits`); inside, it is estimated by a doubly robust table of cells: for each cell and y
the mean over Q's rows of p̂(y|x) (nearest labelled rows), plus the weighted mean residual of P's rows in the
cell. Either of p̂ and w may be wrong. Estimating from rows, not from P(y|cell), matters: the mix moves inside
the cells too.

Bias and standard error are those of the delete-one jackknife over P's and Q's rows (or groups of rows that
belong together), with the neighbours and w held: a row is left out of every term at once, its label also of
every p̂ that it is part of. A bootstrap of rows was tried and refused: with 200 rows on 16 x 8 cells it
removes too little of the bias (0.06 to 0.11 nats left in I(X; Ŷ), 50% coverage at nominal 90%; the jackknife
left 0.01 to 0.03 and covered 92%), and it needs draws.

The jackknife holds only where cells are few for the rows: with fewer rows (or groups) cells are joined
(`auditor.risk.cells`), and the EMID is that of the unions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auditor.bounds.discrete_entropy import entropy
from auditor.neighbours.codebook import Cells, learn_codebook, nearest_cell
from auditor.risk.cells import affordable_cells, merge_cells
from auditor.risk.inputs import Inputs, checked, group_labels, quantile
from auditor.risk.method import check_identified
from auditor.risk.overlap import NEIGHBOURS, Overlap, measure_overlap
from auditor.risk.tables import identified_limits, mutual_information
from auditor.sketch import Float
from auditor.sketch.blocks import group_sums

CELLS_X = 16
CELLS_Y = 8
Codebooks = tuple[NDArray[np.float32], NDArray[np.float32]]
"""(K_x, d) and (K_y, d_y) centroids"""
_CHUNK_ROWS = 1024


@dataclass(frozen=True)
class IdentifiedInterval:
    """The interval holds EMID (nats) of the quantised variables, x being the pair (cell, outside or not); not
    CLUB's EMID. Where rows are few the cells are unions of the codebooks' cells, and EMID is theirs."""

    estimate: float
    """As if y given the cell were outside as it is inside; always within the identified range"""
    low: float
    high: float
    """At `level`, for EMID and not for its whole range: the identified range, each end moved out by its own
    sampling error, within 2 log K_y of 0"""
    reported: bool
    """Whether the numbers may be reported: False with the reason, e.g. off the support"""
    reason: str | None
    """Why the numbers are not reported, in one sentence; None where they are"""
    outside: float
    """Share u of Q's rows outside P's support"""
    moved: float
    overlap: float
    effective: float
    """Effective number of P's rows under the density ratio"""
    auc: float
    i_in: float
    """I(X; Y) of Q's inside rows, doubly robust"""
    width: float
    """Width of the identified range alone: what no sample of Q could remove"""
    emi_p: float
    i_model_q: float
    """I(X; Ŷ) on Q, measured"""
    k_x: int
    """Cells of x: fewer than the codebook has, where rows are few"""
    k_y: int
    unions_x: tuple[int, ...]
    """Which of the k_x unions each cell of the codebook is part of"""
    unions_y: tuple[int, ...]
    n_p: int
    n_q: int
    level: float
    seed: int


class _Ends(NamedTuple):
    """The statistics of one resample, each (r,): what the jackknife is taken of."""

    low: Float
    high: Float
    estimate: Float
    i_in: Float
    emi_p: Float
    i_model_q: Float


def identified_interval(
    x_p: ArrayLike,
    y_p: ArrayLike,
    yhat_p: ArrayLike,
    x_q: ArrayLike,
    yhat_q: ArrayLike,
    codebooks: tuple[ArrayLike, ArrayLike] | None = None,
    level: float = 0.9,
    seed: int = 0,
    groups_p: ArrayLike | None = None,
    groups_q: ArrayLike | None = None,
    *,
    overlap: Overlap | None = None,
) -> IdentifiedInterval:
    """Compute an interval for the EMID of quantised variables in nats; P is labelled, Q is not; Y|X is
    unchanged.

    x_p (n, d), y_p and yhat_p (n, d_y), x_q (m, d), yhat_q (m, d_y). `codebooks`: centroids (K_x, d) and
    (K_y, d_y), nearest by squared Euclidean distance; without them k-means of P's rows, K_x = 16, K_y = 8.
    With fewer than 5 (K_x - 1)(K_y - 1) rows, or groups, of P or Q (525 of 16 x 8) cells are joined, the same
    ones for every window of that size: see `unions_x`, `unions_y`, `k_x` and `k_y` of the result.
    groups_p (n,), groups_q (m,): labels of rows that belong together (a chat, questions about one picture),
    which are left out together and are no neighbours of each other. `overlap`: of the same x_p and x_q in the
    same groups, where it was measured before. O((n + m) n d) for the neighbours. Equal to the bit for one
    seed on a fixed number of threads. ValueError names what does not fit.
    """
    rows = checked(x_p, y_p, yhat_p, x_q, yhat_q, level)
    labels_p = group_labels(groups_p, len(rows.x_p), "groups_p")
    labels_q = group_labels(groups_q, len(rows.x_q), "groups_q")
    coverage = overlap
    if coverage is None:
        coverage = measure_overlap(rows.x_p, rows.x_q, seed, labels_p, labels_q)
    if coverage.outside_p.shape != (len(rows.x_p),) or coverage.outside_q.shape != (len(rows.x_q),):
        raise ValueError("overlap was measured on other rows")
    if codebooks is None:
        codebooks = learn_codebooks(rows.x_p, rows.y_p, rows.yhat_p, seed)
    book_x, book_y = (np.asarray(book) for book in codebooks)
    fewest = 1 + min(int(labels_p.max()), int(labels_q.max()))
    cells = _Cells.of(rows, book_x, book_y, fewest)
    tables = _Tables.of(cells, coverage)
    totals_p, totals_q = tables.p.sum(axis=0), tables.q.sum(axis=0)
    full = np.array(tables.ends(totals_p[None], totals_q[None]))[:, 0]
    of_p, of_q = group_sums(tables.p, labels_p), group_sums(tables.q, labels_q)
    bias_p, variance_p = _jackknife(full, of_p, lambda left: tables.ends(left, totals_q[None]))
    bias_q, variance_q = _jackknife(full, of_q, lambda left: tables.ends(totals_p[None], left))
    value = _Ends(*(full - bias_p - bias_q))
    error = _Ends(*np.sqrt(variance_p + variance_q))
    # Debiased apart, the ends of a narrow range may cross; they are then exchanged.
    ends = np.sort(np.array([value.low, value.high]))
    errors = np.array([error.low, error.high])
    reach = quantile(level, labels_p, labels_q, _ratio(ends[1] - ends[0], errors.max())) * errors
    # No EMID lies farther from 0: it is two differences of informations of at most log K_y each.
    most = 2 * np.log(cells.k_y)
    low, estimate, high = np.clip(
        (ends[0] - reach[0], np.clip(value.estimate, ends[0], ends[1]), ends[1] + reach[1]), -most, most
    )
    reason = check_identified(coverage)
    return IdentifiedInterval(
        estimate=float(estimate),
        low=float(low),
        high=float(high),
        reported=reason is None,
        reason=reason,
        outside=coverage.outside,
        moved=coverage.moved,
        overlap=coverage.overlap,
        effective=coverage.effective,
        auc=coverage.auc,
        i_in=max(float(value.i_in), 0.0),
        width=float(full[1] - full[0]),
        emi_p=float(value.emi_p),
        i_model_q=max(float(value.i_model_q), 0.0),
        k_x=cells.k_x,
        k_y=cells.k_y,
        unions_x=cells.unions_x,
        unions_y=cells.unions_y,
        n_p=len(rows.x_p),
        n_q=len(rows.x_q),
        level=level,
        seed=seed,
    )


def learn_codebooks(x_p: ArrayLike, y_p: ArrayLike, yhat_p: ArrayLike, seed: int = 0) -> Codebooks:
    """Learn the codebooks that `identified_interval` uses by default: k-means of P's inputs (n, d), and of
    its references and answers (n, d_y) together."""
    answers = np.concatenate([np.asarray(y_p), np.asarray(yhat_p)])
    return learn_codebook(x_p, CELLS_X, seed), learn_codebook(answers, CELLS_Y, seed)


class _Cells(NamedTuple):
    """The cells of all rows, on as many unions of the codebooks' cells as the rows can carry."""

    x_p: Cells
    y_p: Cells
    yhat_p: Cells
    x_q: Cells
    yhat_q: Cells
    unions_x: tuple[int, ...]
    unions_y: tuple[int, ...]

    @classmethod
    def of(cls, rows: Inputs, book_x: ArrayLike, book_y: ArrayLike, fewest: int) -> _Cells:
        """`fewest`: rows, or groups of rows, of the side that has fewer. Unions are chosen by P's rows alone,
        so that windows of one size have the same."""
        x_p, y_p, yhat_p, x_q, yhat_q = (
            nearest_cell(getattr(rows, name), book, name)
            for name, book in zip(Inputs._fields, (book_x, book_y, book_y, book_x, book_y), strict=True)
        )
        k_x, k_y = len(np.asarray(book_x)), len(np.asarray(book_y))
        few_x, few_y = affordable_cells(k_x, k_y, fewest)
        of_x = merge_cells(book_x, np.bincount(x_p, minlength=k_x), few_x)
        of_y = merge_cells(book_y, np.bincount(np.concatenate([y_p, yhat_p]), minlength=k_y), few_y)
        found = of_x[x_p], of_y[y_p], of_y[yhat_p], of_x[x_q], of_y[yhat_q]
        return cls(*found, tuple(of_x.tolist()), tuple(of_y.tolist()))

    @property
    def k_x(self) -> int:
        return max(self.unions_x) + 1

    @property
    def k_y(self) -> int:
        return max(self.unions_y) + 1


@dataclass(frozen=True, eq=False)
class _Tables:
    """The tables hold each row's addend to every table, so that leaving a row out is a subtraction.

    P: [(x, y) and (x, ŷ) counts on 2K_x x K_y each | what its label does to the inside table K_x x K_y, zero
    in sum]. Q: [(x, ŷ) counts on 2K_x x K_y | p̂ of inside rows K_x x K_y | outside 1 | rows 1]. x is the
    pair (cell, outside or not).
    """

    p: Float
    q: Float
    correction: Float
    """(K_x, K_y) mean residual by cell"""
    k_x: int
    k_y: int

    @classmethod
    def of(cls, cells: _Cells, coverage: Overlap) -> _Tables:
        cells_p, y, yhat_p, cells_q, yhat_q = cells[:5]
        k_x, k_y = cells.k_x, cells.k_y
        labels = np.eye(k_y)[y]
        fit_p, fit_q = (_mean_labels(labels, near) for near in (coverage.neighbours_p, coverage.neighbours_q))
        inside_q = ~coverage.outside_q
        weight = _cell_weights(coverage.weights * ~coverage.outside_p, cells_p, k_x)
        influence = _label_weights(
            weight, cells_p, coverage.neighbours_p, cells_q[inside_q], coverage.neighbours_q[inside_q], k_x
        )
        noise = _outer(influence, labels - fit_p)
        # Less its mean under the same weights, so that leaving rows out shows curvature only.
        noise -= (influence[:, :, None] * noise.sum(axis=0).reshape(k_x, k_y)).reshape(len(noise), -1)
        pair_p = cells_p + k_x * coverage.outside_p
        pair_q = cells_q + k_x * coverage.outside_q
        p = (_counts(pair_p, y, 2 * k_x, k_y), _counts(pair_p, yhat_p, 2 * k_x, k_y), noise)
        q = (
            _counts(pair_q, yhat_q, 2 * k_x, k_y),
            _outer(np.eye(k_x)[cells_q] * inside_q[:, None], fit_q),
            coverage.outside_q[:, None].astype(np.float64),
            np.ones((len(cells_q), 1)),
        )
        correction = np.zeros((k_x, k_y))
        np.add.at(correction, cells_p, (labels - fit_p) * weight[:, None])
        return cls(np.concatenate(p, axis=1), np.concatenate(q, axis=1), correction, k_x, k_y)

    def ends(self, p: Float, q: Float) -> _Ends:
        """Statistics of r totals: p (r or 1, columns), q (r or 1, columns)."""
        k_x, k_y = self.k_x, self.k_y
        pair, cell = 2 * k_x * k_y, k_x * k_y
        i_reference, i_model = (
            mutual_information(p[:, a : a + pair].reshape(-1, 2 * k_x, k_y)) for a in (0, pair)
        )
        noise = p[:, 2 * pair :].reshape(-1, k_x, k_y)
        model_q = q[:, :pair].reshape(-1, 2 * k_x, k_y)
        fitted = q[:, pair : pair + cell].reshape(-1, k_x, k_y)
        outside = q[:, -2] / q[:, -1]
        # Residuals are averaged within the cell, and count as many rows as Q has there.
        rows_in = fitted.sum(axis=2, keepdims=True)
        inside = np.maximum(fitted + rows_in * (self.correction + noise), 0)
        limits = identified_limits(inside, outside)
        i_model_q = mutual_information(model_q)
        emi_p = i_model - i_reference
        known = emi_p - i_model_q
        mass = inside.sum(axis=(1, 2))
        i_in = mutual_information(inside / np.where(mass > 0, mass, 1.0)[:, None, None])
        most = np.minimum(entropy(model_q.sum(axis=2)), np.log(k_y))
        high = np.maximum(np.minimum(limits.high, most), limits.low)
        estimate = np.clip(i_in, limits.low, high)
        r = max(len(p), len(q))
        return _Ends(
            *(
                np.broadcast_to(v, (r,))
                for v in (known + limits.low, known + high, known + estimate, i_in, emi_p, i_model_q)
            )
        )


def _ratio(width: float, error: float) -> float:
    """Return the range's width in standard errors, at most 100 (more changes nothing)."""
    return float(min(width / error, 100.0)) if error > 0 else 0.0


def _jackknife(full: Float, addends: Float, ends: Callable[[Float], _Ends]) -> tuple[Float, Float]:
    """(6,) bias and variance of the statistics under leaving out one row of `addends` at a time: those of a
    row, or of a group's rows together.

    Equal to `jackknife.moments` with a group a row, to rounding; that one names every deletion, and wants
    each statistic's value for it by name: of thousands of rows they are counted, not named.
    """
    n, total = len(addends), addends.sum(axis=0)
    parts = [
        np.array(ends(total - addends[start : start + _CHUNK_ROWS])) for start in range(0, n, _CHUNK_ROWS)
    ]
    left = np.concatenate(parts, axis=1)
    mean = left.mean(axis=1)
    return (n - 1) * (mean - full), (n - 1) / n * np.square(left - mean[:, None]).sum(axis=1)


def _cell_weights(weight: Float, cells: Cells, k_x: int) -> Float:
    """(n,) weights of the residuals, of sum e / (e + 15) in each cell, e its effective number of rows.

    p̂ is a mean of 15 labels; its correction is a mean of e. A correction by a handful of heavy rows adds
    more noise than it removes bias: fully believed (sum 1), I_in at 160 kinds under extreme mixes was 0.14
    too high before debiasing (0.07 so), and one window of 2,000 rows on 60 effective ones stayed 0.39 too
    high.
    """
    total = np.bincount(cells, weights=weight, minlength=k_x)
    squares = np.bincount(cells, weights=np.square(weight), minlength=k_x)
    # e / (e + 15) / total, with e = total² / squares.
    scale = total / np.maximum(np.square(total) + NEIGHBOURS * squares, 1e-300)
    return np.asarray(weight * scale[cells])


def _label_weights(
    weight: Float,
    cells_p: Cells,
    near_p: NDArray[np.int64],
    cells_q: Cells,
    near_q: NDArray[np.int64],
    k_x: int,
) -> Float:
    """(n, K_x) weight of each labelled row in the law of y of each cell; a cell with rows of Q sums to 1.

    A label enters by p̂ at Q's inside rows, by its own residual, and by p̂ in its neighbours' residuals.
    Holding p̂ (its own residual alone) left I_in 0.014 too high and covered 90% where this covers 92% (40 and
    160 kinds, 144 windows).
    """
    n, k = near_p.shape
    rows_in = np.bincount(cells_q, minlength=k_x)
    at_q = _spread(near_q, cells_q, 1 / (k * rows_in[cells_q]), n, k_x)
    at_p = _spread(near_p, cells_p, weight / k, n, k_x)
    own = np.zeros((n, k_x))
    own[np.arange(n), cells_p] = weight
    return at_q + (own - at_p) * (rows_in > 0)


def _spread(near: NDArray[np.int64], cells: Cells, weight: Float, n: int, k_x: int) -> Float:
    """(n, K_x) sums of `weight` (r,) over the rows (r,) of each cell that have n's row as a neighbour."""
    flat = (near * k_x + cells[:, None]).ravel()
    total = np.bincount(flat, weights=np.repeat(weight, near.shape[1]), minlength=n * k_x)
    return np.asarray(total.reshape(n, k_x))


def _mean_labels(labels: Float, near: NDArray[np.int64]) -> Float:
    """(r, K_y) mean one-hot label of each row's neighbours (r, 15)."""
    fit = np.zeros((len(near), labels.shape[1]))
    for column in range(near.shape[1]):
        fit += labels[near[:, column]]
    return fit / near.shape[1]


def _counts(x: Cells, y: Cells, k_x: int, k_y: int) -> Float:
    """(n, k_x k_y) one-hot of (x, y)"""
    out = np.zeros((len(x), k_x * k_y))
    out[np.arange(len(x)), x * k_y + y] = 1
    return out


def _outer(a: Float, b: Float) -> Float:
    return (a[:, :, None] * b[:, None, :]).reshape(len(a), -1)
