"""Whether another share of the rows has something (an image, an answer) than of the reference rows.

Fisher's exact test of counts. Rows that belong together count as the independent rows that tell as much.
Where the reference is cut into enough windows, a share must also lie outside those of all of them, and rows
of one window count for less by how alike they are (the correlation within windows of a beta-binomial law, by
its moments), so that a service whose days differ is held against its days.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

ENOUGH_WINDOWS = 10
"""Fewer reference windows do not tell how windows differ."""


class Counted(NamedTuple):
    """So many of the rows have something."""

    k: int
    n: int
    independent: float = 1.0
    """Independent rows that tell as much as one row, up to 1."""

    @property
    def share(self) -> float:
        return self.k / self.n if self.n else 0.0


def share_test(p: Counted, q: Counted, windows: Sequence[Counted] = ()) -> float | None:
    """Return the p-value of q having the share of p, whose `windows` (if there are enough of them) tell how
    windows differ; None where no counts of this size could tell: all rows of both have it, or none has."""
    if not p.n or not q.n or p.k + q.k in (0, p.n + q.n):
        return None
    scale_p, scale_q = p.independent, q.independent
    windows = [window for window in windows if window.n]
    if len(windows) >= ENOUGH_WINDOWS:
        shares = [window.share for window in windows]
        if min(shares) <= q.share <= max(shares):
            return 1.0
        alike = within_windows(windows)
        of_window = sum(window.n for window in windows) / len(windows)
        scale_p = min(scale_p, 1 / (1 + (of_window - 1) * alike))
        scale_q = min(scale_q, 1 / (1 + (q.n - 1) * alike))
    table = [_scaled(p, scale_p), _scaled(q, scale_q)]
    return float(stats.fisher_exact(table).pvalue)


def more_test(p: Counted, q: Counted) -> float:
    """Return the one-sided p-value of q having a larger share than p."""
    return float(stats.fisher_exact([[q.k, q.n - q.k], [p.k, p.n - p.k]], "greater").pvalue)


def within_windows(windows: Sequence[Counted]) -> float:
    """Return the correlation, 0 to 1, of two rows of one window having something, beyond what all windows
    share: what makes the windows' shares vary more than those of independent rows would."""
    k, n = (np.array([getattr(window, name) for window in windows], np.float64) for name in ("k", "n"))
    p = k.sum() / n.sum()
    if not 0 < p < 1 or n.mean() <= 1:
        return 0.0
    dispersion = float(np.sum(np.square(k - n * p) / (n * p * (1 - p)))) / (len(windows) - 1)
    return float(np.clip((dispersion - 1) / (n.mean() - 1), 0.0, 1.0))


def _scaled(counted: Counted, scale: float) -> tuple[int, int]:
    """Return how many have it and how many have not, of so many independent rows: at least one row."""
    n = max(1, round(counted.n * scale))
    k = min(n, round(counted.k * n / counted.n))
    return k, n - k
