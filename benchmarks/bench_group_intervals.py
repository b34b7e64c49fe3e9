"""Coverage of intervals where rows belong together, with and without saying so.

Groups of 1 to 30 rows of uneven sizes (geometric, `mean` rows), whose questions, references and answers are
alike to some degree: 150 groups of P, 100 of Q, whose answers are worse. One closed-form critic, fitted on
other rows and held fixed. How often do 90% intervals of EMI on Q, of EMID, and of the difference between two
models hold the truth (of 400,000 independent rows), where hash blocks follow the groups, and where they
follow single rows? Right is 86 to 94%. No test uses these seeds.

Run: python benchmarks/bench_group_intervals.py [--quick] [--processes 2]
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import NamedTuple

import numpy as np
from _shared import machine, options, spread_out

from auditor.emi import paired_bootstrap
from auditor.emi.comparison import EmiSums, compare
from auditor.estimators.gaussian import Gaussian
from auditor.protocols import Sums
from auditor.sketch import Float
from auditor.sketch.blocks import HASH_BLOCKS, Index, hash_blocks

D, LEVEL, MOST_ROWS, TRUE_ROWS = 16, 0.9, 30, 400_000
GROUPS_P, GROUPS_Q = 150, 100
NOISE_P, NOISE_Q, NOISE_OTHER = 0.5, 0.9, 0.7
"""Of the model's answers on P and on Q, and of another model's on Q."""
_PART = 20
"""Repetitions a job."""


@dataclass(frozen=True)
class Job:
    """Some repetitions of one cell."""

    mean: int
    alike: float
    first: int
    repetitions: int


class Rows(NamedTuple):
    x: Float
    reference: Float
    answer: Float
    other: Float
    """The answer of another model."""
    groups: Index


def side(rng: np.random.Generator, groups: int, mean: int, alike: float, noise: float) -> Rows:
    sizes = np.minimum(rng.geometric(1 / mean, size=groups), MOST_ROWS)
    labels = np.repeat(np.arange(groups), sizes)

    def normal() -> Float:
        shared, own = rng.normal(size=(groups, D)), rng.normal(size=(len(labels), D))
        return np.sqrt(alike) * shared[labels] + np.sqrt(1 - alike) * own

    x = normal()
    meant = np.tanh(x[:, ::-1])
    return Rows(x, meant + 0.3 * normal(), meant + noise * normal(), meant + NOISE_OTHER * normal(), labels)


@cache
def critic() -> Gaussian:
    rows = side(np.random.default_rng([2026, 0]), 4_000, 1, 0.0, NOISE_P)
    pairs = np.concatenate([rows.x, rows.x]), np.concatenate([rows.reference, rows.answer])
    return Gaussian(features=64).fit(*pairs)


def sums(rows: Rows, groups: Index | None) -> tuple[Sums, Sums, Sums]:
    """Of the model's answers, the references, and the other model's answers; blocks by group or by row."""
    names = map(str, np.arange(len(rows.x)) if groups is None else groups)
    blocks = hash_blocks(names)
    of = (rows.answer, rows.reference, rows.other)
    model, reference, other = (critic().sums(rows.x, y, blocks, HASH_BLOCKS) for y in of)
    return model, reference, other


@cache
def truth() -> Float:
    """EMI on Q, EMID, and EMI of the model less that of the other."""
    rng = np.random.default_rng([2026, 1])
    p, q = (sums(side(rng, TRUE_ROWS, 1, 0.0, noise), None) for noise in (NOISE_P, NOISE_Q))
    emi_p, emi_q = (s[0].value() - s[1].value() for s in (p, q))
    return np.array([emi_q, emi_p - emi_q, q[0].value() - q[2].value()])


def run(job: Job) -> list[list[list[bool]]]:
    """(repetitions, with groups or without, EMI / EMID / difference) whether the interval holds the truth."""
    found = []
    for repetition in range(job.first, job.first + job.repetitions):
        rng = np.random.default_rng([2027, job.mean, int(100 * job.alike), repetition])
        p = side(rng, GROUPS_P, job.mean, job.alike, NOISE_P)
        q = side(rng, GROUPS_Q, job.mean, job.alike, NOISE_Q)
        hits = []
        for labels_p, labels_q in ((p.groups, q.groups), (None, None)):
            of_p, of_q = sums(p, labels_p), sums(q, labels_q)
            boot = paired_bootstrap(*of_p[:2], *of_q[:2], LEVEL, 500, repetition, paired=False)
            assert boot is not None
            models = [EmiSums([of_q[i]], [of_q[1]]) for i in (0, 2)]
            two = compare(models[0], models[1], level=LEVEL, draws=500, seed=repetition)
            assert two.low is not None and two.high is not None
            ends = [(boot.emi_q.low, boot.emi_q.high), (boot.emid.low, boot.emid.high), (two.low, two.high)]
            hits.append([low <= true <= high for (low, high), true in zip(ends, truth(), strict=True)])
        found.append(hits)
    return found


def main() -> None:
    parser = options(__doc__, processes=True)
    parser.add_argument("--repetitions", type=int, default=500)
    args = parser.parse_args()
    repetitions = 20 if args.quick else args.repetitions
    cells = [(1, 0.0), *product((3, 10), (0.2, 0.5, 1.0))]
    print(machine())
    jobs = [
        Job(*cell, first, min(_PART, repetitions - first))
        for cell in cells
        for first in range(0, repetitions, _PART)
    ]
    results = iter(spread_out(run, jobs, args.processes))
    print(f"{'rows':>4s} {'alike':>5s}   by groups: EMI, EMID, two models   as single rows   ({repetitions})")
    for mean, alike in cells:
        hits = np.concatenate([np.array(next(results)) for _ in range(-(-repetitions // _PART))])
        rates = hits.mean(axis=0)
        print(
            f"{mean:4d} {alike:5.1f}   "
            + " ".join(f"{rate:6.1%}" for rate in rates[0])
            + "              "
            + " ".join(f"{rate:6.1%}" for rate in rates[1]),
            flush=True,
        )


if __name__ == "__main__":
    main()
