"""This module checks the five arrays that the label-free estimates take."""

from __future__ import annotations

from typing import NamedTuple

from numpy.typing import ArrayLike

from auditor.sketch import Floats, as_rows


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
