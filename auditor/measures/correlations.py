"""This module measures how measures go together over scenarios, and the most that a correlation with a
measured truth reaches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from schemas.report import Correlation, Row

LEAST = 4
"""Scenarios below which a correlation says nothing."""


def correlation(
    x: Sequence[float | None], y: Sequence[float | None], kind: Literal["pearson", "spearman"]
) -> tuple[float | None, int]:
    """Correlate the pairs of which both values are known; None below LEAST of them or where one does not
    vary."""
    pairs = np.array(
        [(a, b) for a, b in zip(x, y, strict=True) if a is not None and b is not None], dtype=np.float64
    )
    if len(pairs) < LEAST or np.ptp(pairs[:, 0]) == 0 or np.ptp(pairs[:, 1]) == 0:
        return None, len(pairs)
    measure = stats.pearsonr if kind == "pearson" else stats.spearmanr
    return float(measure(pairs[:, 0], pairs[:, 1]).statistic), len(pairs)


def split_half_ceiling(
    scores: Sequence[NDArray[np.float64]], kind: Literal["pearson", "spearman"], seed: int, splits: int = 50
) -> float | None:
    """Estimate the most that a perfect measure could correlate with means of `scores`, a set a scenario.

    Rows are halved at random; the halves' correlation over scenarios, stepped up to full length
    (Spearman-Brown), is the reliability of the means, and its root the ceiling.
    """
    if len(scores) < LEAST or min(map(len, scores)) < 2:
        return None
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(splits):
        halves = []
        for rows in scores:
            order = rng.permutation(len(rows))
            halves.append((rows[order[: len(rows) // 2]].mean(), rows[order[len(rows) // 2 :]].mean()))
        value, _ = correlation([a for a, _ in halves], [b for _, b in halves], kind)
        if value is not None:
            values.append(value)
    if not values:
        return None
    r = max(0.0, float(np.mean(values)))
    return float(np.sqrt(2 * r / (1 + r)))


def correlations(
    rows: Sequence[Row], scores: dict[tuple[str, str | None], NDArray[np.float64]], seed: int
) -> list[Correlation]:
    """Correlate what the report compares, model by model: EMID with its bound, EMI with the truth, the true
    drop with the bound. EMI and EMID of rows where they are not reliable are left out."""
    out = []
    for model in dict.fromkeys(row.model for row in rows):
        model_rows = [row for row in rows if row.model == model]
        shifted = [row for row in model_rows if row.family != "id"]
        first = next((row for row in model_rows if row.family == "id"), None)
        emid = [None if row.reliable is False else row.emid for row in shifted]
        scaled = [row.bounds["scaled"].value if "scaled" in row.bounds else None for row in shifted]
        centred = [
            row.bounds["scaled_null_centred"].value if "scaled_null_centred" in row.bounds else None
            for row in shifted
        ]
        pairs: list[
            tuple[str, str, Literal["pearson", "spearman"], list[float | None], list[float | None], list[Row]]
        ] = [
            ("emid", "bounds.scaled", "pearson", emid, scaled, shifted),
            ("emid", "bounds.scaled_null_centred", "pearson", emid, centred, shifted),
            (
                "emi",
                "accuracy",
                "spearman",
                [None if row.reliable is False else row.emi for row in model_rows],
                [row.accuracy for row in model_rows],
                model_rows,
            ),
        ]
        if first is not None and first.accuracy is not None:
            drop = [None if row.accuracy is None else first.accuracy - row.accuracy for row in shifted]
            pairs.append(("accuracy drop", "bounds.scaled", "pearson", drop, scaled, shifted))
            pairs.append(("accuracy drop", "bounds.scaled_null_centred", "pearson", drop, centred, shifted))
            pairs.append(("accuracy drop", "emid", "pearson", drop, emid, shifted))
        for x, y, kind, xs, ys, used in pairs:
            value, n = correlation(xs, ys, kind)
            if n == 0:
                continue
            truth = [scores[key] for row in used if (key := (row.scenario, row.model)) in scores]
            ceiling = split_half_ceiling(truth, kind, seed) if "accuracy" in x + y else None
            out.append(Correlation(x=x, y=y, model=model, kind=kind, value=value, n=n, ceiling=ceiling))
    return out
