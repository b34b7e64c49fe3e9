"""The design effect says how many rows that belong together tell as much as one independent row.

It is Kish's: the variance of a mean, as it is, over what it would be if the same rows were independent
(L. Kish, Survey Sampling, 1965, section 5.4). For vectors variances are traces, and the variance of the mean
of grouped rows is estimated as cluster-robust standard errors are (Liang & Zeger 1986): by groups' sums.
"""

from __future__ import annotations

import numpy as np

from auditor.sketch import Float, Floats
from auditor.sketch.blocks import Index, group_sums


def effective_rows(z: Floats, groups: Index) -> float:
    """Return how many independent rows would tell as much of the mean of rows z (n, d), whose groups (n,) are
    labelled. O(n d).

    `n Σ_i |c_i|² / Σ_g |Σ_{i in g} c_i|²` with centred rows c, where the lower sum is scaled by
    (G/(G-1)) / (n/(n-1)) for G groups, since centring takes out more of few groups. At least 1 and at most n,
    and exactly n where each row is its own group.
    """
    n = len(z)
    _, labels = np.unique(groups, return_inverse=True)
    count = int(labels.max()) + 1 if n else 0
    if count == n:
        return float(n)
    if count < 2:
        return 1.0
    centred = z - z.mean(axis=0, dtype=np.float64)
    of_groups = float(np.square(group_sums(centred, labels)).sum())
    of_rows = float(np.square(centred).sum())
    if of_rows <= 1e-20 * float(np.square(z).sum(dtype=np.float64)) or not of_groups:
        return float(count)  # equal rows: nothing tells how alike those of a group are
    scale = (count / (count - 1)) / (n / (n - 1))
    return float(np.clip(n * of_rows / (scale * of_groups), 1.0, n))


def effective_scores(scores: Float, groups: Index) -> float:
    """Return the same of numbers (n,)."""
    return effective_rows(scores[:, None], groups)
