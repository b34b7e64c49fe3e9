"""False alarms of the drift test: how often its p-value is at most 1, 5, 10% where there is no shift.

The p-value is that of `drift_test`, asked for without its RJSD part (which does not enter it); in each of
the smaller cells a call of `drift_test` itself shows that it is the same. A rate is right where it lies
inside the exact binomial 99.9% interval. Paired rows are perturbed twice from one base row, so that both
members of a pair have one law; a pairing needs as many rows on both sides: the smaller size stands for both.

Run: python benchmarks/bench_calibration.py [--quick] [--processes 2]
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from time import perf_counter

import numpy as np
from _shared import machine, options, scales, spread_out, unit
from scipy.stats import binom

from auditor.significance import PERMUTATIONS, drift_test
from auditor.significance.permutation import paired_test, unpaired_test
from auditor.sketch import Float

SIZES, DIMS, LEVELS = ((500, 500), (500, 100), (5000, 300)), (64, 512), (0.01, 0.05, 0.1)
CONFIDENCE = 0.999
_TEST = 0
"""Which of the streams of a seed `drift_test` gives to its permutations."""
_PART = 25
"""Repetitions a job."""


@dataclass(frozen=True)
class Job:
    """Some null repetitions of one cell."""

    n: int
    m: int
    d: int
    paired: bool
    first: int
    repetitions: int
    permutations: int


def rows(job: Job, repetition: int) -> tuple[Float, Float]:
    """Unit rows p (n, d) and q (m, d) of one law."""
    rng = np.random.default_rng([job.n, job.m, job.d, job.paired, repetition])
    if job.paired:
        base = rng.normal(size=(job.n, job.d)) * scales(job.d)
        p, q = (base + 0.5 * rng.normal(size=base.shape) * scales(job.d) for _ in range(2))
        return unit(p), unit(q)
    p, q = (rng.normal(size=(size, job.d)) * scales(job.d) for size in (job.n, job.m))
    return unit(p), unit(q)


def p_value(p: Float, q: Float, paired: bool, permutations: int, seed: int) -> float:
    """As `drift_test(p, q, seed, paired)` finds it."""
    rng = np.random.default_rng(np.random.SeedSequence(seed).spawn(3)[_TEST])
    return (paired_test if paired else unpaired_test)(p, q, permutations, rng).p_value


def run(job: Job) -> tuple[list[float], float]:
    start = perf_counter()
    numbers = range(job.first, job.first + job.repetitions)
    found = [p_value(*rows(job, i), job.paired, job.permutations, seed=i) for i in numbers]
    return found, perf_counter() - start


def main() -> None:
    parser = options(__doc__, processes=True)
    parser.add_argument("--repetitions", type=int, default=500)
    parser.add_argument("--permutations", type=int, default=PERMUTATIONS)
    args = parser.parse_args()
    repetitions, permutations = (20, 199) if args.quick else (args.repetitions, args.permutations)
    cells = [(n, m, d, False) for d, (n, m) in product(DIMS, SIZES)]
    cells += [(min(s), min(s), d, True) for d, s in product(DIMS, SIZES)]
    allowed = [
        binom.ppf([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], repetitions, level) / repetitions
        for level in LEVELS
    ]
    print(machine())
    print(
        f"{repetitions} null repetitions a cell, {permutations} permutations. Allowed: "
        + ", ".join(
            f"{low:.1%} to {high:.1%} at {level:.0%}"
            for level, (low, high) in zip(LEVELS, allowed, strict=True)
        )
    )
    for n, m, d, paired in cells:
        job = Job(n, m, d, paired, 0, 1, permutations)
        if n + m <= 1000:
            whole = drift_test(*rows(job, 0), seed=0, paired=paired, permutations=permutations, null_draws=2)
            assert whole.p_value == run(job)[0][0], "not the p-value of drift_test"
    jobs = [
        Job(*cell, first, min(_PART, repetitions - first), permutations)
        for cell in cells
        for first in range(0, repetitions, _PART)
    ]
    results = iter(spread_out(run, jobs, args.processes))
    print(
        f"{'':8s} {'n_P':>5s} {'n_Q':>5s} {'d':>4s} {'1%':>6s} {'5%':>6s} {'10%':>6s}  "
        f"{'inside':6s} {'s/test':>7s}"
    )
    for cell in cells:
        parts = [next(results) for _ in range(-(-repetitions // _PART))]
        p = np.concatenate([values for values, _ in parts])
        rates = [float((p <= level).mean()) for level in LEVELS]
        inside = all(low <= rate <= high for rate, (low, high) in zip(rates, allowed, strict=True))
        print(
            f"{'paired' if cell[3] else 'unpaired':8s} {cell[0]:5d} {cell[1]:5d} {cell[2]:4d} "
            + " ".join(f"{rate:6.1%}" for rate in rates)
            + f"  {'yes' if inside else 'NO':6s} {sum(took for _, took in parts) / repetitions:7.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
