"""This module checks the arrays that the label-free estimates take."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.stats import norm
from scipy.stats import t as student

from auditor.sketch import Floats, as_rows
from auditor.sketch.blocks import Index


class Inputs(NamedTuple):
    """The inputs are P with references and Q without: x (n, d) and (m, d); y and ŷ (n, d_y), (m, d_y)."""

    x_p: Floats
    y_p: Floats
    yhat_p: Floats
    x_q: Floats
    yhat_q: Floats


def checked(
    x_p: ArrayLike, y_p: ArrayLike, yhat_p: ArrayLike, x_q: ArrayLike, yhat_q: ArrayLike, level: float
) -> Inputs:
    """Return the arrays as matrices. Raises ValueError, which names the argument whose shape or values do not
    fit."""
    if not 0 < level < 1:
        raise ValueError(f"level {level} must lie in (0, 1)")
    got = Inputs(
        as_rows(x_p, "x_p"),
        as_rows(y_p, "y_p"),
        as_rows(yhat_p, "yhat_p"),
        as_rows(x_q, "x_q"),
        as_rows(yhat_q, "yhat_q"),
    )
    for name, a, n in (
        ("y_p", got.y_p, len(got.x_p)),
        ("yhat_p", got.yhat_p, len(got.x_p)),
        ("yhat_q", got.yhat_q, len(got.x_q)),
    ):
        if len(a) != n:
            raise ValueError(f"{name} has {len(a)} rows for {n} inputs")
        if a.shape[1] != got.y_p.shape[1]:
            raise ValueError(f"{name} has dimension {a.shape[1]}, y_p has {got.y_p.shape[1]}")
    if got.x_p.shape[1] != got.x_q.shape[1]:
        raise ValueError(f"x_p has dimension {got.x_p.shape[1]}, x_q has {got.x_q.shape[1]}")
    return got


def group_labels(groups: ArrayLike | None, n: int, name: str) -> Index:
    """Return (n,) labels 0, 1, ... of the groups that rows are in, in the order of their first rows, given
    their names (n,); each row by itself where there are none. ValueError, which names the argument, where
    their number does not fit."""
    if groups is None:
        return np.arange(n)
    _, first, labels = np.unique(np.asarray(groups), return_index=True, return_inverse=True)
    if labels.shape != (n,):
        raise ValueError(f"{name} has {labels.size} labels for {n} rows")
    return np.argsort(np.argsort(first))[labels].astype(np.int64)


def quantile(level: float, labels_p: Index, labels_q: Index, width: float = 0.0) -> float:
    """Return by how many standard errors an interval reaches out: the two-sided normal quantile, and of rows
    in groups Student's t with one degree of freedom less than the side with fewer groups has.

    `width`: of an identified range, in standard errors. The interval is to hold one value somewhere in that
    range, not the whole range. Where the range is wide, the value can be missed at one end only, and less
    reach is enough, down to the one-sided quantile (Imbens and Manski, Econometrica 2004).
    """
    counts = [int(labels.max()) + 1 for labels in (labels_p, labels_q)]
    in_groups = counts != [len(labels_p), len(labels_q)]
    law = student(max(1, min(counts) - 1)) if in_groups else norm()
    most = float(law.ppf((1 + level) / 2))
    if width <= 0:
        return most
    return float(brentq(lambda c: law.cdf(c + width) - law.cdf(-c) - level, min(law.ppf(level), most), most))
