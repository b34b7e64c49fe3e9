"""This module computes information in tables of probabilities, and what part of it is identified when some
rows are unknown."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from auditor.bounds.discrete_entropy import entropy, jackknifed_entropies
from auditor.sketch import Float


class Limits(NamedTuple):
    """The limits are the least and the greatest I(X; Y) that the known part allows, each of the shape of the
    input (nats)."""

    low: Float
    high: Float


def mutual_information(table: Float) -> Float:
    """Return I(X; Y) (...) in nats of (..., K_x, K_y) weights >= 0, normalised here. Plug-in: biased
    upward."""
    flat = table.reshape(*table.shape[:-2], -1)
    return entropy(table.sum(axis=-1)) + entropy(table.sum(axis=-2)) - entropy(flat)


def greatest_entropy(known: Float, free: Float) -> Float:
    """Return the maximum over laws r of H(known + free·r), nats: known (..., K) with sum 1 - free, free (...)
    in [0, 1].

    Water is poured on the lowest cells until it is used up: exact, O(K log K).
    """
    k = known.shape[-1]
    lowest = np.sort(known, axis=-1)
    count = np.arange(1, k + 1)
    # Water level if exactly the j lowest cells are wet; true for the last j whose highest cell is below it.
    level = (np.cumsum(lowest, axis=-1) + free[..., None]) / count
    wet = (level >= lowest).sum(axis=-1, keepdims=True) - 1
    filled = np.maximum(known, np.take_along_axis(level, np.maximum(wet, 0), axis=-1))
    return entropy(filled)


def identified_limits(inside: Float, outside: Float) -> Limits:
    """Return the limits of I(X; Y) where Y is known inside the support only; x is the pair (cell, outside or
    not).

    inside: (..., K_x, K_y) joint law of (cell, y) of the inside rows, normalised here; outside: (...) share u
    of rows of which nothing but x is known. With U = outside or not,
    I = I(U; Y) + (1-u) I(X; Y|in) + u I(X; Y|out), so `low` = (1-u) I_in, and it is attained (y outside
    drawn from the inside's law whatever x). I = H(Y) - H(Y|X) gives `high` = max_r H((1-u) q + u r) -
    (1-u) H(Y|X, in), q the law of y inside: never above (1-u) I_in + h(u) + u log K_y, and attained where the
    outside cells are fine enough for y to be a function of them.
    """
    mass = inside.sum(axis=(-2, -1))
    joint = inside / np.where(mass > 0, mass, 1.0)[..., None, None]
    i_in, q = mutual_information(joint), joint.sum(axis=-2)
    known = (1 - outside)[..., None] * q
    high = greatest_entropy(known, outside) - (1 - outside) * (entropy(q) - i_in)
    return Limits((1 - outside) * i_in, high)


def jackknifed_entropy(counts: Float) -> float:
    """Return the entropy (nats) of (K,) counts with the delete-one jackknife's bias taken off, within [0, log
    K]."""
    n = counts.sum()
    if n < 2:
        raise ValueError(f"an entropy needs at least 2 rows, not {n:g}")
    value, _ = jackknifed_entropies(counts[None, :])
    return float(np.clip(value[0], 0.0, np.log(len(counts))))
