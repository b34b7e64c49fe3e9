"""This module is the contract of a critic."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from auditor.estimators.crossfit import CrossFitted
from auditor.estimators.registry import CRITICS, load_critic, read_sums
from auditor.protocols import Array, Critic, Sums
from auditor.testing.contracts import require

_ROWS, _D_X, _D_Y, _BLOCKS = 240, 5, 3, 12


def check_critic(make: Callable[[int], Critic]) -> None:
    """Check that critics of `make` can be used in an audit: registered (`@critic`); trained to the same bits
    in any thread, without a global generator; saved and loaded unchanged; their sums merge in any order, come
    back from their arrays, and tell pairs that depend on one another from pairs that do not.

    `make`: a seed -> an untrained critic, with settings that train in seconds on 240 pairs.

    Raises:
        AssertionError: a contract is broken; the message says which.
    """
    rng = np.random.default_rng(0)
    x = rng.normal(size=(_ROWS, _D_X)).astype(np.float32)
    y = (x[:, :_D_Y] + 0.5 * rng.normal(size=(_ROWS, _D_Y))).astype(np.float32)
    groups = np.arange(_ROWS) // 2
    blocks = groups % _BLOCKS
    _check_untrained(make(0), x, y)
    critic = make(0)
    state = json.dumps(_global_state())
    require(critic.fit(x, y, groups=groups) is critic, "`fit` returns the critic itself")
    require(
        json.dumps(_global_state()) == state,
        "training draws from numpy's or torch's global generator, or seeds it: use one of your own",
    )
    require(
        critic.kind in CRITICS, f"the kind {critic.kind!r} is not registered: put @critic above the class"
    )
    _check_training(make, critic, x, y, groups)
    _check_sums(critic, x, y, blocks)
    _check_file(critic, x, y, blocks)
    value = critic.sums(x, y).value()
    apart = critic.sums(x, np.roll(y, _ROWS // 2, axis=0)).value()
    require(value > apart, f"pairs that depend have {value:.3g} nats, the same rows paired anew {apart:.3g}")


def _check_untrained(critic: Critic, x: Array, y: Array) -> None:
    for what, call in (
        ("`sums` before `fit`", lambda: critic.sums(x, y)),
        ("`fit` on one pair", lambda: critic.fit(x[:1], y[:1])),
        ("`fit` on x and y of different lengths", lambda: critic.fit(x, y[:-1])),
    ):
        try:
            call()
        except ValueError:
            continue
        raise AssertionError(f"{what} must raise ValueError")


def _check_training(
    make: Callable[[int], Critic], critic: Critic, x: Array, y: Array, groups: np.ndarray
) -> None:
    require(len(critic.digest) == 64, "`digest` is a SHA-256 in hexadecimal")
    with ThreadPoolExecutor(2) as threads:
        digests = list(threads.map(lambda seed: make(seed).fit(x, y, groups=groups).digest, (0, 1)))
    alone = [make(seed).fit(x, y, groups=groups).digest for seed in (0, 1)]
    require(alone[0] == critic.digest, "two trainings with one seed differ")
    require(
        digests == alone, "trainings at the same time in two threads differ from those one after the other"
    )


def _check_sums(critic: Critic, x: Array, y: Array, blocks: np.ndarray) -> None:
    whole = critic.sums(x, y, blocks, _BLOCKS)
    counts = np.bincount(blocks, minlength=_BLOCKS)
    require(bool(np.array_equal(whole.n, counts)), "`n` of sums counts the rows of each block")
    value = whole.value()
    require(bool(np.isfinite(value)), f"the value of {_ROWS} pairs is {value}")
    _check_close(critic.sums(x, y).value(), value, "the value depends on how rows are cut into blocks")
    _check_close(whole.reweighted(np.ones((1, _BLOCKS))).values()[0], value, "weights of 1 change the value")
    parts = [critic.sums(x[i::3], y[i::3], blocks[i::3], _BLOCKS) for i in range(3)]
    for order in ((0, 1, 2), (2, 1, 0)):
        merged = parts[order[0]].merge(parts[order[1]]).merge(parts[order[2]])
        _check_close(merged.value(), value, "merged sums of the parts differ from the sums of all rows")
        require(bool(np.allclose(merged.n, whole.n)), "merging loses rows")
    few = blocks != 0
    partial = critic.sums(x[few], y[few], blocks[few], _BLOCKS)
    require(bool(np.isnan(partial.values()[0])), "`values` of a block without rows is NaN")
    _check_close(partial.values()[1], whole.values()[1], "`values` of a block depend on other blocks")
    none = critic.sums(x[:0], y[:0], blocks[:0], _BLOCKS)
    _check_close(none.merge(whole).value(), value, "sums of no rows are not neutral")
    try:
        none.value()
    except ValueError:
        return
    raise AssertionError("`value` of no rows must raise ValueError")


def _check_file(critic: Critic, x: Array, y: Array, blocks: np.ndarray) -> None:
    with TemporaryDirectory() as folder:
        first, second = (Path(folder) / f"{name}.safetensors" for name in ("first", "second"))
        critic.save(first)
        critic.save(second)
        require(first.read_bytes() == second.read_bytes(), "one critic saved twice gives two different files")
        back = load_critic(first)
        folded = CrossFitted.load([first, second])
    require(type(back) is type(critic), f"the file of a {critic.kind} critic is read as {back.kind}")
    require(back.digest == critic.digest, "a loaded critic has another digest")
    sums = critic.sums(x, y, blocks, _BLOCKS)
    _check_equal(back.sums(x, y, blocks, _BLOCKS), sums, "a loaded critic's sums differ")
    _check_equal(read_sums(sums.to_arrays()), sums, "sums read back from their arrays differ")
    twice = folded.sums(x, y, blocks, _BLOCKS).value()
    _check_close(twice, sums.value(), "two equal critics, a fold each, differ from one")


def _check_equal(a: Sums, b: Sums, what: str) -> None:
    arrays_a, arrays_b = a.to_arrays(), b.to_arrays()
    require(arrays_a.keys() == arrays_b.keys(), what)
    require(all(np.array_equal(arrays_a[name], arrays_b[name]) for name in arrays_a), what)
    require(all(array.dtype != object for array in arrays_a.values()), "`to_arrays` holds Python objects")


def _check_close(a: float, b: float, what: str) -> None:
    require(abs(a - b) <= 1e-6 * max(1.0, abs(b)), f"{what}: {a:.9g}, not {b:.9g}")


def _global_state() -> list[str]:
    """Return the state of numpy's and torch's global generators."""
    states = [str(part.tolist() if isinstance(part, np.ndarray) else part) for part in np.random.get_state()]
    if find_spec("torch") is not None:
        import torch

        states.append(str(torch.get_rng_state().tolist()))
    return states
