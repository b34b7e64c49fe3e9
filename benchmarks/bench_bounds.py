"""Coverage of the intervals of bounds: the value on a very large sample of P and Q is the truth.

Records (image, query, reference, answer) are drawn again and again: P, and Q either a perturbed copy of P's
records (paired) or others (unpaired), with a shift and without one (roots of divergences that are zero: the
hard case). They are measured as an audit would, and we count how often the 90% interval of each bound
holds its large-sample value. Ĥ is given or log K, and held fixed.

Run: python benchmarks/bench_bounds.py [--quick] [--processes 2]
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from time import perf_counter
from typing import NamedTuple

import numpy as np
from _shared import machine, options, spread_out, unit
from numpy.typing import NDArray
from scipy.spatial.distance import jensenshannon

from auditor.bounds import emid_bound
from auditor.bounds.entropies import ON_CELLS, Known, choose
from auditor.divergences import rjsd
from auditor.divergences.joint import tensor_sketch
from auditor.measures.answers import answer_side, answer_terms
from auditor.measures.bounds import FORMS, bounds, grouped
from auditor.measures.divergences import Divergences, divergence
from auditor.neighbours.codebook import learn_codebook, nearest_cell
from auditor.profiles.profile import Profile
from auditor.profiles.row_sums import sketch_rows
from auditor.profiles.rows import Rows
from auditor.sketch import Float, Sketch

D, SYMBOLS, LEVEL = 32, 8, 0.9
SIZES = (300, 1000, 2000)
SIDES = ("image", "text", "response", "reference")
GIVEN = Known(given_reference=1.0, given_model=1.2)
_PART, _CHUNK = 20, 10_000


class World(NamedTuple):
    """What a repetition is held against."""

    codebook: NDArray[np.float32]
    truth: dict[str, float]
    """Terms of the bounds on the large sample; those of the quantised answers end with `_cells`."""


@dataclass(frozen=True)
class Job:
    """Some repetitions of one cell."""

    shifted: bool
    n: int
    paired: bool
    first: int
    repetitions: int
    world: World


def draw(
    n: int, rng: np.random.Generator, *, copy: bool, shifted: bool
) -> tuple[dict[str, Float], dict[str, Float]]:
    """Contents (n, d) of P and of Q. `shifted`: another image, a noisier query, an answer that errs more.
    `copy`: Q's records are P's, perturbed."""
    maps = np.random.default_rng(0).normal(size=(3, D, D)) / np.sqrt(D)
    spectrum = np.arange(1, D + 1) ** -1.0

    def clean() -> tuple[Float, Float, Float]:
        v, t = rng.normal(size=(2, n, D)) * spectrum
        return v, t, np.tanh(2 * (v @ maps[0] + t @ maps[1])) * spectrum

    def side(v: Float, t: Float, meant: Float, moved: float, wrong: float) -> dict[str, Float]:
        # Noise on either side: without a shift a copy has the law of its original, and is not equal to it.
        v, t = (0.8 * z + 0.6 * rng.normal(size=(n, D)) * spectrum for z in (v, t))
        seen_v, seen_t = v + moved * spectrum, t + 0.5 * moved * rng.normal(size=(n, D))
        said = np.tanh(2 * (seen_v @ maps[0] + seen_t @ maps[1]) + wrong * (seen_v @ maps[2])) * spectrum
        said += 0.1 * rng.normal(size=(n, D)) * spectrum
        contents = (seen_v, seen_t, said, meant + 0.1 * rng.normal(size=(n, D)) * spectrum)
        return {name: unit(z + 0.05) for name, z in zip(SIDES, contents, strict=True)}

    of_p = clean()
    of_q = of_p if copy else clean()
    return side(*of_p, 0.0, 0.3), side(*of_q, *((0.4, 1.0) if shifted else (0.0, 0.3)))


def sketched(contents: dict[str, Float], ids: list[str]) -> Profile:
    """As an audit has them, without critics."""
    z = {name: rows.astype(np.float32) for name, rows in contents.items()}
    has = dict.fromkeys(SIDES, np.ones(len(ids), dtype=bool))
    rows = Rows(tuple(ids), tuple(ids), tuple(ids), x=(z["image"] + z["text"]) / 2, has=has, **z)
    return sketch_rows(rows, np.ones((len(ids), 4)), (), len(ids))


def large_sample(rows: int, shifted: bool) -> World:
    rng = np.random.default_rng(2)
    p, _ = draw(_CHUNK, rng, copy=False, shifted=shifted)
    every = np.concatenate([p["response"], p["reference"]]).astype(np.float32)
    codebook = learn_codebook(every, SYMBOLS, 0)
    names = (*SIDES, "joint")
    totals = [{name: Sketch.empty(D) for name in names} for _ in "pq"]
    cells = np.zeros((2, 2, len(codebook)))
    for _ in range(0, rows, _CHUNK):
        for i, side in enumerate(draw(_CHUNK, rng, copy=False, shifted=shifted)):
            together = tensor_sketch(side["image"], side["text"], D, 0)
            for name, z in {**side, "joint": together}.items():
                totals[i][name] = totals[i][name].merge(Sketch.from_rows(z))
            for j, name in enumerate(("response", "reference")):
                at = nearest_cell(side[name].astype(np.float32), codebook)
                cells[i, j] += np.bincount(at, minlength=len(codebook))
    of_p, of_q = totals
    laws = cells / cells.sum(axis=-1, keepdims=True)
    entropy = [float(-(law[law > 0] * np.log(law[law > 0])).sum()) for law in laws[:, 0]]
    truth = {
        "d_v": rjsd(of_p["image"], of_q["image"]) * shifted,
        "d_t": rjsd(of_p["text"], of_q["text"]) * shifted,
        "d_x": rjsd(of_p["joint"], of_q["joint"]) * shifted,
        "delta_p": rjsd(of_p["response"], of_p["reference"]),
        "delta_q": rjsd(of_q["response"], of_q["reference"]),
        "delta_p_cells": float(jensenshannon(*laws[0]) ** 2),
        "delta_q_cells": float(jensenshannon(*laws[1]) ** 2),
        "h_model_p": entropy[0],
        "h_model_q": entropy[1],
    }
    return World(codebook, truth)


def true_bound(form: str, names: list[str], known: Known, truth: dict[str, float]) -> float:
    """The bound over `names` on the large sample, with Ĥ as it went in."""
    cells = "_cells" if form in ON_CELLS else ""
    fixed = choose(form, known).terms
    terms = {name: truth.get(name + cells, truth.get(name, fixed.get(name))) for name in names}
    return emid_bound(form, **terms)  # type: ignore[arg-type]


def run(job: Job) -> list[dict[str, tuple[bool, float, float]]]:
    """By form that had an interval: whether it held the truth, its half-width, the value less the truth."""
    out = []
    for number in range(job.first, job.first + job.repetitions):
        rng = np.random.default_rng([5, job.n, job.paired, number])
        contents = draw(job.n, rng, copy=job.paired, shifted=job.shifted)
        ids = [[f"{number}-{'x' if job.paired else side}{j}" for j in range(job.n)] for side in "pq"]
        p, q = (sketched(z, names) for z, names in zip(contents, ids, strict=True))
        measured = {name: divergence(p, q, name, seed=0, level=LEVEL) for name in ("image", "text", "joint")}
        found = Divergences(
            {name: m.divergence for name, m in measured.items() if m.divergence is not None},
            {},
            {name: m.left for name, m in measured.items()},
        )
        groups = grouped(p, q, found, LEVEL)
        # Both ways: Ĥ given for the forms of the text, the codebook's for those on cells.
        answers = answer_terms(answer_side(p, job.world.codebook), answer_side(q, job.world.codebook), GIVEN)
        told, _ = bounds(found.found, found.found["joint"].value, answers, groups)
        held: dict[str, tuple[bool, float, float]] = {}
        for form, bound in told.items():
            if bound.interval is not None and bound.value is not None and bound.complete:
                truth = true_bound(form, bound.terms, answers.known, job.world.truth)
                low, high = bound.interval
                held[form] = (low <= truth <= high, (high - low) / 2, bound.value - truth)
        out.append(held)
    return out


def main() -> None:
    parser = options(__doc__, processes=True)
    parser.add_argument("--repetitions", type=int, default=400)
    args = parser.parse_args()
    repetitions, large = (20, 20_000) if args.quick else (args.repetitions, 400_000)
    print(machine())
    noise = 1.65 * np.sqrt(LEVEL * (1 - LEVEL) / repetitions)
    print(f"d={D}, {SYMBOLS} cells; {repetitions} repetitions a cell: {LEVEL:.0%} is known to ±{noise:.1%}")
    for shifted in (True, False):
        _table(large_sample(large, shifted), shifted, large, repetitions, args.processes)


def _table(world: World, shifted: bool, large: int, repetitions: int, processes: int) -> None:
    print(f"\n{'A shift' if shifted else 'No shift'}; large sample of {large} rows a side: ", end="")
    print(", ".join(f"{name} {value:.4f}" for name, value in world.truth.items()))
    cells = list(product(SIZES, (True, False)))
    jobs = [
        Job(shifted, n, paired, first, min(_PART, repetitions - first), world)
        for n, paired in cells
        for first in range(0, repetitions, _PART)
    ]
    results = iter(spread_out(run, jobs, processes))
    head = f"{'':8s} {'n':>5s}  {'form':18s} {'spoke':>6s} {'held':>6s} {'half':>7s} {'bias':>7s}"
    print(head)
    for n, paired in cells:
        start = perf_counter()
        rows = [held for _ in range(-(-repetitions // _PART)) for held in next(results)]
        for form in FORMS:
            spoke = np.array([held[form] for held in rows if form in held], dtype=float)
            line = f"{'paired' if paired else 'unpaired':8s} {n:5d}  {form:18s} {len(spoke) / len(rows):6.0%}"
            if len(spoke):
                rate, half, bias = spoke.mean(axis=0)
                line += f" {rate:6.1%} {half:7.4f} {bias:7.4f}"
            print(line, flush=True)
        print(f"{'':8s} {perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
