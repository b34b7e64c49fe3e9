"""False alarms of the drift test where rows belong together, with and without saying so.

Without a shift: groups of 1 to 30 rows of uneven sizes (geometric, `mean` rows), whose rows are alike to some
degree (intra-group correlation), 120 groups of P, 60 of Q. How often is the p-value at most 1, 5, 10%, with
the labels of the groups, and as if every row were its own? A rate is right where it lies inside the exact
binomial 99.9% interval. Then power: a mean moved in one direction. No test uses these seeds.

Run: python benchmarks/bench_groups.py [--quick] [--processes 2]
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from _shared import machine, options, scales, spread_out, unit
from scipy.stats import binom

from auditor.significance.grouped import grouped_test
from auditor.significance.permutation import unpaired_test
from auditor.sketch import Float
from auditor.sketch.blocks import Index

LEVELS, CONFIDENCE, MOST_ROWS = (0.01, 0.05, 0.1), 0.999, 30
GROUPS_P, GROUPS_Q, MOVED = 120, 60, 0.4
_PART = 25
"""Repetitions a job."""


@dataclass(frozen=True)
class Job:
    """Some repetitions of one cell."""

    mean: int
    alike: float
    d: int
    moved: float
    first: int
    repetitions: int
    permutations: int


def side(rng: np.random.Generator, groups: int, job: Job, moved: float) -> tuple[Float, Index]:
    """Unit rows (n, d) and the labels of their groups."""
    sizes = np.minimum(rng.geometric(1 / job.mean, size=groups), MOST_ROWS)
    labels = np.repeat(np.arange(groups), sizes)
    shared, own = rng.normal(size=(groups, job.d)), rng.normal(size=(len(labels), job.d))
    z = (np.sqrt(job.alike) * shared[labels] + np.sqrt(1 - job.alike) * own) * scales(job.d)
    z[:, 0] += 1.0
    z[:, 1] += moved
    return unit(z), labels


def run(job: Job) -> list[tuple[float, float]]:
    """P-values with the labels, and without."""
    found = []
    for repetition in range(job.first, job.first + job.repetitions):
        rng = np.random.default_rng([2026, job.mean, int(100 * job.alike), job.d, repetition])
        (p, groups_p), (q, groups_q) = side(rng, GROUPS_P, job, 0.0), side(rng, GROUPS_Q, job, job.moved)
        with_groups = grouped_test(p, q, groups_p, groups_q, job.permutations, rng).p_value
        found.append((with_groups, unpaired_test(p, q, job.permutations, rng).p_value))
    return found


def main() -> None:
    parser = options(__doc__, processes=True)
    parser.add_argument("--repetitions", type=int, default=500)
    args = parser.parse_args()
    repetitions, permutations = (20, 99) if args.quick else (args.repetitions, 499)
    kinds = [(1, 0.0), *product((3, 10), (0.2, 0.5, 1.0))]
    cells = [(mean, alike, d, moved) for d in (64, 384) for mean, alike in kinds for moved in (0.0, MOVED)]
    print(machine())
    for level in LEVELS:
        low, high = binom.interval(CONFIDENCE, repetitions, level)
        print(f"allowed at {level:.0%} of {repetitions}: {low / repetitions:.1%} to {high / repetitions:.1%}")
    jobs = [
        Job(*cell, first, min(_PART, repetitions - first), permutations)
        for cell in cells
        for first in range(0, repetitions, _PART)
    ]
    results = iter(spread_out(run, jobs, args.processes))
    print(f"{'rows':>4s} {'alike':>5s} {'d':>4s} {'moved':>5s}   with groups at 1, 5, 10%    as single rows")
    for mean, alike, d, moved in cells:
        parts = [next(results) for _ in range(-(-repetitions // _PART))]
        p = np.array([values for part in parts for values in part])
        rates = [(p <= level).mean(axis=0) for level in LEVELS]
        inside = ""
        if not moved:
            intervals = [binom.interval(CONFIDENCE, repetitions, level) for level in LEVELS]
            right = all(
                low <= rate[0] * repetitions <= high
                for rate, (low, high) in zip(rates, intervals, strict=True)
            )
            inside = "inside" if right else "OUTSIDE"
        print(
            f"{mean:4d} {alike:5.1f} {d:4d} {moved:5.1f}   "
            + " ".join(f"{rate[0]:6.1%}" for rate in rates)
            + f" {inside:8s} "
            + " ".join(f"{rate[1]:6.1%}" for rate in rates),
            flush=True,
        )


if __name__ == "__main__":
    main()
