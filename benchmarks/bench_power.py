"""Power of the drift test at equal false alarms, and its time, beside alibi-detect and Evidently.

Unit rows, d=256, a slow spectrum, with and without a common mean. Four kinds of shift, of strengths set
after a small trial of all three methods, then left alone: the mean moved, a wider covariance in half of the
directions, 10% of the rows from elsewhere, heavy tails (Student t, 3 degrees of freedom, of the same
variance) in every direction before the rows are normalised. A mean or contamination lies either along the
rows' own spectrum or anywhere: where the rows hardly vary, a shift is easy for a linear classifier and hard
for a kernel of inner products, so both count alike. All see the same rows. Each method's threshold is the
one with 5% false alarms on common nulls; what it does with its own threshold stands beside it. Evidently's
method is its default: a linear classifier's ROC AUC.

`--only rotated`: twelve shifts of rows that are rotated at random (`_shifts.py`), the test, what it was
before (three statistics, the smallest rank), and four referees in numpy (`_referees.py`), all at 5% by
permutation; and the time at 10,000 / 3,333 rows beside one pass of the martingale MMD. Real rows are made of
WordNet's data files and Python's manual (`--wordnet`, `--manual`), or skipped.

The peers live in an environment of their own (they hold numpy at 1.26):
  python3 -m venv /tmp/peers
  /tmp/peers/bin/pip install 'alibi-detect[torch]==0.13.0' 'evidently==0.7.23' 'torch==2.14.1'

Run: python benchmarks/bench_power.py [--quick] [--peers /tmp/peers/bin/python]
"""

from __future__ import annotations

import json
import resource
import subprocess
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time
from typing import NamedTuple

import _shifts
import numpy as np
from _referees import REFEREES, martingale_pass, smallest_rank
from _shared import machine, now, options, scales, seconds, unit
from numpy.typing import NDArray

from auditor.significance import PERMUTATIONS, drift_test
from auditor.significance.permutation import (
    aggregated_p_value,
    permuted_labels,
    unpaired_grams,
    unpaired_statistics,
    unpaired_test,
)
from auditor.sketch import Float

D, LEVEL = 256, 0.05
Arrays = dict[str, NDArray[np.float64]]
Draw = Callable[[int, np.random.Generator], Float]
Rng = np.random.Generator


def _plain(m: int, rng: Rng) -> Float:
    return rng.normal(size=(m, D)) * scales(D)


def _anywhere(rng: Rng) -> Float:
    """(D,) of length 1."""
    return unit(rng.normal(size=(1, D)))[0]


def _along(rng: Rng) -> Float:
    """(D,) of length 1, as a row would point."""
    return unit(_plain(1, rng))[0]


def _contaminated(m: int, rng: Rng, far: Float) -> Float:
    return _plain(m, rng) + (rng.random(m) < 0.1)[:, None] * far


class Shift(NamedTuple):
    kind: str
    what: str
    draw: Draw


SHIFTS = (
    Shift("none", "no shift", _plain),
    Shift("mean", "along the spectrum", lambda m, rng: _plain(m, rng) + 0.15 * _along(rng)),
    Shift("mean", "anywhere", lambda m, rng: _plain(m, rng) + 0.12 * _anywhere(rng)),
    Shift(
        "covariance",
        "wider by a fifth",
        lambda m, rng: _plain(m, rng) * np.where(rng.permutation(D) < D // 2, 1.2, 1.0),
    ),
    Shift("contamination", "along the spectrum", lambda m, rng: _contaminated(m, rng, 1.8 * _along(rng))),
    Shift("contamination", "anywhere", lambda m, rng: _contaminated(m, rng, 1.2 * _anywhere(rng))),
    Shift(
        "heavy tails", "t with 3 d.f.", lambda m, rng: rng.standard_t(3, size=(m, D)) / np.sqrt(3) * scales(D)
    ),
)
CENTRES = {"centred": 0.0, "common mean": 1.5}
"""Length of the mean that all rows share; the rows about it are 2.5 long."""


def common_mean() -> Float:
    return _anywhere(np.random.default_rng(0))


def samples(shift: int, centre: str, n: int, m: int, repetitions: int) -> tuple[Float, Float]:
    """p (repetitions, n, D) and q (repetitions, m, D), fp32 unit rows."""
    mean = CENTRES[centre] * common_mean()
    p, q = np.empty((repetitions, n, D), np.float32), np.empty((repetitions, m, D), np.float32)
    for i in range(repetitions):
        rng = np.random.default_rng([shift, list(CENTRES).index(centre), n, m, i])
        p[i], q[i] = unit(_plain(n, rng) + mean), unit(SHIFTS[shift].draw(m, rng) + mean)
    return p, q  # type: ignore[return-value]


def p_value(p: Float, q: Float, seed: int = 0) -> float:
    """The p-value of `drift_test`, without its RJSD part."""
    rows = (z.astype(np.float64) for z in (p, q))
    return unpaired_test(*rows, PERMUTATIONS, np.random.default_rng(seed)).p_value


def run_ours(ps: Float, qs: Float) -> Arrays:
    answers, times = [], []
    for seed, (p, q) in enumerate(zip(ps, qs, strict=True)):
        start = now()
        answers.append((p_value(p, q, seed), np.nan))
        times.append(now() - start)
    return {"ours": np.array(answers), "ours_s": np.array(times)}


def suspicion(name: str, answers: Float) -> Float:
    """Large where there is a shift."""
    return answers[:, 0] if name == "evidently" else -answers[:, 0]


def own_verdict(name: str, answers: Float) -> Float:
    return answers[:, 1] if name == "evidently" else (answers[:, 0] <= LEVEL).astype(float)


def threshold(scores: Float) -> float:
    """The least score that at most LEVEL of the nulls exceed."""
    return float(np.sort(scores)[-1 - int(LEVEL * len(scores))])


def answers_of_all(python: str | None, cells: list[tuple[Float, Float]]) -> list[Arrays]:
    """(p, q) of each cell -> each method's answers and seconds."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        jobs = [{"rows": f"{name}/{k}.npz", "out": f"{name}/{k}-peers.npz"} for k in range(len(cells))]
        for (p, q), job in zip(cells, jobs, strict=True):
            np.savez(job["rows"], p=p, q=q)
        found = [run_ours(p, q) for p, q in cells]
        if python:
            (folder / "jobs.json").write_text(json.dumps({"cpu": now.cpu, "jobs": jobs}), encoding="utf-8")
            worker = Path(__file__).with_name("_peers.py")
            subprocess.run([python, "-W", "ignore", str(worker), str(folder / "jobs.json")], check=True)
            for arrays, job in zip(found, jobs, strict=True):
                with np.load(job["out"], allow_pickle=False) as file:
                    arrays |= dict(file)
    return found


def power(python: str | None, n: int, m: int, repetitions: int, nulls: int) -> None:
    print(
        f"\nPower, n_P={n} n_Q={m} d={D}, {repetitions} repetitions a shift, {nulls} nulls a centre:\n"
        "at 5% false alarms (in brackets: with its own threshold)",
        flush=True,
    )
    where = [(shift, centre) for centre in CENTRES for shift in range(len(SHIFTS))]
    cells = [samples(shift, centre, n, m, repetitions if shift else nulls) for shift, centre in where]
    found = answers_of_all(python, cells)
    names = [key for key in found[0] if not key.endswith("_s")]
    print(f"{'':45s}" + "".join(f"{name:>16s}" for name in names))
    rates: dict[str, dict[str, list[float]]] = {key: {} for key in names}
    limits: dict[str, float] = {}
    for (number, centre), arrays in zip(where, found, strict=True):
        shift = SHIFTS[number]
        line = f"{centre:12s} {shift.kind:13s} {shift.what:18s}"
        for key in names:
            scores = suspicion(key, arrays[key])
            if shift.kind == "none":
                limits[key] = threshold(scores)
            rate, own = float((scores > limits[key]).mean()), float(own_verdict(key, arrays[key]).mean())
            if shift.kind != "none":
                rates[key].setdefault(shift.kind, []).append(rate)
            line += f"{f'{rate:.2f} ({own:.2f})':>16s}"
        print(line)
    for kind in rates[names[0]]:
        print(f"{kind:45s}" + "".join(f"{np.mean(rates[key][kind]):>16.3f}" for key in names))
    means = {key: np.mean([np.mean(values) for values in rates[key].values()]) for key in names}
    print(f"{'mean over the four kinds':45s}" + "".join(f"{means[key]:>16.3f}" for key in names))
    times = {key: np.median(np.concatenate([a[f"{key}_s"] for a in found])) for key in names}
    print(f"{'seconds a test (median)':45s}" + "".join(f"{times[key]:>16.3f}" for key in names))


def rotated_p_values(
    p: Float, q: Float, permutations: int, seed: list[int], referees: bool
) -> dict[str, float]:
    """Of the test, of its three first statistics alone, and of the referees."""
    rng = np.random.default_rng(seed)
    labels = permuted_labels(len(p), len(q), permutations, rng)
    statistics = unpaired_statistics(unpaired_grams(np.concatenate([p, q]), 1), labels)
    found = {"ours": aggregated_p_value(statistics), "before": smallest_rank(statistics[:3])}
    if referees:
        found |= {name: test(p, q, permutations, rng) for name, test in REFEREES.items()}
    return found


def rotated(texts: _shifts.Texts | None, seed: int, repetitions: int, permutations: int) -> None:
    shifts = [i for i in range(len(_shifts.NAMES)) if i < len(_shifts.MADE) or texts is not None]
    print(
        f"\nPower at 5% of twelve rotated shifts, n={_shifts.N}/{_shifts.M}, d={_shifts.D}, {repetitions} "
        f"repetitions, seed {seed}, {permutations} permutations",
        flush=True,
    )
    if texts is None:
        print("real rows skipped: --wordnet and --manual, or --kept, say where they are")
    rates: list[dict[str, float]] = []
    for number in [-1, *shifts]:
        found = [
            rotated_p_values(*_shifts.rotated(number, seed, i, texts), permutations, [seed, i], True)
            for i in range(repetitions)
        ]
        power = {name: float(np.mean([p[name] <= LEVEL for p in found])) for name in found[0]}
        if number < 0:
            print(f"{'':16s}" + "".join(f"{name:>12s}" for name in power))
        else:
            rates.append(power)
        name = "no shift" if number < 0 else _shifts.NAMES[number]
        print(f"{name:16s}" + "".join(f"{rate:12.2f}" for rate in power.values()), flush=True)
    means = {name: np.mean([power[name] for power in rates]) for name in rates[0]}
    print(f"{'mean':16s}" + "".join(f"{mean:12.3f}" for mean in means.values()))
    behind = [max(power.values()) - power["ours"] for power in rates]
    print(
        f"behind the best of all: at most {max(behind):.2f} ({_shifts.NAMES[shifts[int(np.argmax(behind))]]})"
    )


def beside_martingale(repeats: int) -> None:
    """CPU seconds of the p-value at 10,000 / 3,333 rows and of one pass of the martingale MMD, in turn."""
    rng = np.random.default_rng(0)
    p, q = (unit(_plain(rows, rng)) for rows in (10_000, 3_333))
    times: dict[str, list[float]] = {"ours": [], "martingale": []}
    for _ in range(repeats):
        for name, call in (("ours", lambda: p_value(p, q)), ("martingale", lambda: martingale_pass(p, q))):
            start = process_time()
            call()
            times[name].append(process_time() - start)
    ours, theirs = (np.median(times[name]) for name in times)
    print(
        f"\n10,000 / 3,333 rows, d={D}, CPU s (median of {repeats}, in turn): ours {ours:.2f}, one pass of "
        f"the martingale MMD ({len(q)} pairs) {theirs:.2f}: {ours / theirs:.2f} of it",
        flush=True,
    )


def peak() -> float:
    """Most memory this process ever held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def speed(python: str | None, sizes: list[tuple[int, int]], with_peers: int) -> None:
    """Of ours at each size; of the peers at the first `with_peers` of them."""
    print(f"\nTime, d={D}\n{'':20s} {'n_P':>6s} {'n_Q':>6s} {'s':>8s} {'grew by':>9s} {'kernel matrix':>14s}")
    cells = [samples(0, "centred", n, m, 1) for n, m in sizes]
    ours = [time_ours(p[0], q[0]) for p, q in cells]
    if not python:
        return
    found = answers_of_all(python, cells[:with_peers])
    for key in ("alibi_detect", "evidently"):
        for (n, m), took, arrays in zip(sizes, ours, found, strict=False):
            theirs = float(arrays[f"{key}_s"][0])
            print(f"{key:20s} {n:6d} {m:6d} {theirs:8.3f}   ours: {took / theirs:.2%} of it")


def time_ours(p: Float, q: Float) -> float:
    before = peak()
    took = seconds(lambda: p_value(p, q))
    size, kernel = f"{len(p):6d} {len(q):6d}", (len(p) + len(q)) ** 2 * 4 / 2**20
    print(f"{'ours, the p-value':20s} {size} {took:8.3f} {peak() - before:6.0f} MB {kernel:11.0f} MB")
    print(f"{'ours, drift_test':20s} {size} {seconds(lambda: drift_test(p, q), 1):8.3f}", flush=True)
    return took


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--peers", metavar="PYTHON", help="python of the environment that has the peers")
    parser.add_argument("--repetitions", type=int, default=60)
    parser.add_argument("--nulls", type=int, default=200)
    parser.add_argument("--only", choices=("time", "power", "rotated"))
    parser.add_argument("--seed", type=int, default=2, help="of the rotated shifts (1 chose strengths)")
    parser.add_argument("--permutations", type=int, default=500, help="of the rotated shifts")
    parser.add_argument("--wordnet", type=Path, help="folder of data.noun, data.verb, data.adj")
    parser.add_argument("--manual", type=Path, help="folder of the pages of Python's manual")
    parser.add_argument("--kept", type=Path, help="npz of the embedded texts, made where it is missing")
    args = parser.parse_args()
    now.cpu = args.cpu
    print(machine())
    if not args.peers:
        print("peers skipped: no --peers PYTHON given (see the top of this file)")
    if args.only in (None, "rotated"):
        with_texts = (args.wordnet and args.manual) or (args.kept and args.kept.exists())
        texts = _shifts.Texts.read(args.wordnet, args.manual, args.kept) if with_texts else None
        rotated(texts, args.seed, *((4, 99) if args.quick else (args.repetitions, args.permutations)))
        beside_martingale(1 if args.quick else 5)
    if args.only in (None, "time"):
        sizes = [(300, 100)] if args.quick else [(1000, 333), (3000, 1000), (10_000, 3333)]
        speed(args.peers, sizes, 2)
    if args.only in (None, "power"):
        size = (200, 80, 4, 20) if args.quick else (500, 200, args.repetitions, args.nulls)
        power(args.peers, *size)


if __name__ == "__main__":
    main()
