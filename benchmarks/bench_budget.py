"""Windows between false alarms where days differ, baseline by baseline, and how soon a change is noticed.

Every day draws a mean of its own in each modality (`day`: its spread, in units of the spread of rows), every
window its rows about it; sizes are equal, or differ by up to five times. Profiles, mean embeddings and
verdicts are made by the program's own functions; rows stand in for embeddings (d = 16, a slow spectrum).

Quiet: BASELINES baselines, each watched for many quiet windows at a budget of one in 30. How far apart are
its alarms? The exact binomial interval says how many alarms a baseline may have by chance if they come at
just that rate. Beside it what windows do that are judged by chance among rows alone, at 0.01.

Not exchangeable: days that remember the day before (correlation 0.5), and a weekly season. Nothing is
promised there; it is measured.

Delay: a step (one modality moves, by 1 / 2 / 4 times the spread of days), a ramp (to 4 times over 20
windows), a slice (3% of the rows become a cluster of their own), after 20 quiet windows.

Run: python benchmarks/bench_budget.py [--quick] [--processes 2] [--seed 2026]
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from _shared import machine, options, scales, spread_out, unit
from scipy.stats import binom

from auditor.measures.divergences import divergence
from auditor.measures.families import MODALITIES
from auditor.measures.judgement import of_windows
from auditor.measures.variation import judged
from auditor.measures.window_means import Scatter
from auditor.profiles.profile import Profile
from auditor.profiles.row_sums import sketch_rows
from auditor.profiles.rows import Rows, joined
from schemas.config import DriftThresholds
from schemas.report import Variation

D, ROWS, SLICE = 16, 150, 0.03
CONTENTS = ("image", "text", "response")
CONFIDENCE = 0.999
BEFORE, RAMP = 20, 20
"""Quiet windows before a change; windows that a ramp takes."""


@dataclass(frozen=True)
class World:
    """A service, and what happens to it."""

    name: str
    windows: int
    """Of the baseline."""
    day: float
    """Spread of the days' means, in units of the spread of rows."""
    budget: float
    length: int
    """Windows that are judged."""
    uneven: bool = False
    memory: float = 0.0
    """Correlation of a day with the one before."""
    week: float = 0.0
    """Size of a weekly season, in units of the spread of days."""
    change: str = ""
    size: float = 0.0
    """Of the change, in units of the spread of days in that direction."""


class Service:
    """Windows of a world, one after the other."""

    def __init__(self, world: World, rng: np.random.Generator) -> None:
        self._world, self._rng, self._number = world, rng, 0
        self._day = rng.normal(size=(len(CONTENTS), D))
        self._season = rng.normal(size=(len(CONTENTS), D))
        self._cluster = unit(rng.normal(size=(1, D)))[0]

    def window(self, change: float = 0.0) -> Profile:
        """The next window; `change` from 0 to 1 is how much of the change has come."""
        world, rng = self._world, self._rng
        keep = world.memory
        self._day = keep * self._day + np.sqrt(1 - keep**2) * rng.normal(size=self._day.shape)
        season = world.week * np.cos(2 * np.pi * self._number / 7) * self._season
        n = int(ROWS * 5 ** rng.uniform(-0.5, 0.5)) if world.uneven else ROWS
        vectors = []
        for i in range(len(CONTENTS)):
            mean = world.day * scales(D) * (self._day[i] + season[i])
            mean[0] += 2.0
            z = rng.normal(size=(n, D)) * scales(D) + mean
            if i == 1 and world.change in ("step", "ramp"):
                z[:, 2] += change * world.size * world.day * scales(D)[2]
            if i == 1 and world.change == "slice" and change:
                new = rng.random(n) < SLICE
                z[new] = 3.0 * self._cluster + 0.1 * rng.normal(size=(int(new.sum()), D))
            vectors.append(unit(z).astype(np.float32))
        self._number += 1
        ids = tuple(f"{self._number}-{i}" for i in range(n))
        has = {name: np.ones(n, bool) for name in (*CONTENTS, "reference")}
        image, text, response = vectors
        both = joined(image, text, has["image"], has["text"])
        rows = Rows(ids, ids, image, text, both, response, response, has)
        return sketch_rows(rows, np.ones((n, 4), np.float32), [], 2_000)


@dataclass(frozen=True)
class Job:
    """One baseline of a world, watched."""

    world: World
    seed: int
    number: int
    rows_tested: int
    """Windows whose rows are tested, too."""


@dataclass(frozen=True)
class Watched:
    """What came of one baseline."""

    alarms: int
    """Times an alarm began."""
    quiet: int
    """Windows without an alarm, and those an alarm began with."""
    under_alarm: int
    delay: int | None
    """Windows from the change to the first alarm after it, 1 for the first window; None: it never came."""
    early: bool
    """An alarm was on when the change came."""
    since: int | None
    """Windows by which the change point is late."""
    rows_alone: float
    """Share of the tested windows that fail by chance among rows alone."""


def run(job: Job) -> Watched:
    """Build a baseline and judge the windows after it."""
    world = job.world
    rng = np.random.default_rng([job.seed, job.number, hash_of(world)])
    service, scatter = Service(world, rng), Scatter()
    own = [service.window() for _ in range(world.windows)]
    for window in own:
        scatter.add(window)
    embed = scatter.embedding_map()
    current, profiles = {}, []
    for t in range(world.length):
        done = 0.0
        if world.change and t >= BEFORE:
            done = 1.0 if world.change != "ramp" else min(1.0, (t - BEFORE + 1) / RAMP)
        window = service.window(done)
        current[f"{t:05d}"] = embed.of(window)
        if t < job.rows_tested:
            profiles.append(window)
    judgement = of_windows(DriftThresholds(), job.seed)
    found = judged(
        [embed.of(window) for window in own],
        current,
        budget=world.budget,
        seed_of=lambda name: judgement.seed(f"{job.number} {name}", "rank"),
    )
    return watched(list(found.values()), rows_alone(own, profiles))


def hash_of(world: World) -> int:
    """A seed of the world's own, the same in every process."""
    return sum(ord(c) * 31**i for i, c in enumerate(world.name)) % 2**31


def watched(variations: list[Variation], alone: float) -> Watched:
    """Count alarms."""
    on = [v.alarm for v in variations]
    begins = [t for t, now in enumerate(on) if now and (t == 0 or not on[t - 1])]
    under = sum(on) - len(begins)
    after = [t for t in begins if t >= BEFORE]
    since = int(variations[after[0]].since or 0) - BEFORE if after else None
    early = len(on) > BEFORE and on[BEFORE - 1] and on[BEFORE]
    return Watched(
        len(begins), len(on) - under, under, after[0] - BEFORE + 1 if after else None, early, since, alone
    )


def rows_alone(own: list[Profile], windows: list[Profile]) -> float:
    """The share of windows in which a modality's Holm-adjusted p-value is at most 0.01."""
    if not windows:
        return float("nan")
    pooled = own[0]
    for window in own[1:]:
        pooled = pooled.merge(window)
    fails = 0
    for t, window in enumerate(windows):
        p_values = [
            found.p_value
            for name in MODALITIES
            if (found := divergence(pooled, window, name, seed=t, level=0.9).divergence) is not None
        ]
        fails += min(p for p in p_values if p is not None) * len(p_values) <= 0.01
    return fails / len(windows)


def quiet_table(worlds: list[World], seed: int, baselines: int, processes: int, rows_tested: int) -> None:
    print(f"\nQuiet windows, {baselines} baselines a line; of each the mean windows between alarms")
    print(
        f"{'world':34s} {'budget':>6s} {'windows':>7s} {'alarms':>6s} {'apart':>6s} {'least':>6s} "
        f"{'most alarms':>11s} {'allowed':>7s} {'outside':>7s} {'under alarm':>11s} {'rows alone':>10s}"
    )
    for world in worlds:
        jobs = [Job(world, seed, number, rows_tested) for number in range(baselines)]
        results = list(spread_out(run, jobs, processes))
        alarms, quiet = [r.alarms for r in results], [r.quiet for r in results]
        allowed = [int(binom.ppf((1 + CONFIDENCE) / 2, q, 1 / world.budget)) for q in quiet]
        outside = sum(a > most for a, most in zip(alarms, allowed, strict=True))
        apart = sum(quiet) / max(1, sum(alarms))
        least = min(q / max(1, a) for a, q in zip(alarms, quiet, strict=True))
        under = sum(r.under_alarm for r in results) / (len(results) * world.length)
        print(
            f"{world.name:34s} {world.budget:6g} {sum(quiet):7d} {sum(alarms):6d} {apart:6.1f} {least:6.1f} "
            f"{max(alarms):11d} {min(allowed):7d} {outside:7d} {under:11.1%} "
            f"{np.nanmean([r.rows_alone for r in results]):10.0%}",
            flush=True,
        )


def delay_table(worlds: list[World], seed: int, baselines: int, processes: int) -> None:
    print(f"\nWindows from a change to its alarm, {baselines} baselines a line, not under alarm before it")
    print(
        f"{'world':44s} {'budget':>6s} {'mean':>6s} {'median':>6s} {'90%':>5s} {'found':>6s} "
        f"{'since late by':>13s}"
    )
    for world in worlds:
        jobs = [Job(world, seed, number, 0) for number in range(baselines)]
        kept = [r for r in spread_out(run, jobs, processes) if not r.early]
        left = world.length - BEFORE
        delays = np.array([left if r.delay is None else r.delay for r in kept], dtype=float)
        late = [r.since for r in kept if r.since is not None]
        print(
            f"{world.name:44s} {world.budget:6g} {delays.mean():6.1f} {np.median(delays):6.0f} "
            f"{np.quantile(delays, 0.9):5.0f} {np.mean([r.delay is not None for r in kept]):6.0%} "
            f"{np.median(late) if late else np.nan:13.0f}",
            flush=True,
        )


def main() -> None:
    parser = options(__doc__, processes=True)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--part", choices=("quiet", "delay", "both"), default="both")
    args = parser.parse_args()
    baselines, length, tested = (3, 60, 2) if args.quick else (20, 240, 1)
    print(machine())
    print(f"seed {args.seed}, d={D}, {ROWS} rows a window")
    plain = World("30 windows, days 0.3", 30, 0.3, 30, length)
    quiet = [
        plain,
        replace(plain, name="10 windows, days 0.3", windows=10),
        replace(plain, name="30 windows, days 0.3, sizes 67-335", uneven=True),
        replace(plain, name="30 windows, days 0 (rows only)", day=0.0),
        replace(plain, name="30 windows, days 1", day=1.0),
        replace(plain, name="30 windows, days 0.3, memory 0.5", memory=0.5),
        replace(plain, name="30 windows, days 0.3, weekly season", week=1.0),
    ]
    if args.part != "delay":
        quiet_table(quiet, args.seed, baselines, args.processes, tested)
    delays = [
        replace(plain, name=f"{name}{', 10 windows' if k == 10 else ''}", windows=k, budget=budget, length=60,
                change=change, size=size)
        for budget, k in ((30, 30), (30, 10), (365, 30))
        for name, change, size in (
            ("step of 1 spread", "step", 1.0),
            ("step of 2 spreads", "step", 2.0),
            ("step of 4 spreads", "step", 4.0),
            ("ramp to 4 spreads over 20 windows", "ramp", 4.0),
            ("slice of 3%", "slice", 1.0),
        )
    ]  # fmt: skip
    if args.part != "quiet":
        delay_table(delays[:2] if args.quick else delays, args.seed, baselines, args.processes)


if __name__ == "__main__":
    main()
