"""Lower bounds of mutual information as shares of what the best critic there is would say of the same rows.

Pairs of known mutual information (`auditor.testing.known_pairs`). A critic is trained on one sample; it and
the oracle, the true log-ratio, are evaluated on the same 4,096 fresh rows, so that both have the same K.
`random` is the form of the paper, networks from random weights; `gaussian` starts at a Gaussian log-ratio.
`above`: the mean of estimate less truth, in its standard errors over seeds.

Run: python benchmarks/bench_information.py [--quick] [--seeds 3] [--estimators InfoNCE MINE]
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from _shared import machine, now, options, spread_out
from scipy.special import logsumexp

from auditor.estimators import MINE, NWJ, InfoNCE
from auditor.sketch import Float
from auditor.testing.known_pairs import Family, gaussian, half_cube, spiral, student, swiss_roll

ESTIMATORS = {"InfoNCE": InfoNCE, "NWJ": NWJ, "MINE": MINE}
HIDDEN, BATCH, STEPS = 256, 512, 3000
K = 4096
FAMILIES: dict[str, Callable[[int], Family]] = {
    **{
        f"gaussian d={d} {mi:g}": lambda axes, d=d, mi=mi: gaussian(d, mi, axes)
        for d in (2, 16, 64)
        for mi in (0.5, 2.0, 6.0)
    },
    **{f"half-cube d={d} 2": lambda axes, d=d: half_cube(d, 2.0, None) for d in (2, 16, 64)},
    **{f"half-cube rotated d={d} 2": lambda axes, d=d: half_cube(d, 2.0, axes) for d in (2, 16, 64)},
    "half-cube rotated d=64 6": lambda axes: half_cube(64, 6.0, axes),
    **{
        f"student dof={dof} d={d}": lambda axes, d=d, dof=dof: student(d, dof, 0.0, axes)
        for dof in (1, 2)
        for d in (2, 16, 64)
    },
    "student dof=1 d=2 +1": lambda axes: student(2, 1, 1.0, axes),
    "student dof=2 d=64 +2": lambda axes: student(64, 2, 2.0, axes),
    **{f"spiral d={d} 2": lambda axes, d=d: spiral(d, 2.0) for d in (3, 16, 64)},
    **{f"swiss roll d=2 {mi:g}": lambda axes, mi=mi: swiss_roll(mi) for mi in (1.0, 2.0)},
}


@dataclass(frozen=True)
class Job:
    """One training and its evaluation."""

    family: str
    estimator: str
    start: str
    seed: int
    rows: int
    steps: int


@dataclass(frozen=True)
class Result:
    estimate: float
    oracle: float
    information: float
    seconds: float


def oracle(estimator: str, scores: Float) -> float:
    """The bound (nats) of (K, K) scores, written out."""
    others = scores[~np.eye(len(scores), dtype=bool)]
    joint = float(scores.diagonal().mean())
    if estimator == "InfoNCE":
        return joint - float(logsumexp(scores, axis=1).mean()) + float(np.log(len(scores)))
    if estimator == "MINE":
        return joint - float(logsumexp(others)) + float(np.log(len(others)))
    return joint + 1 - float(np.exp(others).mean())


def run(job: Job) -> Result:
    family = FAMILIES[job.family](job.seed)
    rows, fresh = family.draw(job.rows, 2 * job.seed), family.draw(K, 2 * job.seed + 1)
    made = ESTIMATORS[job.estimator](
        hidden=HIDDEN,
        batch=BATCH,
        steps=job.steps,
        seed=job.seed,
        start=job.start,  # type: ignore[arg-type]
    )
    began = now()
    made.fit(rows.x, rows.y)
    took = now() - began
    best = oracle(job.estimator, family.scores(fresh))
    return Result(made.estimate(fresh.x, fresh.y), best, family.information, took)


def main() -> None:
    parser = options(__doc__, processes=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=100)
    parser.add_argument("--rows", type=int, default=16_384)
    parser.add_argument("--estimators", nargs="+", choices=ESTIMATORS, default=["InfoNCE"])
    parser.add_argument("--starts", nargs="+", choices=("gaussian", "random"), default=("random", "gaussian"))
    parser.add_argument("--only", nargs="+", choices=FAMILIES, default=list(FAMILIES), metavar="FAMILY")
    args = parser.parse_args()
    now.cpu = args.cpu
    rows, steps, seeds = (1000, 40, 2) if args.quick else (args.rows, STEPS, args.seeds)
    print(machine())
    print(
        f"{rows} rows to train on; K = {K} fresh ones; batch {BATCH}, {HIDDEN} hidden units, at most {steps} "
        f"steps, early stopping; seeds {args.first_seed} to {args.first_seed + seeds - 1}"
    )
    cells = [(f, e, s) for f in args.only for e in args.estimators for s in args.starts]
    jobs = [
        Job(*cell, seed, rows, steps)
        for cell in cells
        for seed in range(args.first_seed, args.first_seed + seeds)
    ]
    results = iter(spread_out(run, jobs, args.processes))
    print(
        f"{'pairs':26s} {'bound':8s} {'start':9s} {'truth':>6s} {'oracle':>7s} {'mean':>7s} {'share':>6s} "
        f"{'above':>6s} {'s':>6s}"
    )
    for family, estimator, start in cells:
        got = [next(results) for _ in range(seeds)]
        mean, best = np.mean([r.estimate for r in got]), np.mean([r.oracle for r in got])
        over = np.array([r.estimate - r.information for r in got])
        error = over.std(ddof=1) / np.sqrt(seeds) if seeds > 1 else np.nan
        print(
            f"{family:26s} {estimator:8s} {start:9s} {got[0].information:6.3f} {best:7.3f} {mean:7.3f} "
            f"{mean / best:6.3f} {over.mean() / error:6.1f} {np.mean([r.seconds for r in got]):6.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
