"""This module computes entropies of discrete laws and of counts, in nats."""

from __future__ import annotations

import numpy as np
from scipy.special import xlogy

from auditor.sketch import Float


def entropy(p: Float) -> Float:
    """Return (...) entropies (nats) of (..., K) weights, normalised here; 0 where all weights are 0.

    For counts this is the plug-in estimate, too low by about (K-1)/2n.
    """
    total = p.sum(axis=-1)
    safe = np.where(total > 0, total, 1.0)
    return np.where(total > 0, np.log(safe) - xlogy(p, p).sum(axis=-1) / safe, 0.0)


def jackknifed_entropies(counts: Float) -> tuple[Float, Float]:
    """Return (n,) entropies of (n, K) counts with the delete-one jackknife's bias taken off, and their
    variances."""
    m = counts.sum(axis=1)
    without = np.zeros_like(counts)
    for k in range(counts.shape[1]):
        has = counts[:, k] > 0
        fewer = counts[has].copy()
        fewer[:, k] -= 1
        without[has, k] = entropy(fewer)
    mean = np.sum(counts * without, axis=1) / m
    spread = np.sum(counts * np.square(without - mean[:, None]), axis=1) * (m - 1) / m
    return m * entropy(counts) - (m - 1) * mean, spread
