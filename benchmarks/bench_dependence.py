"""How often the test of how rows go together alarms: without a change, with one, and where the mix alone is
new.

Kinds of input a on the unit sphere, answers b that follow a by a map with noise. P has 500 rows, Q 200. Two
changes leave every marginal as it was: a share of the pairs dealt anew, and another model, which answers an
input of one kind as the first one answers those of another kind. A new mix of the kinds changes a, and b with
it, but not how b follows a. Each repetition has a P of its own. No test uses these seeds.

Run: python benchmarks/bench_dependence.py [--quick] [--processes 2]
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from _shared import machine, options, spread_out, unit
from scipy.stats import binom

from auditor.estimators.dependence import ReferenceScores
from auditor.sketch import Float

N, M, D, KINDS = 500, 200, 64, 20
LEVELS = (0.01, 0.05, 0.1)
CASES = ("no change", "10% dealt anew", "20% dealt anew", "50% dealt anew", "another model", "a new mix")
_PART = 10
"""Repetitions a job."""


@dataclass(frozen=True)
class Job:
    """Some repetitions at one strength of noise."""

    noise: float
    first: int
    repetitions: int


def run(job: Job) -> list[list[float]]:
    """P-values of each repetition, one a case."""
    world = np.random.default_rng(7)
    centres = world.normal(size=(KINDS, D))
    answers = np.linalg.qr(world.normal(size=(D, D)))[0]
    others = np.roll(np.arange(KINDS), 1)
    found = []
    for repetition in range(job.first, job.first + job.repetitions):
        rng = np.random.default_rng([2026, round(10 * job.noise), repetition])

        def draw(
            n: int, mix: Float | None = None, other: bool = False, rng: np.random.Generator = rng
        ) -> tuple[Float, Float]:
            kinds = rng.choice(KINDS, n, p=mix)
            a = centres[kinds] + 0.7 * rng.normal(size=(n, D))
            answered = centres[others[kinds]] + 0.7 * rng.normal(size=(n, D)) if other else a
            return unit(a), unit(answered @ answers + job.noise * rng.normal(size=(n, D)))

        reference = ReferenceScores.fit(*draw(N), np.array([f"p{i}" for i in range(N)]))
        groups = np.array([f"q{i}" for i in range(M)])
        a, b = draw(M)
        cases = [(a, b)]
        for share in (0.1, 0.2, 0.5):
            dealt = b.copy()
            picks = rng.choice(M, round(share * M), replace=False)
            dealt[picks] = b[np.roll(picks, 1)]
            cases.append((a, dealt))
        cases.append(draw(M, other=True))
        cases.append(draw(M, mix=rng.dirichlet(np.full(KINDS, 0.3))))
        found.append([reference.test(*case, groups, seed=repetition).p_value for case in cases])
    return found


def main() -> None:
    parser = options(__doc__, processes=True)
    parser.add_argument("--repetitions", type=int, default=500)
    args = parser.parse_args()
    repetitions = 20 if args.quick else args.repetitions
    print(machine())
    for level in LEVELS:
        low, high = binom.interval(0.999, repetitions, level)
        print(f"allowed at {level:.0%} of {repetitions}: {low / repetitions:.1%} to {high / repetitions:.1%}")
    for noise in (1.0, 2.0, 4.0):
        jobs = [Job(noise, i, min(_PART, repetitions - i)) for i in range(0, repetitions, _PART)]
        p_values = np.array([row for part in spread_out(run, jobs, args.processes) for row in part])
        for case, of_case in zip(CASES, p_values.T, strict=True):
            rates = " ".join(f"{np.mean(of_case <= level):6.1%}" for level in LEVELS)
            print(f"noise {noise:g}  {case:16s} {rates}", flush=True)


if __name__ == "__main__":
    main()
