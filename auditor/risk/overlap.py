"""This module measures how far P's inputs cover Q's; every label-free number is reported with it.

Three different failures, three measures. *Outside*: rows of Q far from any reference row. *Moved*: rows that
are near some reference row, but farther than its own neighbours are (a blur that displaces every row a little
leaves few of them outside). *Thin*: few reference rows carry the weight of a new mix.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auditor.neighbours.index import Index
from auditor.risk.inputs import group_labels
from auditor.risk.ratio import FOLDS, Features, density_ratio, ratio_of_features
from auditor.significance import FAR_MORE
from auditor.sketch import Float, Floats, as_rows

NEIGHBOURS = 15
"""The number of neighbours that the regressions of y on x use; 30 gave the same errors."""
INSIDE = 0.995
"""Quantile of P's own leave-one-out distances beyond which a row counts as outside."""
LEAST_ROWS_P = 2 * NEIGHBOURS
LEAST_ROWS_Q = LEAST_GROUPS = 2 * FOLDS


@dataclass(frozen=True, eq=False)
class Overlap:
    """An overlap is the coverage of Q's m inputs by P's n, with the neighbours and weights that the estimates
    are made of."""

    outside: float
    """u: share of Q's rows whose nearest reference row is farther than P's own 99.5% distance; 0.005 without
    a shift"""
    moved: float
    """Mean rank, among P's own, of Q's local distances (to the nearest reference row, in units of that row's
    own nearest distance): 0.5 without a shift and, as kinds have each their unit, under a new mix; towards 1
    where every row moved. Repeated inputs in P (one image under many questions) raise it"""
    auc: float
    """AUC of the held-out classifier of P against Q"""
    effective: float
    """Effective number of P's rows under w"""
    overlap: float
    """(1 - outside) · effective / n, in [0, 1]"""
    radius: float
    """The distance beyond which a row is outside"""
    outside_p: NDArray[np.bool_]
    """(n,) by leave-one-out"""
    outside_q: NDArray[np.bool_]
    """(m,)"""
    weights: Float
    """(n,) w(x) = Q_X/P_X, mean 1, cross-fitted"""
    neighbours_p: NDArray[np.int64]
    """(n, 15) nearest other rows of P"""
    neighbours_q: NDArray[np.int64]
    """(m, 15) nearest rows of P"""
    groups_p: int
    """Groups of rows of P that belong together: n where each row is by itself"""
    groups_q: int


@dataclass(frozen=True, eq=False)
class Support:
    """A support is what coverage needs of P's n inputs alone: fitted once, it serves every Q that P is
    compared with."""

    rows: NDArray[np.float32]
    """(n, d)"""
    groups: NDArray[np.int64]
    """(n,) labels of rows that belong together; other rows below are those of other groups"""
    neighbours: NDArray[np.int64]
    """(n, 15) nearest other rows"""
    own: Float
    """(n,) distance to the nearest other row"""
    local: Float
    """(n,) that distance in units of the nearest row's own nearest distance, the row's group left out"""

    @classmethod
    def fit(cls, x_p: ArrayLike, groups: ArrayLike | None = None) -> Support:
        """Fit the support on P's inputs (n, d), whose groups (n,) are labelled where rows belong together: a
        row beside others of its own group says nothing of how near a new group comes. Exact neighbours by
        FAISS: O(n² d), and memory for the size of the largest group a row.

        ValueError where a row is not finite, or rows, groups, or rows outside a group are too few (30, 10 and
        15).
        """
        p = _rows(x_p, "x_p", LEAST_ROWS_P)
        labels = _labels(groups, len(p), "groups_p")
        sizes = np.bincount(labels)
        if len(p) - sizes.max() < NEIGHBOURS:
            raise ValueError(f"all but {len(p) - sizes.max()} of {len(p)} rows of x_p are of one group")
        near = _others(Index(p).search(p, min(len(p), NEIGHBOURS + int(sizes.max()))).ids, labels)
        own = _distance(p, p[near[:, 0]])
        return cls(p, labels, near, own, _relative(own, _next_distance(p, near, labels)))

    @cached_property
    def index(self) -> Index:
        """Return an index of the rows, to be searched."""
        return Index(self.rows)

    @cached_property
    def features(self) -> Features:
        """Return the features that classifiers of P against a far smaller Q use."""
        return Features.fit(self.rows.astype(np.float64), seed=0)

    @cached_property
    def seen(self) -> Float:
        """Return these features (n, 1 + p) of P's rows."""
        return self.features.of(self.rows.astype(np.float64))

    @cached_property
    def radius(self) -> float:
        """Return the distance beyond which a row is outside."""
        return float(np.quantile(self.own, INSIDE))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return plain arrays, for npz (never pickle), without the rows themselves."""
        arrays = {"groups": self.groups, "neighbours": self.neighbours}
        return {**arrays, "own": self.own, "local": self.local}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, ArrayLike], x_p: ArrayLike) -> Support:
        """Read what `to_arrays` gave, with the rows (n, d) that it was fitted on. ValueError where it cannot
        have been."""
        p = _rows(x_p, "x_p", LEAST_ROWS_P)
        near, labels = (np.asarray(arrays[name], dtype=np.int64) for name in ("neighbours", "groups"))
        own, local = (np.asarray(arrays[name], dtype=np.float64) for name in ("own", "local"))
        fits = near.shape == (len(p), NEIGHBOURS) and labels.shape == own.shape == local.shape == (len(p),)
        if not (fits and near.min() >= 0 and near.max() < len(p)):
            raise ValueError(f"not the support of {len(p)} rows: {near.shape}, {own.shape}, {local.shape}")
        if not (np.isfinite(own).all() and np.isfinite(local).all()):
            raise ValueError("not the support of these rows: some distances are not finite")
        return cls(p, labels, near, own, local)


def measure_overlap(
    x_p: ArrayLike | Support,
    x_q: ArrayLike,
    seed: int = 0,
    groups_p: ArrayLike | None = None,
    groups_q: ArrayLike | None = None,
) -> Overlap:
    """Measure the coverage of x_q (m, d) by x_p (n, d). Exact neighbours by FAISS: O((n + m) n d), of a
    fitted support O(m n d); the result is the same to the bit.

    groups_p (n,), groups_q (m,): labels of rows that belong together; a fitted support knows P's. ValueError
    where dimensions differ, a row is not finite, or rows or groups are too few (30 and 10 rows, 10 groups).
    """
    support = x_p if isinstance(x_p, Support) else Support.fit(x_p, groups_p)
    p, q = support.rows, _rows(x_q, "x_q", LEAST_ROWS_Q)
    labels_q = _labels(groups_q, len(q), "groups_q")
    if p.shape[1] != q.shape[1]:
        raise ValueError(f"x_p has dimension {p.shape[1]}, x_q has {q.shape[1]}")
    near_q = support.index.search(q, NEIGHBOURS).ids
    nearest_p, nearest_q = support.own, _distance(q, p[near_q[:, 0]])
    radius = support.radius
    outside_p, outside_q = nearest_p > radius, nearest_q > radius
    local_q = _relative(nearest_q, nearest_p[near_q[:, 0]])
    labels = support.groups, labels_q
    if len(p) >= FAR_MORE * len(q):
        seen_q = support.features.of(q.astype(np.float64))
        ratio = ratio_of_features(support.seen, seen_q, seed, *labels)
    else:
        ratio = density_ratio(p, q, seed, *labels)
    outside = float(outside_q.mean())
    return Overlap(
        outside=outside,
        moved=_mean_rank(local_q, support.local),
        auc=ratio.auc,
        effective=ratio.effective,
        overlap=(1 - outside) * ratio.effective / len(p),
        radius=radius,
        outside_p=outside_p,
        outside_q=outside_q,
        weights=ratio.weights,
        neighbours_p=support.neighbours,
        neighbours_q=near_q,
        groups_p=_count(support.groups),
        groups_q=_count(labels_q),
    )


def _rows(z: ArrayLike, name: str, least: int) -> NDArray[np.float32]:
    rows = np.ascontiguousarray(as_rows(z, name), dtype=np.float32)
    if len(rows) < least:
        raise ValueError(f"{name} has {len(rows)} rows: at least {least} are needed")
    return rows


def _labels(groups: ArrayLike | None, n: int, name: str) -> NDArray[np.int64]:
    labels = group_labels(groups, n, name)
    if (count := _count(labels)) < LEAST_GROUPS:
        raise ValueError(f"{name} has {count} groups: at least {LEAST_GROUPS} are needed")
    return labels


def _count(labels: NDArray[np.int64]) -> int:
    return int(labels.max()) + 1


def _others(ids: NDArray[np.int64], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n, 15) nearest of the rows that were found (n, k), ascending, those of each row's own group left
    out."""
    is_own = labels[ids] == labels[:, None]
    first = np.argsort(is_own, axis=1, kind="stable")[:, :NEIGHBOURS]
    return np.take_along_axis(ids, first, axis=1)


def _distance(a: Floats, b: Floats) -> Float:
    """Return the distances row by row, in float64."""
    return np.asarray(np.linalg.norm(a.astype(np.float64) - b, axis=1))


def _next_distance(p: Floats, near: NDArray[np.int64], labels: NDArray[np.int64]) -> Float:
    """(n,) distance from each row's nearest i to i's own nearest, the row's group left out."""
    nearest = near[:, 0]
    onward = _others(near[nearest], labels)[:, 0]
    return _distance(p[nearest], p[onward])


def _mean_rank(values: Float, among: Float) -> float:
    """Mean share of `among` that lies below, equals counted half."""
    ordered = np.sort(among)
    below, upto = (np.searchsorted(ordered, values, side=side) for side in ("left", "right"))
    return float((below + upto).mean() / (2 * len(ordered)))


def _relative(distance: Float, unit: Float) -> Float:
    """distance/unit where rows may have exact copies (0/0 is 1)."""
    tiny = 1e-6
    return (distance + tiny) / (unit + tiny)
