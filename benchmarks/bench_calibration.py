"""False alarms of the drift test: how often its p-value is at most 1, 5, 10% where there is no shift.

The p-value is that of `drift_test`, asked for without its RJSD part (which does not enter it); in each of
the smaller cells a call of `drift_test` itself shows that it is the same. A rate is right where it lies
inside the exact binomial 99.9% interval. Paired rows are perturbed twice from one base row, so that both
members of a pair have one law; a pairing needs as many rows on both sides: the smaller size stands for both.
Copies: a share of Q's rows have such a partner in P, the others have none. Duplicates: the rows of both sides
are drawn with replacement from one pool of half as many as P has. No test uses these seeds.

Run: python benchmarks/bench_calibration.py [--quick] [--processes 2]
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from time import perf_counter

import numpy as np
from _shared import machine, options, scales, spread_out, unit
from scipy.stats import binom

from auditor.significance import FAR_MORE, PERMUTATIONS, drift_test
from auditor.significance.permutation import PermutationTest, paired_test, unpaired_test
from auditor.significance.reference_test import reference_test
from auditor.significance.resampling import Pairs, ReferenceRows
from auditor.sketch import Float
from auditor.sketch.blocks import Index

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
    kind: str
    """independent, duplicates, paired, or a share of copies"""
    first: int
    repetitions: int
    permutations: int


def rows(job: Job, repetition: int) -> tuple[Float, Float, tuple[Index, Index] | None]:
    """Unit rows p (n, d) and q (m, d) of one law, and which of them are partners."""
    rng = np.random.default_rng([job.n, job.m, job.d, *job.kind.encode(), repetition])

    def drawn(size: int) -> Float:
        return rng.normal(size=(size, job.d)) * scales(job.d)

    if job.kind == "independent":
        return unit(drawn(job.n)), unit(drawn(job.m)), None
    if job.kind == "duplicates":
        pool = unit(drawn(job.n // 2))
        p, q = (pool[rng.integers(len(pool), size=size)] for size in (job.n, job.m))
        return p, q, None
    shared = job.m if job.kind == "paired" else round(float(job.kind.rstrip("%")) / 100 * job.m)
    at_p, at_q = np.arange(shared), np.arange(shared)
    if job.kind != "paired":
        at_p, at_q = rng.permutation(job.n)[:shared], rng.permutation(job.m)[:shared]
    p, q, base = drawn(job.n), drawn(job.m), drawn(shared)
    p[at_p], q[at_q] = base + 0.5 * p[at_p], base + 0.5 * q[at_q]
    return unit(p), unit(q), (at_p, at_q)


def p_value(
    p: Float, q: Float, shared: tuple[Index, Index] | None, kind: str, permutations: int, seed: int
) -> float:
    """As `drift_test` finds it."""
    rng = np.random.default_rng(np.random.SeedSequence(seed).spawn(3)[_TEST])
    test: PermutationTest
    if kind == "paired":
        test = paired_test(p, q, permutations, rng)
    elif shared is not None:
        pairs = Pairs.of(len(p), len(q), shared)
        assert pairs is not None
        test = paired_test(p[pairs.p], q[pairs.q], permutations, rng)
        test = test.beside(unpaired_test(p[pairs.rest_p], q[pairs.rest_q], permutations, rng))
    elif len(p) >= max(FAR_MORE * len(q), p.shape[1]):
        test = reference_test(ReferenceRows.fit(p), q, permutations, rng)
    else:
        test = unpaired_test(p, q, permutations, rng)
    return test.p_value


def run(job: Job) -> tuple[list[float], float]:
    start = perf_counter()
    numbers = range(job.first, job.first + job.repetitions)
    found = [p_value(*rows(job, i), job.kind, job.permutations, seed=i) for i in numbers]
    return found, perf_counter() - start


def main() -> None:
    parser = options(__doc__, processes=True)
    parser.add_argument("--repetitions", type=int, default=500)
    parser.add_argument("--permutations", type=int, default=PERMUTATIONS)
    args = parser.parse_args()
    repetitions, permutations = (20, 199) if args.quick else (args.repetitions, args.permutations)
    cells = [(n, m, d, "independent") for d, (n, m) in product(DIMS, SIZES)]
    cells += [(min(s), min(s), d, "paired") for d, s in product(DIMS, SIZES)]
    cells += [(300, 200, d, kind) for d, kind in product(DIMS, ("duplicates", "10%", "50%", "90%"))]
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
    for n, m, d, kind in cells:
        job = Job(n, m, d, kind, 0, 1, permutations)
        if n + m <= 1000:
            p, q, shared = rows(job, 0)
            how = {"paired": True} if kind == "paired" else {"shared": shared}
            whole = drift_test(p, q, seed=0, permutations=permutations, null_draws=2, **how)
            assert whole.p_value == run(job)[0][0], "not the p-value of drift_test"
    jobs = [
        Job(*cell, first, min(_PART, repetitions - first), permutations)
        for cell in cells
        for first in range(0, repetitions, _PART)
    ]
    results = iter(spread_out(run, jobs, args.processes))
    print(
        f"{'':11s} {'n_P':>5s} {'n_Q':>5s} {'d':>4s} {'1%':>6s} {'5%':>6s} {'10%':>6s}  "
        f"{'inside':6s} {'s/test':>7s}"
    )
    for cell in cells:
        parts = [next(results) for _ in range(-(-repetitions // _PART))]
        p = np.concatenate([values for values, _ in parts])
        rates = [float((p <= level).mean()) for level in LEVELS]
        inside = all(low <= rate <= high for rate, (low, high) in zip(rates, allowed, strict=True))
        print(
            f"{cell[3]:11s} {cell[0]:5d} {cell[1]:5d} {cell[2]:4d} "
            + " ".join(f"{rate:6.1%}" for rate in rates)
            + f"  {'yes' if inside else 'NO':6s} {sum(took for _, took in parts) / repetitions:7.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
