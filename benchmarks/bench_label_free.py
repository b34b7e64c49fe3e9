"""Label-free risk on windows that are new mixes of known inputs, and on windows that are not.

A world of k kinds: clusters of x on the unit sphere; the answer's logits depend on the kind and, within it,
on x, so Y given a cell moves with the mix. Truth is of labels on a large draw, on the same unions of cells
(identified interval) or the same fixed critic (reweighted estimate). The critic is trained on other rows of
P; "own" tells what one trained on the labelled rows themselves does, "folds" one cross-fitted on them.
Windows of one world share its labelled rows, so the standard error of a coverage is of worlds.

Run: python benchmarks/bench_label_free.py [--worlds 6] [--first 0] [--kinds 8 40 160]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from time import perf_counter
from typing import NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

from auditor.estimators import CLUB
from auditor.estimators.crossfit import CrossFitted, block_folds, fit_folds
from auditor.neighbours.codebook import learn_codebook, nearest_cell
from auditor.risk import IdentifiedInterval, identified_interval, measure_overlap, reweighted_emid
from auditor.risk.identified import Codebooks
from auditor.risk.overlap import Overlap
from auditor.risk.tables import mutual_information
from auditor.sketch import Float
from auditor.sketch.blocks import HASH_BLOCKS

KINDS = (8, 40, 160)
MIXES = (5.0, 1.0, 0.3, 0.1)
"""Dirichlet concentrations of Q's mix; the last puts most of a window on a few kinds."""
SIZES = (200, 600, 2000)
LABELLED = 3000
LARGE = 40_000
DIM = 32
ANSWERS = 12


class Draw(NamedTuple):
    x: NDArray[np.float32]
    y: NDArray[np.float32]
    yhat: NDArray[np.float32]


class World:
    """k kinds with their answers; `sharp` scales how far the kind settles the answer."""

    def __init__(self, k: int, seed: int, sharp: float) -> None:
        rng = np.random.default_rng([k, seed])
        self.k = k
        self.centre = _unit(rng.normal(size=(k, DIM)))
        self.answer = _unit(rng.normal(size=(ANSWERS, DIM)))
        self.logit = sharp * rng.normal(size=(k, ANSWERS))
        self.slope = 3 * rng.normal(size=(k, ANSWERS, DIM)) / np.sqrt(DIM)
        self.skill = 0.3 + 1.2 * rng.normal(size=k)
        self.skill_slope = rng.normal(size=(k, DIM)) / np.sqrt(DIM)
        self.confusion = np.log(rng.dirichlet(np.full(ANSWERS, 0.5), size=k) + 1e-9)
        self.mix = rng.dirichlet(np.full(k, 5.0))

    def draw(self, n: int, mix: Float, rng: np.random.Generator, group: int = 1) -> Draw:
        """n rows; `group` consecutive ones are of one kind and share half of their variance within it."""
        if group == 1:
            kind = rng.choice(self.k, size=n, p=mix)
            within = rng.normal(size=(n, DIM))
        else:
            of = np.arange(n) // group
            kind = rng.choice(self.k, size=of[-1] + 1, p=mix)[of]
            shared = rng.normal(size=(of[-1] + 1, DIM))[of]
            within = np.sqrt(0.5) * (shared + rng.normal(size=(n, DIM)))
        logits = self.logit[kind] + np.einsum("nad,nd->na", self.slope[kind], within)
        right = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
        skill = self.skill[kind] + np.einsum("nd,nd->n", self.skill_slope[kind], within)
        wrong = (self.confusion[kind] + rng.gumbel(size=logits.shape)).argmax(axis=1)
        given = np.where(rng.random(n) < 1 / (1 + np.exp(-skill)), right, wrong)
        words = [_unit(self.answer[a] + 0.08 * rng.normal(size=(n, DIM))) for a in (right, given)]
        x = _unit(self.centre[kind] + 0.5 / np.sqrt(DIM) * within)
        return Draw(*(z.astype(np.float32) for z in (x, *words)))


class Window(NamedTuple):
    """One window, measured against the truth."""

    kinds: int
    world: int
    mix: float
    n: int
    covered: bool
    covered_cells: bool
    half: float
    range_half: float
    i_in: float
    """Error of I_in, against the truth inside"""
    truth: float
    error: float
    error_own: float
    error_folded: float
    covered_folded: bool
    covered_club: bool
    truth_club: float
    reported: tuple[bool, bool]
    overlap: Overlap
    seconds: float


def _unit(z: Float) -> Float:
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def information(x: NDArray[np.int64], y: NDArray[np.int64], k_x: int, k_y: int) -> float:
    table = np.zeros((k_x, k_y))
    np.add.at(table, (x, y), 1)
    return float(mutual_information(table))


class LargeDraw(NamedTuple):
    """A large labelled draw on the codebooks: the truth of cells."""

    x: NDArray[np.int64]
    y: NDArray[np.int64]
    yhat: NDArray[np.int64]
    outside: NDArray[np.bool_]

    def truth(self, on: IdentifiedInterval) -> CellTruth:
        """Of the unions of cells that `on` is about."""
        of_x, of_y = np.array(on.unions_x), np.array(on.unions_y)
        cell, y, yhat = of_x[self.x], of_y[self.y], of_y[self.yhat]
        pair, inside = cell + on.k_x * self.outside, ~self.outside
        model = information(pair, yhat, 2 * on.k_x, on.k_y)
        return CellTruth(
            pair=model - information(pair, y, 2 * on.k_x, on.k_y),
            cell=information(cell, yhat, on.k_x, on.k_y) - information(cell, y, on.k_x, on.k_y),
            model=model,
            inside=information(cell[inside], y[inside], on.k_x, on.k_y),
        )


class CellTruth(NamedTuple):
    pair: float
    """EMI, x being the pair (cell, outside or not)"""
    cell: float
    """EMI, x being the cell"""
    model: float
    """I(X; model's answer), x being the pair"""
    inside: float
    """I(X; Y) of inside rows"""


def on_cells(draw: Draw, books: Codebooks, index: faiss.IndexFlatL2, radius: float) -> LargeDraw:
    """`index`: of P's inputs, `radius` the distance beyond which a row is outside."""
    outside = np.sqrt(np.maximum(index.search(draw.x, 1)[0][:, 0], 0)) > radius
    y, yhat = (nearest_cell(a, books[1]) for a in (draw.y, draw.yhat))
    return LargeDraw(nearest_cell(draw.x, books[0]), y, yhat, outside)


def windows(k: int, seed: int) -> list[Window]:
    """Every mix and size in one world."""
    rng = np.random.default_rng([k, seed, 1])
    world = World(k, seed, sharp=(1.5, 3.75)[seed % 2])
    p = world.draw(LABELLED, world.mix, rng)
    books = learn_codebook(p.x, 16), learn_codebook(np.concatenate([p.y, p.yhat]), 8)
    club = CLUB(steps=400, hidden=64, batch=512, lr=3e-3)
    other = world.draw(LABELLED, world.mix, rng)
    club.fit(np.concatenate([other.x, other.x]), np.concatenate([other.y, other.yhat]))
    own = CLUB(steps=400, hidden=64, batch=512, lr=3e-3)
    own.fit(np.concatenate([p.x, p.x]), np.concatenate([p.y, p.yhat]))
    # Blocks stand for base ids: every row is its own.
    blocks = rng.integers(HASH_BLOCKS, size=LABELLED)
    x, y = np.concatenate([p.x, p.x]), np.concatenate([p.y, p.yhat])
    fold = block_folds(np.concatenate([blocks, blocks]))
    folded = CrossFitted(
        fit_folds(
            lambda s: CLUB(steps=400, hidden=64, batch=512, lr=3e-3, seed=s),
            x,
            y,
            np.tile(np.arange(LABELLED), 2),
            fold,
        )
    )
    index = faiss.IndexFlatL2(DIM)
    index.add(p.x)

    def folded_emi(big: Draw) -> float:
        at = rng.integers(HASH_BLOCKS, size=LARGE)
        return folded.sums(big.x, big.yhat, at).value() - folded.sums(big.x, big.y, at).value()

    def truth(mix: Float, radius: float) -> tuple[LargeDraw, dict[str, float]]:
        big = world.draw(LARGE, mix, rng)
        return on_cells(big, books, index, radius), {
            "club": club.estimate(big.x, big.yhat) - club.estimate(big.x, big.y),
            "own": own.estimate(big.x, big.yhat) - own.estimate(big.x, big.y),
            "folds": folded_emi(big),
        }

    found: list[Window] = []
    of_p: tuple[LargeDraw, dict[str, float]] | None = None
    for concentration in MIXES:
        mix = rng.dirichlet(np.full(k, concentration))
        of_q: tuple[LargeDraw, dict[str, float]] | None = None
        for n in SIZES:
            q = world.draw(n, mix, rng)
            start = perf_counter()
            overlap = measure_overlap(p.x, q.x)
            interval = identified_interval(p.x, p.y, p.yhat, q.x, q.yhat, books, overlap=overlap)
            took = perf_counter() - start
            club_emid = reweighted_emid(club, p.x, p.y, p.yhat, q.x, q.yhat, overlap=overlap)
            own_emid = reweighted_emid(own, p.x, p.y, p.yhat, q.x, q.yhat, overlap=overlap)
            at_q = rng.integers(HASH_BLOCKS, size=n)
            folded_emid = reweighted_emid(
                folded, p.x, p.y, p.yhat, q.x, q.yhat, overlap=overlap, blocks=(blocks, at_q)
            )
            of_p = of_p or truth(world.mix, overlap.radius)
            of_q = of_q or truth(mix, overlap.radius)
            emid = {name: of_p[1][name] - of_q[1][name] for name in of_p[1]}
            cells_p, cells_q = of_p[0].truth(interval), of_q[0].truth(interval)
            pair, cell = cells_p.pair - cells_q.pair, cells_p.cell - cells_q.cell
            found.append(
                Window(
                    kinds=k,
                    world=seed,
                    mix=concentration,
                    n=n,
                    covered=interval.low <= pair <= interval.high,
                    covered_cells=interval.low <= cell <= interval.high,
                    half=(interval.high - interval.low) / 2,
                    range_half=interval.width / 2,
                    i_in=interval.i_in - cells_q.inside,
                    truth=pair,
                    error=club_emid.value - emid["club"],
                    error_own=own_emid.value - emid["own"],
                    error_folded=folded_emid.value - emid["folds"],
                    covered_folded=folded_emid.low <= emid["folds"] <= folded_emid.high,
                    covered_club=club_emid.low <= emid["club"] <= club_emid.high,
                    truth_club=emid["club"],
                    reported=(interval.reported, club_emid.reported),
                    overlap=overlap,
                    seconds=took,
                )
            )
    return found


def shifted(k: int, seed: int, n: int = 600) -> list[tuple[str, Overlap, bool, bool]]:
    """Windows that are no mix of known inputs: what is said of them."""
    rng = np.random.default_rng([k, seed, 2])
    world = World(k, seed, sharp=3.75)
    p, q = world.draw(LABELLED, world.mix, rng), world.draw(n, world.mix, rng)
    club = CLUB(steps=20, hidden=16).fit(p.x, p.y)
    direction = _unit(rng.normal(size=(1, DIM)))
    unknown = _unit(rng.normal(size=(1, DIM)))
    kinds = {
        "unshifted": q.x,
        "all displaced a little": q.x + 0.3 * direction,
        "all displaced": q.x + 0.7 * direction,
        "drawn to one point (blur)": 0.4 * q.x + 0.6 * p.x.mean(axis=0),
        "noise added (frost)": q.x + 0.8 / np.sqrt(DIM) * rng.normal(size=q.x.shape),
        "unknown place (script)": unknown + 0.3 / np.sqrt(DIM) * rng.normal(size=q.x.shape),
        "a tenth of it unknown": np.where(rng.random((n, 1)) < 0.1, -q.x, q.x),
    }
    out = []
    for name, raw in kinds.items():
        x = _unit(raw).astype(np.float32)
        overlap = measure_overlap(p.x, x)
        identified = identified_interval(p.x, p.y, p.yhat, x, q.yhat, overlap=overlap)
        reweighted = reweighted_emid(club, p.x, p.y, p.yhat, x, q.yhat, overlap=overlap)
        out.append((name, overlap, identified.reported, reweighted.reported))
    return out


def show(name: str, some: list[Window]) -> None:
    rms = float(np.sqrt(np.mean([w.i_in**2 for w in some])))
    worlds: dict[tuple[int, int], list[bool]] = {}
    for w in some:
        worlds.setdefault((w.kinds, w.world), []).append(w.covered)
    rates = [np.mean(of) for of in worlds.values()]
    error = np.std(rates, ddof=1) / np.sqrt(len(rates)) if len(rates) > 1 else np.nan
    print(
        f"{name:14s} {len(some):4d} {np.mean([w.covered for w in some]):6.3f} {error:6.3f} "
        f"{np.mean([w.covered_cells for w in some]):6.3f} {np.median([w.half for w in some]):6.3f} "
        f"{np.median([w.range_half for w in some]):6.3f} {rms:6.3f} "
        f"{np.mean([w.i_in for w in some]):6.3f} {np.median(np.abs([w.truth for w in some])):6.3f} | "
        f"{np.median(np.abs([w.error for w in some])):6.3f} "
        f"{np.median(np.abs([w.error_own for w in some])):6.3f} "
        f"{np.median(np.abs([w.error_folded for w in some])):6.3f} "
        f"{np.mean([w.covered_folded for w in some]):6.3f} "
        f"{0.03 + 0.1 * np.median(np.abs([w.truth_club for w in some])):6.3f} "
        f"{np.mean([w.covered_club for w in some]):6.3f} | "
        f"{np.mean([w.reported[0] for w in some]):5.2f} {np.mean([w.reported[1] for w in some]):5.2f} "
        f"{np.max([w.overlap.outside for w in some]):6.3f} {np.max([w.overlap.moved for w in some]):6.3f} "
        f"{np.min([w.overlap.effective for w in some]):6.0f} {np.max([w.overlap.auc for w in some]):6.3f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--worlds", type=int, default=6, help="a number of kinds; of 12 windows each")
    parser.add_argument("--first", type=int, default=0, help="seed of the first world")
    parser.add_argument("--kinds", type=int, nargs="+", default=KINDS)
    args = parser.parse_args()
    everything: list[Window] = []
    start = perf_counter()
    for k in args.kinds:
        for seed in range(args.first, args.first + args.worlds):
            everything += windows(k, seed)
            print(f"{k} kinds, world {seed}: {perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    print(
        f"{'':14s} {'n':>4s} {'cover':>6s} {'s.e.':>6s} {'(cell)':>6s} {'half':>6s} {'range':>6s} "
        f"{'I_in':>6s} {'bias':>6s} {'truth':>6s} | {'CLUB':>6s} {'own':>6s} {'folds':>6s} {'cover':>6s} "
        f"{'goal':>6s} {'cover':>6s} | "
        f"{'ident':>5s} {'rew':>5s} {'outs<':>6s} {'moved<':>6s} {'eff>':>6s} {'auc<':>6s}"
    )
    show("all", everything)
    by: list[tuple[str, Callable[[Window], float], tuple[float, ...]]] = [
        ("kinds", lambda w: w.kinds, tuple(args.kinds)),
        ("mix", lambda w: w.mix, MIXES),
        ("rows", lambda w: w.n, SIZES),
    ]
    for name, key, values in by:
        for value in values:
            show(f"{name} {value:g}", [w for w in everything if key(w) == value])
    reported = [w for w in everything if w.reported[0]]
    if reported:
        show("identified", reported)
    reported = [w for w in everything if w.reported[1]]
    if reported:
        show("reweighted", reported)
    print(
        f"\nseconds a window, overlap and interval: median {np.median([w.seconds for w in everything]):.2f}"
    )
    print(
        f"{'':28s} {'kinds':>5s} {'outside':>7s} {'moved':>6s} {'auc':>6s} {'eff':>6s} reported: ident, rew"
    )
    for k in args.kinds:
        for name, o, identified, reweighted in shifted(k, args.first):
            print(
                f"{name:28s} {k:5d} {o.outside:7.3f} {o.moved:6.3f} {o.auc:6.3f} {o.effective:6.0f} "
                f"{identified!s:>5s} {reweighted!s:>5s}"
            )
    print(f"{perf_counter() - start:.0f} s in all")


if __name__ == "__main__":
    main()
