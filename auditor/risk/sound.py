"""This module computes `sound_label_free` from arrays: an upper bound of the quantised EMID, no label on
Q."""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import ArrayLike

from auditor.bounds import emid_bound
from auditor.divergences import rjsd
from auditor.neighbours.codebook import nearest_cell
from auditor.risk.tables import jackknifed_entropy
from auditor.sketch import as_rows


@dataclass(frozen=True)
class SoundLabelFree:
    """The bound (nats) comes with every term that went into it; answers are on `symbols` = K cells."""

    value: float
    """At most 2 log K, which no EMID of K cells exceeds"""
    h_model_p: float
    """H(P_Yθ), jackknifed"""
    h_model_q: float
    d_x: float
    """As given, else RJSD of the rows, which is at most the true divergence"""
    d_x_source: str
    entropy_y: float
    """Ĥ_Y; log K unless given"""
    entropy_model: float | None
    """Ĥ_θ where (B) was not given; log K unless given"""
    entropy_shift: float | None
    """(B), of the quantised answers, where it was measured"""
    symbols: int
    n_p: int
    n_q: int


def sound_label_free(
    x_p: ArrayLike,
    yhat_p: ArrayLike,
    x_q: ArrayLike,
    yhat_q: ArrayLike,
    codebook: ArrayLike,
    *,
    d_x: float | None = None,
    entropy_y: float | None = None,
    entropy_model: float | None = None,
    entropy_shift: float | None = None,
) -> SoundLabelFree:
    """Compute the upper bound of the EMID of answers on `codebook` (K, d_y), in nats, given that Y|X is
    unchanged.

    x_p (n, d), yhat_p (n, d_y), x_q (m, d), yhat_q (m, d_y). `d_x`: JS divergence of the inputs, else RJSD of
    the rows. `entropy_y`, `entropy_model`: largest conditional entropies of the quantised answers (at most,
    and by default, log K); `entropy_shift`: (B), from several sampled answers a query, in place of the
    model's.
    The theorem is about true divergences and entropies: computed from estimates, the value is an estimate.
    ValueError where shapes do not fit.
    """
    p, q = as_rows(x_p, "x_p"), as_rows(x_q, "x_q")
    cells_p, cells_q = nearest_cell(yhat_p, codebook, "yhat_p"), nearest_cell(yhat_q, codebook, "yhat_q")
    for name, x, cells in (("P", p, cells_p), ("Q", q, cells_q)):
        if len(x) != len(cells):
            raise ValueError(f"{len(x)} inputs and {len(cells)} answers on {name}")
    symbols = len(as_rows(codebook, "codebook"))
    h_p, h_q = (
        jackknifed_entropy(np.bincount(c, minlength=symbols).astype(np.float64)) for c in (cells_p, cells_q)
    )
    divergence = rjsd(p, q) if d_x is None else d_x
    most = log(symbols)
    h_y = most if entropy_y is None else min(entropy_y, most)
    h_model = most if entropy_model is None else min(entropy_model, most)
    value = emid_bound(
        "sound_label_free",
        h_model_p=h_p,
        h_model_q=h_q,
        d_x=divergence,
        entropy_y=h_y,
        entropy_model=h_model,
        entropy_shift=entropy_shift,
        symbols=symbols,
    )
    return SoundLabelFree(
        value=min(value, 2 * most),
        h_model_p=h_p,
        h_model_q=h_q,
        d_x=divergence,
        d_x_source="rjsd of the rows" if d_x is None else "given",
        entropy_y=h_y,
        entropy_model=h_model if entropy_shift is None else None,
        entropy_shift=entropy_shift,
        symbols=symbols,
        n_p=len(p),
        n_q=len(q),
    )
