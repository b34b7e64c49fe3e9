"""Size, bias and coverage of the divergences, in simulation: plain tables with n, d, repetitions and seconds.

`python benchmarks/bench_divergences.py [--quick] [--only NAME ...]`, names: mmd excess corrected fourier
conditional. --quick: few repetitions, small settings, to see that it runs. On as many threads as the
environment sets.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from time import perf_counter

import numpy as np
from scipy.stats import t as student

from auditor.divergences import (
    FourierFeatures,
    conditional_divergence,
    effective_rank,
    fourier_features,
    mmd,
    rjsd,
    rjsd_rbf,
)
from auditor.divergences.mean_discrepancy import Kernel
from auditor.significance import DriftTest, drift_test
from auditor.significance.resampling import RjsdResampler
from auditor.sketch import Float, Sketch

SPECTRA = {"slow": 0.5, "fast": 1.0}
"""Standard deviation of coordinate j: j to minus this."""
LARGE = 200_000
MOVED = 0.3
"""The fixed shift: the mean moves by this many standard deviations in every coordinate."""


def rows(rng: np.random.Generator, n: int, d: int, spectrum: str, moved: float = 0.0) -> Float:
    """Unit rows (n, d): a Gaussian of the spectrum, normalised."""
    z = (rng.standard_normal((n, d)) + moved) * np.arange(1, d + 1) ** -SPECTRA[spectrum]
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def large(d: int, spectrum: str, moved: float, total: int, seed: int) -> Sketch:
    """Sketch of `total` rows, made ten thousand at a time."""
    rng = np.random.default_rng(seed)
    sketch = Sketch.empty(d)
    for _ in range(total // 10_000):
        sketch = sketch.merge(Sketch.from_rows(rows(rng, 10_000, d, spectrum, moved)))
    return sketch


def interval(values: Float) -> tuple[float, float, float]:
    """Mean, its standard error, half-width of its 90% interval."""
    error = float(values.std(ddof=1) / np.sqrt(len(values)))
    return float(values.mean()), error, float(student.ppf(0.95, len(values) - 1)) * error


def since(start: float) -> str:
    """Seconds."""
    return f"{perf_counter() - start:.1f}"


def show(*cells: object) -> None:
    """One line of a table."""
    told = (f"{c:.5f}" if isinstance(c, float) else str(c) for c in cells)
    print(" ".join(f"{text:>9s}" for text in told), flush=True)


def table(title: str, names: str) -> None:
    """Its title and head."""
    print(f"\n{title}")
    show(*names.split())


def size_of_mmd(quick: bool) -> None:
    """One fixed shift at four sizes: the means must agree with the large-sample value."""
    table(
        "Unbiased MMD² of one fixed shift, and of none, n rows a side. z: in standard errors",
        "kernel d n reps truth mean ±90% z sd_of_one no_shift z s",
    )
    d = 64 if quick else 256
    total = 20_000 if quick else 5 * LARGE  # so that the truth's own error is a third of the finest mean's
    p, q = (large(d, "slow", moved, total, seed) for seed, moved in ((100, 0.0), (101, MOVED)))
    plans = ((60, 40), (300, 20)) if quick else ((60, 1000), (300, 400), (1000, 150), (10_000, 20))
    kernels: tuple[Kernel, ...] = ("quadratic", "linear")
    for kernel in kernels:
        truth = mmd(p, q, kernel)
        for n, reps in plans:
            rng, start = np.random.default_rng(n), perf_counter()
            shift, none = np.empty(reps), np.empty(reps)
            for i in range(reps):
                a, b, c = (Sketch.from_rows(rows(rng, n, d, "slow", moved)) for moved in (0.0, MOVED, 0.0))
                shift[i], none[i] = mmd(a, b, kernel), mmd(a, c, kernel)
            (mean, error, half), (zero, zero_error, _) = interval(shift), interval(none)
            z = f"{(mean - truth) / error:.2f}"
            one = float(shift.std(ddof=1))
            none_z = f"{zero / zero_error:.2f}"
            show(kernel, d, n, reps, truth, mean, half, z, one, zero, none_z, since(start))


def excess_without_shift(quick: bool) -> None:
    """RJSD's excess between two samples of one law: 0 within three standard errors."""
    table(
        "RJSD without a shift: raw, and excess over 16 permutations; goal |z| <= 3",
        "spectrum d n/m reps raw excess s.e. z s",
    )
    reps = 5 if quick else 50
    worst = 0.0
    for spectrum in SPECTRA:
        for d in (64,) if quick else (64, 256, 768):
            for n, m in ((45, 45), (90, 90), (1000, 100)):
                rng, start = np.random.default_rng(d + n), perf_counter()
                raw, excess = np.empty(reps), np.empty(reps)
                for i in range(reps):
                    resampler = RjsdResampler(rows(rng, n, d, spectrum), rows(rng, m, d, spectrum))
                    raw[i] = resampler.value
                    excess[i] = resampler.value - resampler.null(16, rng).mean()
                mean, error, _ = interval(excess)
                worst = max(worst, abs(mean / error))
                z = f"{mean / error:.2f}"
                show(spectrum, d, f"{n}/{m}", reps, float(raw.mean()), mean, error, z, since(start))
    print(f"largest |z|: {worst:.2f}")


def coverage_of_corrected(quick: bool) -> None:
    """The jackknife's 90% interval against the large-sample RJSD, where it speaks."""
    table(
        "`corrected` and its 90% interval against the large-sample value; goal 82 to 97% where it speaks",
        "spectrum shift d n/m reps spoke eff_rank truth raw excess corrected holds_it half s",
    )
    settings = (
        ("slow", 64, ((90, 90), (300, 300), (1000, 300), (1000, 1000), (3000, 1000))),
        ("fast", 64, ((45, 45), (90, 90), (300, 300), (1000, 100), (1000, 1000))),
        ("slow", 256, ((300, 300), (1000, 1000))),
        ("fast", 256, ((90, 90), (300, 300), (1000, 300))),
        ("slow", 768, ((1000, 1000),)),
        ("fast", 768, ((300, 300), (1000, 300))),
    )
    for spectrum, d, sizes in settings[:1] if quick else settings:
        for moved in (MOVED, 0.0):
            total = 20_000 if quick else LARGE
            p, q = large(d, spectrum, 0.0, total, 7), large(d, spectrum, moved, total, 8)
            truth = rjsd(p, q) if moved else 0.0
            for n, m in sizes[:2] if quick else sizes:
                _coverage(spectrum, d, n, m, moved, truth, 10 if quick else 200)


def _coverage(spectrum: str, d: int, n: int, m: int, moved: float, truth: float, reps: int) -> None:
    """One line: `reps` tests, or ten where none of them speaks."""
    rng, start = np.random.default_rng(n + d), perf_counter()
    tests: list[DriftTest] = []
    for seed in range(reps):
        a, b = rows(rng, n, d, spectrum), rows(rng, m, d, spectrum, moved)
        tests.append(drift_test(a, b, seed=seed, permutations=1))
        if seed == 9 and all(t.corrected is None for t in tests):
            break
    spoke = [(t.corrected, t.interval) for t in tests if t.corrected is not None and t.interval is not None]
    assert all(t.reason == "too few rows" for t in tests if t.corrected is None)
    raw, excess, rank = np.array([(t.value, t.excess, t.effective_rank) for t in tests], float).mean(axis=0)
    told: tuple[object, ...] = ("silent", "", "")
    if spoke:
        held = np.mean([low <= truth <= high for _, (low, high) in spoke])
        half = np.mean([(high - low) / 2 for _, (low, high) in spoke])
        told = (float(np.mean([c for c, _ in spoke])), f"{held:.1%}", float(half))
    share = f"{len(spoke) / len(tests):.0%}"
    values = (truth, float(raw), float(excess), *told, since(start))
    show(spectrum, f"{moved}", d, f"{n}/{m}", len(tests), share, f"{rank:.1f}", *values)


def fourier_against_exact(quick: bool) -> None:
    """Features against the exact RBF kernel on the same rows: error by the number of features."""
    table(
        "Random Fourier features against the exact RBF kernel, same rows, same width: error over seeds",
        "d n/m r seeds MMD² bias sd RJSD bias sd s_exact s_ours",
    )
    for d in (16,) if quick else (16, 256):
        n, m = (200, 100) if quick else (1000, 500)
        rng = np.random.default_rng(d)
        p, q = rows(rng, n, d, "slow"), rows(rng, m, d, "slow", MOVED)
        variance = fourier_features(p, q).variance
        start = perf_counter()
        exact = mmd(p, q, "rbf"), rjsd_rbf(p, q, variance)
        exact_seconds = since(start)
        for r in (64, 256) if quick else (64, 128, 256, 512, 1024, 2048):
            seeds = 5 if quick or r >= 1024 else 20
            start = perf_counter()
            errors = np.empty((seeds, 2))
            for seed in range(seeds):
                f = FourierFeatures(d, r, seed, variance)
                a, b = f.sketch(p), f.sketch(q)
                errors[seed] = mmd(a, b, "linear") - exact[0], rjsd(a, b) - exact[1]
            took = f"{(perf_counter() - start) / seeds:.2f}"
            (b1, b2), (s1, s2) = errors.mean(axis=0).tolist(), errors.std(axis=0, ddof=1).tolist()
            show(d, f"{n}/{m}", r, seeds, exact[0], b1, s1, exact[1], b2, s2, exact_seconds, took)


def conditional_known_answer(quick: bool) -> None:
    """Six clusters to condition on, orthonormal atoms in each: D̄ is exact."""
    table(
        "Conditional divergence D̄, the sum of both means, where it is known; z: in reported errors",
        "shifted atoms noise n/m k reps true found raw rms |z|<1.64 true^¼ found high s_each",
    )
    sizes = ((600, 400, 20), (2000, 1000, 20), (2000, 1000, 40))
    for shifted, atoms, noise in (
        (1.0, 5, 0.02),
        (0.5, 5, 0.02),
        (0.0, 5, 0.02),
        (1.0, 5, 0.0),
        (1.0, 20, 0.02),
        (0.0, 20, 0.02),
    ):
        for n, m, k in sizes[:1] if quick else sizes:
            reps, start = 3 if quick else 24, perf_counter()
            out = np.array([_world(seed, shifted, atoms, noise, n, m, k) for seed in range(reps)])
            truth, value, raw, error, quarter, found, high = out.T
            rms = float(np.sqrt(np.square(value - truth).mean()))
            held = f"{(np.abs(value - truth) < 1.645 * error).mean():.0%}"
            means = [float(x.mean()) for x in (truth, value, raw, quarter, found, high)]
            took = f"{(perf_counter() - start) / reps:.2f}"
            setting = (f"{shifted}", atoms, f"{noise}", f"{n}/{m}", k, reps)
            show(*setting, *means[:3], rms, held, *means[3:], took)


def _world(seed: int, shifted: float, atoms: int, noise: float, n: int, m: int, k: int) -> list[float]:
    """True D̄, value, raw, error, true E_P D^¼, quarter, quarter_high of one random world."""
    rng, clusters = np.random.default_rng(seed), 6
    centres = rng.normal(size=(clusters, 16))
    law_p, law_q = rng.dirichlet(np.ones(atoms), size=(2, clusters))
    law_q = np.where(np.arange(clusters)[:, None] < shifted * clusters, law_q, law_p)
    share_p, share_q = rng.dirichlet(np.full(clusters, 10.0), size=2)

    def side(share: Float, law: Float, count: int) -> tuple[Float, Float]:
        cluster = rng.choice(clusters, size=count, p=share)
        atom = (rng.random((count, 1)) > np.cumsum(law[cluster], axis=1)).sum(axis=1).clip(0, atoms - 1)
        return centres[cluster] + noise * rng.normal(size=(count, 16)), np.eye(32)[atom]

    p, q = side(share_p, law_p, n), side(share_q, law_q, m)
    each = rjsd_of_laws(law_p, law_q)
    r = conditional_divergence(*p, *q, k=k, anchors=150, seed=seed)
    found = (r.value, r.raw, r.error)
    values = [float("nan") if x is None else x for x in (*found, r.quarter, r.quarter_high)]
    return [float((share_p + share_q) @ each), *values[:3], float(share_p @ each**0.25), *values[3:]]


def rjsd_of_laws(p: Float, q: Float) -> Float:
    """(C,) JS divergences of laws (C, K), nats."""
    h = [-(z * np.log(np.where(z > 0, z, 1))).sum(axis=-1) for z in ((p + q) / 2, p, q)]
    return np.maximum(0.0, np.asarray(h[0] - (h[1] + h[2]) / 2))


TABLES: dict[str, Callable[[bool], None]] = {
    "mmd": size_of_mmd,
    "excess": excess_without_shift,
    "corrected": coverage_of_corrected,
    "fourier": fourier_against_exact,
    "conditional": conditional_known_answer,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few repetitions, small settings")
    parser.add_argument(
        "--only", nargs="+", choices=list(TABLES), default=list(TABLES), help="these tables alone"
    )
    chosen = parser.parse_args()
    start = perf_counter()
    for spectrum in SPECTRA:
        ranks = [
            effective_rank(large(d, spectrum, 0.0, 20_000, 0))
            for d in ((64,) if chosen.quick else (64, 256, 768))
        ]
        print(f"effective rank, {spectrum} spectrum, d = 64, 256, 768:", ", ".join(f"{r:.1f}" for r in ranks))
    for name in chosen.only:
        TABLES[name](chosen.quick)
    print(f"\n{perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
