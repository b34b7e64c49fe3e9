"""MI estimators against known answers: correlated Gaussians of d pairs of coordinates, correlation ρ each.

InfoNCE, NWJ and MINE are held against MI = -d/2 log(1-ρ²); CLUB against its own closed form d ρ²/(1-ρ²), and
only where its log-variance, held in [-1, 1], can reach that of the exact conditional: log(1-ρ²) >= -1.
Trained on one sample, evaluated on a fresh one; bias and standard deviation over seeds (data and training).

Run: python benchmarks/bench_truth.py [--quick] [--processes 2]
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import exp, log, sqrt
from time import perf_counter

import numpy as np
from _shared import machine, options, spread_out

from auditor.estimators import CLUB, MINE, NWJ, InfoNCE
from auditor.estimators.pair_sums import KEPT_ROWS
from auditor.sketch import Floats

DIMS, INFORMATION = (2, 16, 64), (0.5, 2.0, 6.0)
LOWER_BOUNDS = {"InfoNCE": InfoNCE, "NWJ": NWJ, "MINE": MINE}
HIDDEN, BATCH, STEPS, LR = 256, 512, 3000, 1e-3


@dataclass(frozen=True)
class Job:
    """One training and its evaluation."""

    estimator: str
    d: int
    mi: float
    seed: int
    rows: int
    steps: int


def correlation(d: int, mi: float) -> float:
    """ρ of d independent pairs whose mutual information is `mi` nats in all."""
    return sqrt(1 - exp(-2 * mi / d))


def gaussian(n: int, d: int, rho: float, rng: np.random.Generator) -> tuple[Floats, Floats]:
    x = rng.normal(size=(n, d))
    return x, rho * x + sqrt(1 - rho**2) * rng.normal(size=(n, d))


def run(job: Job) -> tuple[float, float]:
    """The estimate on fresh rows, and the seconds that the training took."""
    rho = correlation(job.d, job.mi)
    rng = np.random.default_rng([job.seed, job.d, int(10 * job.mi)])
    settings = {"steps": job.steps, "batch": BATCH, "lr": LR, "seed": job.seed}
    if job.estimator == "CLUB":
        critic = CLUB(**settings)  # type: ignore[arg-type]
    else:
        critic = LOWER_BOUNDS[job.estimator](hidden=HIDDEN, **settings)  # type: ignore[arg-type]
    start = perf_counter()
    critic.fit(*gaussian(job.rows, job.d, rho, rng))
    took = perf_counter() - start
    return critic.estimate(*gaussian(job.rows, job.d, rho, rng)), took


def main() -> None:
    parser = options(__doc__, processes=True)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--only", nargs="+", choices=(*LOWER_BOUNDS, "CLUB"), help="these estimators alone")
    args = parser.parse_args()
    rows, steps, seeds = (2000, 60, 2) if args.quick else (16_384, STEPS, args.seeds)
    print(machine())
    print(
        f"{rows} rows to train on, {rows} fresh ones to evaluate; batch {BATCH}, at most {steps} steps "
        f"of AdamW (lr {LR}) with early stopping, {HIDDEN} hidden units (CLUB: 250); {seeds} seeds. "
        f"InfoNCE cannot exceed log {KEPT_ROWS} = {log(KEPT_ROWS):.2f}."
    )
    cells = [(e, d, mi) for d, mi, e in product(DIMS, INFORMATION, args.only or (*LOWER_BOUNDS, "CLUB"))]
    # The exact conditional of CLUB has log-variance log(1-ρ²) = -2 MI/d.
    cells = [cell for cell in cells if cell[0] != "CLUB" or 2 * cell[2] / cell[1] <= 1]
    jobs = [Job(*cell, seed, rows, steps) for cell in cells for seed in range(seeds)]
    print(
        f"{'':8s} {'d':>3s} {'ρ':>6s} {'MI':>5s} {'truth':>7s} {'mean':>7s} {'bias':>7s} {'std':>6s} "
        f"{'s':>6s}"
    )
    results = iter(spread_out(run, jobs, args.processes))
    for estimator, d, mi in cells:
        values, times = np.array([next(results) for _ in range(seeds)]).T
        rho = correlation(d, mi)
        truth = d * rho**2 / (1 - rho**2) if estimator == "CLUB" else mi
        print(
            f"{estimator:8s} {d:3d} {rho:6.3f} {mi:5.1f} {truth:7.3f} {values.mean():7.3f} "
            f"{values.mean() - truth:7.3f} {values.std(ddof=1):6.3f} {times.mean():6.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
