"""Label-free estimates from 60 to 2,000 window rows and from 300 to 3,000 reference rows: are they wrong
while speaking?

The worlds of `bench_label_free.py` (`soft`, `sharp`: how far the kind settles the answer), and one where
nothing depends on anything (`nothing`), of 8, 40 and 160 kinds each; three new mixes a world; every reference
size with every window size. The truth is that of the cells that the interval says it is about, from 20,000
labelled rows. "far": the truth lies more than 0.1 nats outside the interval. "off": the estimate is more than
0.1 nats from it. With `--group 3` rows come in threes of one kind that share half the variance within it.

Run: python benchmarks/bench_label_free_sizes.py [--worlds 2] [--first 0] [--group 1] [--quick] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import faiss
import numpy as np
from bench_label_free import ANSWERS, DIM, Draw, LargeDraw, World, on_cells

from auditor.estimators import CLUB
from auditor.neighbours.codebook import learn_codebook
from auditor.risk import identified_interval, measure_overlap, reweighted_emid
from auditor.sketch import Float

SHARPNESS = {"soft": 1.5, "sharp": 3.75, "nothing": 0.0}
KINDS = (8, 40, 160)
MIXES = (5.0, 1.0, 0.3)
REFERENCE = (300, 1000, 3000)
WINDOW = (60, 100, 200, 600, 2000)
LARGE = 20_000
FAR = 0.1
"""nats"""


class Window(NamedTuple):
    """What one window was told, by either estimate, and the truth (nats)."""

    world: str
    kinds: int
    seed: int
    n: int
    m: int
    mix: float
    k_x: int
    k_y: int
    identified: tuple[float, float, float]
    """Estimate, low, high"""
    identified_truth: float
    identified_speaks: bool
    reweighted: tuple[float, float, float]
    reweighted_truth: float
    reweighted_speaks: bool
    parts: tuple[float, float, float]
    """Errors of EMI on P, of I(X; model's answer) on Q, of I(X; Y) inside"""
    effective: float
    outside: float
    reason: str | None


def world_of(name: str, kinds: int, seed: int) -> World:
    world = World(kinds, seed, SHARPNESS[name])
    if name == "nothing":
        world.slope *= 0
        world.skill_slope *= 0
        world.skill[:] = 0.5
        world.confusion[:] = np.log(1 / ANSWERS)
        world.logit[:] = np.random.default_rng([kinds, seed, 9]).normal(size=ANSWERS)
    return world


def windows(name: str, kinds: int, seed: int, group: int, large: int = LARGE) -> Iterator[Window]:
    """Every size and mix in one world."""
    world = world_of(name, kinds, seed)
    rng = np.random.default_rng([kinds, seed, 5])
    other = world.draw(3000, world.mix, rng)
    club = CLUB(steps=400, hidden=64, batch=512, lr=3e-3)
    club.fit(np.concatenate([other.x, other.x]), np.concatenate([other.y, other.yhat]))

    def truth_of_club(draw: Draw) -> float:
        return club.estimate(draw.x, draw.yhat) - club.estimate(draw.x, draw.y)

    for n in REFERENCE:
        p = world.draw(n, world.mix, rng, group)
        books = learn_codebook(p.x, 16), learn_codebook(np.concatenate([p.y, p.yhat]), 8)
        groups_p = None if group == 1 else np.arange(n) // group
        index = faiss.IndexFlatL2(DIM)
        index.add(p.x)

        of_p: tuple[LargeDraw, float] | None = None
        for concentration in MIXES:
            mix = rng.dirichlet(np.full(kinds, concentration))
            of_q: tuple[LargeDraw, float] | None = None
            for m in WINDOW:
                q = world.draw(m, mix, rng, group)
                groups = groups_p, None if group == 1 else np.arange(m) // group
                overlap = measure_overlap(p.x, q.x, 0, *groups)
                if of_p is None:
                    draw = world.draw(large, world.mix, rng)
                    of_p = on_cells(draw, books, index, overlap.radius), truth_of_club(draw)
                if of_q is None:
                    draw = world.draw(large, mix, rng)
                    of_q = on_cells(draw, books, index, overlap.radius), truth_of_club(draw)
                told = identified_interval(
                    *p, q.x, q.yhat, books, groups_p=groups[0], groups_q=groups[1], overlap=overlap
                )
                club_told = reweighted_emid(
                    club, *p, q.x, q.yhat, groups_p=groups[0], groups_q=groups[1], overlap=overlap
                )
                on_p, on_q = of_p[0].truth(told), of_q[0].truth(told)
                yield Window(
                    name, kinds, seed, n, m, concentration, told.k_x, told.k_y,
                    (told.estimate, told.low, told.high), on_p.pair - on_q.pair, told.reported,
                    (club_told.value, club_told.low, club_told.high), of_p[1] - of_q[1], club_told.reported,
                    (told.emi_p - on_p.pair, told.i_model_q - on_q.model, told.i_in - on_q.inside),
                    overlap.effective, overlap.outside, told.reason,
                )  # fmt: skip


def line(name: str, some: list[Window], of: str) -> None:
    """One line of the table of the `identified` or `reweighted` estimate, where it speaks."""
    speaking = [w for w in some if getattr(w, f"{of}_speaks")]
    share = len(speaking) / max(len(some), 1)
    if not speaking:
        print(f"{name:22s} {len(some):5d} {share:6.3f}")
        return
    estimate, low, high = np.array([getattr(w, of) for w in speaking]).T
    truth = np.array([getattr(w, f"{of}_truth") for w in speaking])
    miss = np.maximum(np.maximum(low - truth, truth - high), 0)
    error = estimate - truth
    parts = np.mean([w.parts for w in speaking], axis=0)
    cells = np.median([(w.k_x, w.k_y) for w in speaking], axis=0)
    shown: list[Float | float] = [
        share, np.mean(miss > FAR), np.mean(np.abs(error) > FAR), np.mean(miss == 0), error.mean(),
        np.sqrt(np.mean(error**2)), np.median(high - low) / 2, *parts,
    ]  # fmt: skip
    figures = " ".join(f"{v:6.3f}" for v in shown)
    print(f"{name:22s} {len(some):5d} {figures} {cells[0]:3.0f} x {cells[1]:.0f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--worlds", type=int, default=2, help="of each kind; 45 windows each")
    parser.add_argument("--first", type=int, default=0, help="seed of the first world")
    parser.add_argument("--group", type=int, default=1, help="rows that belong together")
    parser.add_argument("--quick", action="store_true", help="one world of eight kinds each")
    parser.add_argument("--out", type=Path, help="each window, as a line of JSON")
    args = parser.parse_args()
    start = perf_counter()
    everything: list[Window] = []
    for seed in range(args.first, args.first + (1 if args.quick else args.worlds)):
        for name in SHARPNESS:
            for kinds in KINDS[:1] if args.quick else KINDS:
                found = list(windows(name, kinds, seed, args.group, 5000 if args.quick else LARGE))
                everything += found
                if args.out:
                    with args.out.open("a") as file:
                        file.writelines(json.dumps(w._asdict(), default=float) + "\n" for w in found)
    by: list[tuple[str, Callable[[Window], object], tuple[object, ...]]] = [
        ("world", lambda w: w.world, tuple(SHARPNESS)),
        ("kinds", lambda w: w.kinds, KINDS),
        ("mix", lambda w: w.mix, MIXES),
        ("reference", lambda w: w.n, REFERENCE),
        ("window", lambda w: w.m, WINDOW),
    ]
    for of in ("identified", "reweighted"):
        print(
            f"\n{of:22s} {'n':>5s} speaks    far    off  cover   bias    rms   half  EMI_P I_modl   I_in "
            " cells"
        )
        line("all", everything, of)
        for name, key, values in by:
            for value in values:
                line(f"{name} {value}", [w for w in everything if key(w) == value], of)
        for n in REFERENCE:
            for m in WINDOW:
                line(f"{n} and {m} rows", [w for w in everything if (w.n, w.m) == (n, m)], of)
    print(f"{perf_counter() - start:.0f} s in all")


if __name__ == "__main__":
    main()
