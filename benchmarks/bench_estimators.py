"""Times of the statistics, in seconds, on as many threads as the environment sets."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import numpy as np

from auditor.attribution import rjsd_shares
from auditor.divergences import mmd, rjsd, rjsd_joint
from auditor.emi import paired_bootstrap
from auditor.estimators import CLUB
from auditor.significance import drift_test
from auditor.sketch import Floats, Sketch


def seconds(call: Callable[[], object], repeats: int = 3) -> float:
    """The fastest of some calls."""
    times = []
    for _ in range(repeats):
        start = perf_counter()
        call()
        times.append(perf_counter() - start)
    return min(times)


def rows(n: int, d: int, seed: int) -> Floats:
    z = np.random.default_rng(seed).normal(size=(n, d)) * np.arange(1, d + 1) ** -0.5
    return (z / np.linalg.norm(z, axis=1, keepdims=True)).astype(np.float32)


def show(what: str, n: int, m: int, d: int, took: float) -> None:
    print(f"{what:28s} {n:6d} {m:6d} {d:4d} {took:8.3f}")


def main() -> None:
    print(f"{'':28s} {'n':>6s} {'m':>6s} {'d':>4s} {'s':>8s}")
    for n, m, d in ((90, 90, 768), (1000, 333, 256), (2000, 700, 256), (2000, 700, 768), (10_000, 2000, 256)):
        p, q = rows(n, d, 0), rows(m, d, 1)
        show("sketch of p", n, 0, d, seconds(lambda p=p: Sketch.from_rows(p)))
        show("rjsd", n, m, d, seconds(lambda p=p, q=q: rjsd(p, q)))
        show("rjsd shares", n, m, d, seconds(lambda p=p, q=q: rjsd_shares(p, q)))
        show("mmd", n, m, d, seconds(lambda p=p, q=q: mmd(p, q)))
        show("drift_test", n, m, d, seconds(lambda p=p, q=q: drift_test(p, q), 1))
        copy = rows(m, d, 1) + p[:m]
        show("drift_test paired", m, m, d, seconds(lambda p=p[:m], q=copy: drift_test(p, q, paired=True), 1))
        if n + m <= 3000:
            show("rjsd joint, exact", n, m, d, seconds(lambda p=p, q=q: rjsd_joint(p, p, q, q), 1))
    x, y = rows(2000, 768, 2), rows(2000, 768, 3)
    critic = CLUB(steps=50)
    show("CLUB training, 50 steps", 2000, 0, 768, seconds(lambda: critic.fit(x, y), 1))
    show("CLUB one pass", 2000, 0, 768, seconds(lambda: critic.estimate(x, y)))
    sums = critic.sums(x, y, blocks=np.arange(2000) % 60)
    show("bootstrap, 1,000 draws", 2000, 2000, 768, seconds(lambda: paired_bootstrap(sums, sums, sums, sums)))


if __name__ == "__main__":
    main()
