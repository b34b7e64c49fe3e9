"""Evidence over windows: looking at every window costs no more false alarms than the budget allows.

Each window has a p-value that, without a change, is uniform whatever the earlier ones were (a conformal rank,
`auditor.significance.variation`). A bet on small p-values turns it into an e-value: a number of mean 1
without a change, and large under one. The Shiryaev-Roberts sum of products of e-values over all moments at
which a change may have begun, R_t = (1 + R_{t-1}) e_t, grows by 1 a window on average without a change. So an
alarm at R >= budget comes after `budget` windows on average, or later, without any further assumption (an
e-detector: Shin, Ramdas and Rinaldo 2023, "E-detectors"). After an alarm it starts anew.
"""

from __future__ import annotations

import numpy as np

from auditor.sketch import Float

LEVELS: Float = np.array([2.0**-i for i in range(1, 8)])
"""Each bet is that a p-value lies below one of these."""
STAKE = 0.7
"""Share of the evidence that each bet stakes on a window. What is left keeps it going where one window is
ordinary."""


def e_values(p: float) -> Float:
    """Return (levels,) the e-value of each bet: of mean 1 over a uniform p. ValueError outside [0, 1]."""
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"{p} is no p-value")
    return np.asarray((1.0 - STAKE) + STAKE * (p <= LEVELS) / LEVELS)


class EDetector:
    """An `EDetector` adds up the evidence of one p-value after the other, and says when a change began.

    The evidence is the mean of the sums of all bets, in windows: without a change it needs at least as many
    windows, on average, as it counts. O(levels) a window.
    """

    def __init__(self) -> None:
        self._sums = np.zeros(len(LEVELS))
        self._logs: list[Float] = []

    @property
    def evidence(self) -> float:
        """Return the evidence so far; 0 at the start."""
        return float(self._sums.mean())

    def update(self, p: float) -> float:
        """Take the next p-value, and return the evidence with it."""
        values = e_values(p)
        self._sums = (1.0 + self._sums) * values
        self._logs.append(np.log(values))
        return self.evidence

    def windows_since_change(self) -> int:
        """Return how many of the latest windows have changed, at least 1: those over which the mean of the
        bets' products is greatest, and of equals the fewest. ValueError before any window."""
        if not self._logs:
            raise ValueError("no window came yet")
        products = np.cumsum(np.array(self._logs[::-1]), axis=0)
        return int(np.argmax(np.logaddexp.reduce(products, axis=1))) + 1
