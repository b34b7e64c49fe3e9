"""The engine beside textbook code: same inputs, same threads, one run, d=768, equal within 1e-5.

Textbook: CLUB by Eq. 11 with its N x N x d array (whole up to 4 GB, else a chunk of rows at a time), each
network call anew; RJSD by Eq. 12 from two d x d covariances and three spectra; nothing kept.

Parts: scenarios (61 x 4 at n=90), single (one scenario at n=1,000 and 5,000), stream (a million rows),
permutations, training. Run: python benchmarks/bench_speed.py [--quick] [--only PART ...]
"""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import torch
from _shared import machine, now, options, scales, seconds, unit
from numpy.typing import NDArray
from safetensors.numpy import load_file
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from auditor.bounds import emid_bound
from auditor.divergences import rjsd
from auditor.divergences.spectrum import entropy_of_rows
from auditor.estimators import CLUB, ClubSums
from auditor.significance import permutation
from auditor.sketch import Float, Sketch
from auditor.sketch.blocks import HASH_BLOCKS

D, HIDDEN, MODELS = 768, 250, 4
_FITS = 4 * 2**30
"""Bytes of one N x N x d array up to which the textbook makes it whole."""
_CHUNK = 2**29
Rows = NDArray[np.float32]


@dataclass(frozen=True)
class Side:
    """Unit rows (n, d) of one scenario and model."""

    image: Rows
    text: Rows
    response: Rows
    reference: Rows

    @property
    def x(self) -> Rows:
        return (self.image + self.text) / 2


class Measures(NamedTuple):
    """What an evaluation gives, in nats; `scaled` is the published bound."""

    emi_p: float
    emi_q: float
    emid: float
    d_v: float
    d_t: float
    delta_p: float
    delta_q: float
    scaled: float


def measures(emi_p: float, emi_q: float, d_v: float, d_t: float, delta_p: float, delta_q: float) -> Measures:
    bound = emid_bound("scaled", d_v=d_v, d_t=d_t, delta_p=delta_p, delta_q=delta_q)
    return Measures(emi_p, emi_q, emi_p - emi_q, d_v, d_t, delta_p, delta_q, bound)


def rows(n: int, *key: int) -> Rows:
    """Unit rows of a slow spectrum about a mean that `key` moves a little."""
    rng = np.random.default_rng(key)
    z = rng.standard_normal((n, D), dtype=np.float32) * scales(D).astype(np.float32)
    z += 0.3 * rng.standard_normal(D, dtype=np.float32) * scales(D).astype(np.float32)
    return unit(z)


# The textbook.


class Textbook(nn.Module):
    """The published critic, and Eq. 11 and 12 as they are written."""

    def __init__(self) -> None:
        super().__init__()
        self.p_mu = nn.Sequential(nn.Linear(D, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, D))
        self.p_logvar = nn.Sequential(nn.Linear(D, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, D), nn.Tanh())

    @classmethod
    def of(cls, critic: CLUB) -> Textbook:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "critic.safetensors"
            critic.save(path)
            state = {key: torch.tensor(value) for key, value in load_file(path).items()}
        net = cls()
        net.load_state_dict(state)
        return net

    def loss(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        mu, logvar = self.p_mu(x), self.p_logvar(x)
        return ((y - mu) ** 2 / logvar.exp() + logvar).sum(dim=1).mean()

    @torch.no_grad()
    def club(self, x: Rows, y: Rows) -> float:
        xs, ys = torch.from_numpy(x), torch.from_numpy(y)
        mu, logvar = self.p_mu(xs), self.p_logvar(xs)
        positive = -((mu - ys) ** 2) / 2.0 / logvar.exp()
        n, d = ys.shape
        step = n if 4 * n * n * d <= _FITS else max(1, _CHUNK // (4 * n * d))
        parts = [
            ((ys.unsqueeze(0) - mu[a : a + step].unsqueeze(1)) ** 2).mean(dim=1) for a in range(0, n, step)
        ]
        negative = -torch.cat(parts) / 2.0 / logvar.exp()
        return float((positive.sum(dim=1) - negative.sum(dim=1)).mean())

    def emi(self, side: Side) -> float:
        return self.club(side.x, side.response) - self.club(side.x, side.reference)

    def evaluate(self, p: Side, q: Side) -> Measures:
        return measures(
            self.emi(p),
            self.emi(q),
            textbook_rjsd(p.image, q.image),
            textbook_rjsd(p.text, q.text),
            textbook_rjsd(p.response, p.reference),
            textbook_rjsd(q.response, q.reference),
        )


def textbook_rjsd(p: Rows, q: Rows) -> float:
    a, b = (z.astype(np.float64) for z in (p, q))
    c_p, c_q = a.T @ a / len(a), b.T @ b / len(b)
    c_p, c_q = c_p / np.trace(c_p), c_q / np.trace(c_q)
    return _entropy((c_p + c_q) / 2) - (_entropy(c_p) + _entropy(c_q)) / 2


def _entropy(c: Float) -> float:
    values = np.linalg.eigvalsh(c)
    values = values[values > 0]
    return float(-(values * np.log(values)).sum())


# The library.


@dataclass(frozen=True)
class Kept:
    """What is kept of P, for one model, between scenarios."""

    emi: float
    delta: float
    entropy_v: float
    entropy_t: float


def emi(critic: CLUB, side: Side) -> float:
    """The critic's moments of x serve the answers and the references."""
    mu, logvar = critic.moments(side.x)
    return club(mu, logvar, side.response) - club(mu, logvar, side.reference)


def club(mu: Rows, logvar: Rows, y: Rows) -> float:
    return ClubSums.from_critic(mu, logvar, y).value()


def keep(critic: CLUB, p: Side) -> Kept:
    entropies = (entropy_of_rows(z.astype(np.float64)) for z in (p.image, p.text))
    return Kept(emi(critic, p), rjsd(p.response, p.reference), *entropies)


def evaluate(critic: CLUB, p: Side, q: Side, kept: Kept) -> Measures:
    return measures(
        kept.emi,
        emi(critic, q),
        rjsd(p.image, q.image, entropy_p=kept.entropy_v),
        rjsd(p.text, q.text, entropy_p=kept.entropy_t),
        kept.delta,
        rjsd(q.response, q.reference),
    )


class Scenario(NamedTuple):
    """Keys of its images and texts: shared ones are shared."""

    image: int
    text: int


def scenarios() -> list[Scenario]:
    """P first, then the paper's 34 synthetic ones (7 images x 5 texts) and 27 natural ones (4 image sets x 7
    languages, each language of a set a text of its own)."""
    synthetic = [Scenario(i, t) for i in range(7) for t in range(5)]
    natural = [
        Scenario(100 + i if i else 0, 100 + 10 * i + t if i + t else 0) for i in range(4) for t in range(7)
    ]
    return synthetic + natural[1:]


def sides(n: int, chosen: list[Scenario]) -> list[list[Side]]:
    """[scenario][model]"""
    images = {s.image: rows(n, 0, s.image) for s in chosen}
    texts = {s.text: rows(n, 1, s.text) for s in chosen}
    out = []
    for k, s in enumerate(chosen):
        reference = rows(n, 2, k)
        out.append([Side(images[s.image], texts[s.text], rows(n, 3, k, m), reference) for m in range(MODELS)])
    return out


def evaluate_all(critic: CLUB, chosen: list[Scenario], all_sides: list[list[Side]]) -> list[Measures]:
    """Each divergence, and the critic's moments of each scenario, once."""
    p, kept = all_sides[0], [keep(critic, one) for one in all_sides[0]]
    d_v: dict[int, float] = {}
    d_t: dict[int, float] = {}
    out = []
    for s, of_models in zip(chosen[1:], all_sides[1:], strict=True):
        first = of_models[0]
        if s.image not in d_v:
            d_v[s.image] = rjsd(p[0].image, first.image, entropy_p=kept[0].entropy_v)
        if s.text not in d_t:
            d_t[s.text] = rjsd(p[0].text, first.text, entropy_p=kept[0].entropy_t)
        mu, logvar = critic.moments(first.x)
        mi_reference = club(mu, logvar, first.reference)
        entropy = entropy_of_rows(first.reference.astype(np.float64))
        for model, q in enumerate(of_models):
            emi_q = club(mu, logvar, q.response) - mi_reference
            delta_q = rjsd(q.reference, q.response, entropy_p=entropy)
            known = kept[model]
            out.append(measures(known.emi, emi_q, d_v[s.image], d_t[s.text], known.delta, delta_q))
    return out


# The parts.


def line(what: str, n: int, textbook: float, ours: float, apart: float) -> None:
    print(f"{what:44s} {n:6d} {textbook:10.3f} {ours:9.4f} {textbook / ours:8.0f}x {apart:9.1e}", flush=True)


def head(title: str) -> None:
    print(f"\n{title:44s} {'n':>6s} {'textbook s':>10s} {'ours s':>9s} {'ratio':>9s} {'apart':>9s}")


def apart(a: object, b: object) -> float:
    return float(np.abs(np.asarray(a) - np.asarray(b)).max())


def some_critic() -> CLUB:
    x, y = rows(2000, 9, 0), rows(2000, 9, 1)
    return CLUB(hidden=HIDDEN, steps=100, batch=256).fit(x, x + 0.5 * y)


def part_scenarios(quick: bool) -> None:
    critic, n = some_critic(), 90
    net, chosen = Textbook.of(critic), scenarios()
    if quick:
        chosen = chosen[:4]
    all_sides = sides(n, chosen)
    evaluate(critic, *all_sides[0][:2], keep(critic, all_sides[0][0]))
    start = now()
    theirs = [
        net.evaluate(p, q)
        for of_models in all_sides[1:]
        for p, q in zip(all_sides[0], of_models, strict=True)
    ]
    took = now() - start
    head(f"{len(chosen) - 1} scenarios x {MODELS} models")

    def each_alone() -> list[Measures]:
        kept = [keep(critic, p) for p in all_sides[0]]
        return [
            evaluate(critic, all_sides[0][m], q, kept[m]) for qs in all_sides[1:] for m, q in enumerate(qs)
        ]

    for what, call in (
        ("each scenario and model alone, P kept", each_alone),
        ("each divergence and moment once", lambda: evaluate_all(critic, chosen, all_sides)),
    ):
        ours = call()
        line(what, n, took, seconds(call, 2), apart(theirs, ours))


def part_single(quick: bool) -> None:
    head("one scenario, one model")
    for n in (300,) if quick else (1000, 5000):
        one_scenario(n)


def one_scenario(n: int) -> None:
    critic = some_critic()
    net = Textbook.of(critic)
    p, q = (Side(*(rows(n, 4, side, k) for k in range(4))) for side in range(2))

    def row(what: str, theirs: Callable[[], object], ours: Callable[[], object]) -> None:
        start = now()
        by_book = theirs()
        took = now() - start
        line(what, n, took, seconds(ours), apart(by_book, ours()))

    kept = keep(critic, p)
    row("CLUB", lambda: net.club(q.x, q.response), lambda: critic.estimate(q.x, q.response))
    row("RJSD", lambda: textbook_rjsd(p.image, q.image), lambda: rjsd(p.image, q.image))
    start = now()
    theirs = net.evaluate(p, q)
    took = now() - start
    for what, call in (
        ("all measures, nothing kept", lambda: evaluate(critic, p, q, keep(critic, p))),
        ("all measures, P kept", lambda: evaluate(critic, p, q, kept)),
    ):
        line(what, n, took, seconds(call), apart(theirs, call()))


def peak() -> float:
    """Most memory this process ever held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def pieces(n: int, chunk: int) -> Iterator[tuple[Rows, Rows, NDArray[np.int64]]]:
    for start in range(0, n, chunk):
        size = min(chunk, n - start)
        rng = np.random.default_rng([5, start])
        x, y = (unit(rng.standard_normal((size, D), dtype=np.float32)) for _ in range(2))
        yield x, y, rng.integers(HASH_BLOCKS, size=size)


def part_stream(quick: bool) -> None:
    print(
        "\nA stream of rows, made in chunks (not timed); x.T @ x and x.T @ y: bare fp32 products\n"
        f"{'n':>9s} {'sketch s':>9s} {'x.T@x s':>8s} {'rate':>6s} {'x.T@y s':>8s} {'rate':>6s} "
        f"{'CLUB sums s':>11s} {'µs a row':>9s} {'peak MB':>8s}"
    )
    critic = some_critic()
    for n in (10_000, 50_000) if quick else (10_000, 100_000, 1_000_000):
        stream(critic, n, 1 << 15)


def stream(critic: CLUB, n: int, chunk: int) -> None:
    sketch, sums = Sketch.empty(D), ClubSums.empty(HASH_BLOCKS, D)
    times = np.zeros(4)
    for x, y, blocks in pieces(n, chunk):
        marks = [now()]
        sketch = sketch.merge(Sketch.from_rows(x))
        marks.append(now())
        x.T @ x
        marks.append(now())
        x.T @ y
        marks.append(now())
        sums = sums.merge(critic.sums(x, y, blocks))
        marks.append(now())
        times += np.diff(marks)
    assert sketch.n == n == sums.n.sum()
    ours, square, product, of_club = times
    print(
        f"{n:9d} {ours:9.2f} {square:8.2f} {square / ours:6.0%} {product:8.2f} {product / ours:6.0%} "
        f"{of_club:11.2f} {(ours + of_club) / n * 1e6:9.1f} {peak():8.0f}",
        flush=True,
    )


def part_permutations(quick: bool) -> None:
    print(
        "\n2,000 permutations of a test of 10,000 rows (in all; of P)\n"
        f"{'n_P':>6s} {'n_Q':>6s} {'blocks':>7s} {'sketching s':>11s} {'block Grams s':>13s} "
        f"{'permutations s':>14s} {'whole test s':>12s}"
    )
    for n, m in ((1000, 500),) if quick else ((7500, 2500), (10_000, 3333)):
        permutations(n, m)


def permutations(n: int, m: int) -> None:
    p32, q32 = rows(n, 6, 0), rows(m, 6, 1)
    p, q = p32.astype(np.float64), q32.astype(np.float64)
    block_rows, k_p, k_q = permutation.block_plan(n, m)
    z = np.concatenate([p[: k_p * block_rows], q[: k_q * block_rows]])

    def grams() -> tuple[permutation.BlockGram, ...]:
        return permutation.unpaired_grams(z, block_rows)

    made = grams()

    def permute() -> float:
        labels = permutation.permuted_labels(k_p, k_q, 2000, np.random.default_rng(0))
        return permutation.aggregated_p_value(permutation.unpaired_statistics(made, labels, block_rows))

    sketching = seconds(lambda: (Sketch.from_rows(p32), Sketch.from_rows(q32)))
    whole = seconds(lambda: permutation.unpaired_test(p, q, 2000, np.random.default_rng(0)))
    print(
        f"{n:6d} {m:6d} {k_p + k_q:7d} {sketching:11.3f} {seconds(grams):13.3f} {seconds(permute):14.3f} "
        f"{whole:12.3f}",
        flush=True,
    )


class Look(NamedTuple):
    """A look at the held-out log-likelihood during training."""

    step: int
    seconds: float
    """Of the steps alone."""
    value: float


def log_likelihood(loss: float) -> float:
    return -0.5 * (loss + D * float(np.log(2 * np.pi)))


def plain_loop(x: Rows, y: Rows, test: tuple[torch.Tensor, ...], steps: int) -> list[Look]:
    """DataLoader, nn.Module, AdamW: lr 1e-3, batch 1024, hidden 250 a network."""
    torch.manual_seed(0)
    net = Textbook()
    pairs = TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
    data = DataLoader(pairs, 1024, shuffle=True, drop_last=True)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    looks: list[Look] = []
    step, clock = 0, 0.0
    start = now()
    while step < steps:
        for xb, yb in data:
            optimizer.zero_grad()
            loss = net.loss(xb, yb)
            loss.backward()
            optimizer.step()
            step += 1
            if step % 25 == 0 or step == steps:
                clock += now() - start
                with torch.no_grad():
                    looks.append(Look(step, clock, log_likelihood(float(net.loss(*test)))))
                start = now()
            if step == steps:
                break
    return looks


def related(n: int, seed: int) -> tuple[Rows, Rows]:
    """Pairs of unit rows: y is a noisy nonlinear function of x, both of a slow spectrum."""
    through = np.random.default_rng(7).standard_normal((D, D), dtype=np.float32) / np.float32(np.sqrt(D))
    rng = np.random.default_rng([8, seed])
    spectrum = scales(D).astype(np.float32)
    x = rng.standard_normal((n, D), dtype=np.float32) * spectrum
    noise = rng.standard_normal((n, D), dtype=np.float32) * spectrum
    return unit(x), unit(np.tanh(3 * x @ through) * spectrum + 0.7 * noise)


def part_training(quick: bool) -> None:
    for n in (3000,) if quick else (9000,):
        training(n, 50 if quick else 5000)


def training(n: int, steps: int) -> None:
    x, y = related(n, 0)
    test = tuple(torch.from_numpy(z) for z in related(2000, 1))
    looks = plain_loop(x, y, test, steps)
    start = now()
    critic = CLUB(hidden=HIDDEN, steps=steps).fit(x, y)
    took = now() - start
    with torch.no_grad():
        reached = log_likelihood(float(Textbook.of(critic).loss(*test)))
    last, best = looks[-1], max(looks, key=lambda look: look.value)
    print(f"\nCLUB training, {n} pairs, batch 1024, lr 1e-3, {HIDDEN} hidden units a network")
    print(f"{'log-likelihood (nats a row) of fresh pairs':44s} {'s':>8s} {'':>9s}")
    print(f"{f'plain loop, {steps} steps':44s} {last.seconds:8.1f} {last.value:9.2f}")
    print(f"{f'plain loop at its best look, step {best.step}':44s} {best.seconds:8.1f} {best.value:9.2f}")
    ratio = last.seconds / took
    print(f"{'ours, early stopping (a tenth held out)':44s} {took:8.1f} {reached:9.2f} {ratio:7.1f}x")
    as_good = next((look for look in looks if look.value >= reached), None)
    if as_good is None:
        print("the plain loop never reaches what ours does")
    else:
        ratio = as_good.seconds / took
        what = f"plain loop until it reaches ours, step {as_good.step}"
        print(f"{what:44s} {as_good.seconds:8.1f} {as_good.value:9.2f} {ratio:7.1f}x")
    if not torch.cuda.is_available():
        print("no GPU: not tried")
        return
    CLUB(hidden=HIDDEN, steps=50, device="cuda").fit(x, y)
    start = now()
    CLUB(hidden=HIDDEN, steps=steps, patience=steps, device="cuda").fit(x, y)
    print(f"{steps} steps on {torch.cuda.get_device_name()}: {now() - start:.2f} s")


PARTS: dict[str, Callable[[bool], None]] = {
    "stream": part_stream,
    "scenarios": part_scenarios,
    "single": part_single,
    "permutations": part_permutations,
    "training": part_training,
}
"""The stream first: what it holds at most is then its own."""


def main() -> None:
    parser = options(__doc__, parts=PARTS)
    args = parser.parse_args()
    now.cpu = args.cpu
    print(f"{machine()}; d={D}")
    for name in PARTS:
        if name in args.only:
            PARTS[name](args.quick)


if __name__ == "__main__":
    main()
