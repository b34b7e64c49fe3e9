"""Whether a window lies farther off than a service's windows do, and since when.

Windows are judged one after the other, in their order. Each is ranked among the baseline's windows and those
that were judged before it: by how far it lies from all others, in the modality in which that is most
(`auditor.significance.variation`). The ranks are evidence of a change (`auditor.significance.sequential`).
Where the evidence reaches the budget an alarm begins. It ends where a window comes that is not among the
farthest quarter. While it lasts, its windows, from the change point on, are none that later ones are ranked
among. Once it has ended they are, unless it lasted: were the farthest windows of a service that only varies
left out for good, what is left would make ever more windows look far. A change that lasted stays out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from auditor.measures.window_means import WindowMeans, together
from auditor.significance.sequential import EDetector
from auditor.significance.variation import (
    Distances,
    farthest,
    rank_of_last,
    smoothed_p_value,
    standardised,
)
from auditor.sketch import Float
from auditor.sketch.blocks import Index
from schemas.report import Distance, Variation

ENOUGH_WINDOWS = 10
"""Windows of a baseline from which they are the yardstick."""
NEAR = 0.25
"""An alarm ends at the first window that is not among this share of all windows, the farthest."""
LASTING = 3
"""Windows after the one an alarm began with from which it has lasted: of alarms by chance, NEAR to this
power."""
BAND = (0.05, 0.95)
"""Quantiles of the baseline's own windows that are shown as their band."""


def judged(
    baseline: Sequence[WindowMeans],
    current: Mapping[str, WindowMeans],
    *,
    budget: float,
    seed_of: Callable[[str], int],
    least_rows: int = 2,
) -> dict[str, Variation]:
    """Return how far each of the current windows (name -> its means, in their order) lies from the others,
    and the evidence of a change. `budget`: expected windows between false alarms; `seed_of` a window: what
    ties are broken by.

    A window of fewer than `least_rows` rows, or without any embedding, is left out, of the baseline's too;
    nothing is returned where fewer than ENOUGH_WINDOWS of these remain. What is said of a window depends on
    the windows before it alone. O(N r) a window, of N before it.
    """
    names = [name for name, window in current.items() if window.n >= least_rows and window.means]
    known = [window for window in baseline if window.n >= least_rows and window.means]
    k = len(known)
    if k < ENOUGH_WINDOWS or not names:
        return {}
    embeddings = together([*known, *(current[name] for name in names)])
    distances = {name: Distances(of_kernel) for name, of_kernel in embeddings.items()}
    bag, detector = list(range(k)), EDetector()
    watched: list[int] = []  # windows whose ranks the detector has
    apart: list[int] = []  # windows from the change point of an alarm on
    since: str | None = None
    under_alarm = 0
    found: dict[str, Variation] = {}
    for t, name in enumerate(names, start=k):
        by_modality = _by_modality(distances, np.array([*bag, t]))
        overall = farthest(np.column_stack(list(by_modality.values())))
        rank = rank_of_last(overall)
        if rank is None:  # it has only what too few other windows have
            continue
        if since is not None and rank.p_value > NEAR:
            if under_alarm <= LASTING:
                bag = sorted([*bag, *apart])
            bag.append(t)
            detector, watched, apart, since, under_alarm = EDetector(), [], [], None, 0
        elif since is not None:
            apart.append(t)
            under_alarm += 1
        else:
            uniform = float(np.random.default_rng(seed_of(name)).random())
            detector.update(smoothed_p_value(overall, uniform))
            bag.append(t)
            watched.append(t)
            if detector.evidence >= budget:
                first = watched[-detector.windows_since_change()]
                since, under_alarm = names[first - k], 1
                apart = [window for window in bag if window >= first]
                bag = [window for window in bag if window < first]
        found[name] = Variation(
            distance=_distance(overall, k),
            modalities={
                m: _distance(values, k) for m, values in by_modality.items() if np.isfinite(values[-1])
            },
            baseline_windows=k,
            evidence=detector.evidence,
            budget=budget,
            alarm=since is not None,
            since=since,
        )
    return found


def _by_modality(distances: Mapping[str, Distances], members: Index) -> dict[str, Float]:
    """Return modality -> (N,) distances of some windows from one another, each in the kernel in which it lies
    farthest off."""
    values = standardised(np.column_stack([of_kernel.logs(members) for of_kernel in distances.values()]))
    of_modality: dict[str, list[Float]] = {}
    for kernel, column in zip(distances, values.T, strict=True):
        of_modality.setdefault(kernel.split(".")[0], []).append(column)
    return {name: farthest(np.column_stack(columns)) for name, columns in of_modality.items()}


def _distance(values: Float, k: int) -> Distance:
    """Return the last of distances (N,), beside the first k, the baseline's own windows."""
    own = values[:k][np.isfinite(values[:k])]
    low, high = (float(np.quantile(own, share)) for share in BAND) if len(own) else (np.nan, np.nan)
    rank = rank_of_last(values)
    assert rank is not None
    return Distance(
        value=float(values[-1]),
        band=(low, high) if len(own) else None,
        rank=rank.rank,
        of=rank.of,
        p_value=rank.p_value,
    )
