"""A sweep shows the sensitivity to the critic's hyperparameters, one setting at a time (Table 6 and Figure 7
of the paper).

Every setting is moved alone, the others staying at their defaults, on one pool of pairs and one split of its
base ids: what is reported is of rows (and of base ids) that no training saw. The paper chose by the variance
over the last ten iterations; it stands here too, of the held-out MI, where training runs to its last step. A
small one says that training has come to rest, not that the estimate is right: beside it stand the held-out
log-likelihood, which is what training maximises and early stopping watches, and the spread over the seeds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from math import log, pi
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auditor.errors import BadInput
from auditor.estimators.registry import CRITICS, make_critic
from auditor.estimators.training import CHECK_EVERY, Stepwise, pairs
from auditor.protocols import ConditionalGaussian
from auditor.sketch import Floats
from schemas.config import CriticConfig

Setting = Literal["lr", "batch", "hidden"]
Grid = Mapping[Setting, Sequence[float]]

GRID: Grid = {
    "lr": (0.005, 0.001, 0.0005, 0.0001),
    "batch": (64, 128, 256, 512, 1024, 2048),
    "hidden": (250, 500, 1000, 2000),
}
"""Table 6."""
HOLDOUT = 0.2
"""Share of the base ids that no training sees."""
PROBE_STEPS = 4
_CHUNK = 4096


@dataclass(frozen=True, eq=False)
class Pool:
    """A `Pool` holds the pairs to sweep over."""

    x: Floats
    """(n, d_x) queries"""
    y: Floats
    """(n, d_y) answers"""
    groups: NDArray[np.int64]
    """(n,) base ids, as labels"""
    is_model: NDArray[np.bool_] | None = None
    """(n,) whether y is a model's answer (else a reference); None where that is not known: no EMI then"""

    def __post_init__(self) -> None:
        pairs(self.x, self.y)
        for name, column in (("groups", self.groups), ("is_model", self.is_model)):
            if column is not None and column.shape != (len(self.x),):
                raise ValueError(f"{name} must be {len(self.x)} labels, not of shape {column.shape}")

    def __len__(self) -> int:
        return len(self.x)

    def rows(self, which: NDArray[np.bool_]) -> Pool:
        """Return the pool of the rows that a mask (n,) selects."""
        model = None if self.is_model is None else self.is_model[which]
        return Pool(self.x[which], self.y[which], self.groups[which], model)

    def split(self, share: float, seed: int) -> tuple[Pool, Pool]:
        """Return the pool to train on and the one held out: `share` of the groups, at least one on either
        side."""
        names, group = np.unique(self.groups, return_inverse=True)
        count = round(share * len(names))
        if not 1 <= count < len(names):
            raise ValueError(f"{share:.0%} of {len(names)} base ids cannot be held out")
        order = np.random.default_rng(seed).permutation(len(names))
        out = np.isin(group, order[:count])
        return self.rows(~out), self.rows(out)

    @property
    def digest(self) -> str:
        """Return a digest of every number in the pool."""
        state = blake2b(digest_size=16)
        for a in (self.x, self.y, self.groups, self.is_model):
            if a is not None:
                state.update(f"{a.dtype}{a.shape}".encode())
                state.update(np.ascontiguousarray(a).tobytes())
        return state.hexdigest()


@dataclass(frozen=True)
class Trial:
    """A `Trial` is one training: all settings but one are the defaults."""

    setting: Setting | Literal["default"]
    value: float
    config: CriticConfig
    seed: int

    @property
    def key(self) -> str:
        """Return the trial's name among the trials of one set of defaults."""
        moved = "default" if self.setting == "default" else f"{self.setting}-{self.value:g}"
        return f"{moved}-seed-{self.seed}"


@dataclass(frozen=True)
class SweepRow:
    """A `SweepRow` is the result of one training. Estimates are in nats, of held-out rows."""

    key: str
    setting: str
    value: float
    seed: int
    log_likelihood: float | None
    """Mean log q(y|x) a held-out row; None for estimators without a likelihood."""
    mi: float
    """MI of answers and references together."""
    emi: float | None
    mi_trained: float
    """MI of the training rows: what it exceeds `mi` by is what the critic knows by heart."""
    last_variance: float | None
    """Variance (nats²) of `mi` over the last LAST_STEPS steps; None with early stopping, where the weights
    kept are not of the last steps."""
    n_trained: int
    n: int
    seconds: float = field(compare=False)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Budget:
    """A `Budget` says what a sweep will take, before it starts."""

    trainings: int
    done: int
    """How many of these are trained already and kept."""
    steps: int
    """Steps of the trainings to do, at most: early stopping may end a training sooner."""
    seconds: float
    """Predicted from some timed steps of every shape of network, with as many threads."""
    pairs: int

    def __str__(self) -> str:
        minutes, seconds = divmod(round(self.seconds), 60)
        hours, minutes = divmod(minutes, 60)
        took = (
            f"{hours} h {minutes} min"
            if hours
            else f"{minutes} min {seconds} s"
            if minutes
            else f"{seconds} s"
        )
        kept = f" ({self.done} of them done already)" if self.done else ""
        return (
            f"{self.trainings} trainings{kept} on {self.pairs:,} pairs, at most {self.steps:,} steps, "
            f"about {took}"
        )


@dataclass(frozen=True)
class Summary:
    """A `Summary` is one line of the table: a value of a setting, over its seeds."""

    setting: str
    value: float
    default: bool
    seeds: int
    log_likelihood: float | None
    mi: float
    mi_spread: float
    """Standard deviation over the seeds; 0 where there is one."""
    emi: float | None
    emi_spread: float | None
    mi_trained: float
    last_variance: float | None
    """Mean over the seeds."""
    seconds: float
    """Seconds of one training."""


def trials(defaults: CriticConfig, grid: Grid = GRID, *, seeds: int = 1, seed: int = 0) -> list[Trial]:
    """Return the defaults first, then every other value of every setting, each with `seeds` seeds from `seed`
    on.

    ValueError for a value that the setting cannot have; BadInput where the estimator has no such settings.
    """
    untrained(defaults, seed)
    todo = [Trial("default", 0.0, defaults, s) for s in range(seed, seed + seeds)]
    for setting, values in grid.items():
        for value in dict.fromkeys(values):
            if value != getattr(defaults, setting):
                moved = CriticConfig.model_validate(defaults.model_dump() | {setting: value})
                todo += [Trial(setting, float(value), moved, s) for s in range(seed, seed + seeds)]
    return todo


def untrained(config: CriticConfig, seed: int) -> Stepwise:
    """Make an untrained critic of a config.

    Raises:
        BadInput: an unknown estimator, a setting that it does not read, or one that takes no steps.
    """
    critic = make_critic(config, seed=seed)
    if "steps" not in CRITICS.find(config.estimator).reads:
        raise BadInput(
            f"critic.estimator: {config.estimator} is not trained in steps, so nothing can be swept"
        )
    return cast(Stepwise, critic)


def budget(
    pool: Pool, todo: Sequence[Trial], *, done: int = 0, holdout: float = HOLDOUT, seed: int = 0
) -> Budget:
    """Count what is to do, and time a few steps of each shape (hidden, batch): seconds, not minutes."""
    trained, _ = pool.split(holdout, seed)
    cost: dict[tuple[int, int], tuple[float, float]] = {}
    for trial in todo:
        shape = (trial.config.hidden, trial.config.batch)
        if shape not in cost:
            if not cost:
                _timed(trained, trial, 1)  # importing and waking torch is no part of a training
            once = _timed(trained, trial, 1)
            longer = _timed(trained, trial, 1 + PROBE_STEPS)
            cost[shape] = once, max(longer - once, 1e-6) / PROBE_STEPS
    seconds = 0.0
    for trial in todo:
        once, step = cost[trial.config.hidden, trial.config.batch]
        # One step and the first look at the held-out loss are in `once`, which also sets everything up.
        seconds += step * trial.config.steps + once * (1 + trial.config.steps / CHECK_EVERY)
    return Budget(len(todo) + done, done, sum(t.config.steps for t in todo), seconds, len(pool))


def _timed(pool: Pool, trial: Trial, steps: int) -> float:
    config = trial.config.model_copy(update={"steps": steps})
    began = time.perf_counter()
    untrained(config, trial.seed).fit(pool.x, pool.y, groups=pool.groups)
    return time.perf_counter() - began


def run_trial(pool: Pool, trial: Trial, *, holdout: float = HOLDOUT, seed: int = 0) -> SweepRow:
    """Train on the pool without its held-out groups, and evaluate on these. `seed` is the split's: the same
    for all trials of a sweep. Equal but for `seconds` whenever it is run, on a fixed number of threads."""
    trained, held_out = pool.split(holdout, seed)
    began = time.perf_counter()
    last: list[float] = []
    critic = untrained(trial.config, trial.seed).fit(
        trained.x,
        trained.y,
        groups=trained.groups,
        watch=lambda now: last.append(now.sums(held_out.x, held_out.y).value()),
    )
    seconds = time.perf_counter() - began
    emi: float | None = None
    model = held_out.is_model
    if model is not None and model.any() and not model.all():
        answers, references = held_out.rows(model), held_out.rows(~model)
        emi = critic.sums(answers.x, answers.y).value() - critic.sums(references.x, references.y).value()
    return SweepRow(
        trial.key,
        trial.setting,
        trial.value,
        trial.seed,
        log_likelihood(critic, held_out.x, held_out.y) if isinstance(critic, ConditionalGaussian) else None,
        critic.sums(held_out.x, held_out.y).value(),
        emi,
        critic.sums(trained.x, trained.y).value(),
        float(np.var(last, ddof=1)) if len(last) > 1 else None,
        len(trained),
        len(held_out),
        seconds,
    )


def sweep(
    pool: Pool,
    todo: Sequence[Trial],
    *,
    holdout: float = HOLDOUT,
    seed: int = 0,
    known: Mapping[str, SweepRow] | None = None,
    progress: Callable[[int, int, SweepRow], None] | None = None,
) -> list[SweepRow]:
    """Run all trials, in their order. `known`: key -> a row that is not made again. `progress` is called
    after each new row with the number of rows done, the number of trials, and the row (which it may
    store)."""
    rows: dict[str, SweepRow] = dict(known or {})
    count = sum(trial.key in rows for trial in todo)
    for trial in todo:
        if trial.key not in rows:
            rows[trial.key] = run_trial(pool, trial, holdout=holdout, seed=seed)
            count += 1
            if progress is not None:
                progress(count, len(todo), rows[trial.key])
    return [rows[trial.key] for trial in todo]


def summarise(rows: Sequence[SweepRow], defaults: CriticConfig, grid: Grid = GRID) -> list[Summary]:
    """Return a line for each value of each setting, in order, the default among them. ValueError where a
    value has no row."""
    summaries = []
    for setting, values in grid.items():
        own = float(getattr(defaults, setting))
        for value in sorted({float(v) for v in values} | {own}):
            trainings = [
                row
                for row in rows
                if (
                    row.setting == "default" if value == own else (row.setting, row.value) == (setting, value)
                )
            ]
            if not trainings:
                raise ValueError(f"no training of {setting} = {value:g}")
            likelihoods = [row.log_likelihood for row in trainings if row.log_likelihood is not None]
            emis = [row.emi for row in trainings if row.emi is not None]
            variances = [row.last_variance for row in trainings if row.last_variance is not None]
            summaries.append(
                Summary(
                    setting,
                    value,
                    value == own,
                    len(trainings),
                    float(np.mean(likelihoods)) if likelihoods else None,
                    float(np.mean([row.mi for row in trainings])),
                    _spread([row.mi for row in trainings]),
                    float(np.mean(emis)) if emis else None,
                    _spread(emis) if emis else None,
                    float(np.mean([row.mi_trained for row in trainings])),
                    float(np.mean(variances)) if variances else None,
                    float(np.mean([row.seconds for row in trainings])),
                )
            )
    return summaries


def log_likelihood(critic: ConditionalGaussian, x: ArrayLike, y: ArrayLike) -> float:
    """Return the mean log q(y|x) of pairs x (n, d_x), y (n, d_y) under a Gaussian critic, nats a row. O(n d
    hidden)."""
    xs, ys = pairs(x, y)
    total = 0.0
    for start in range(0, len(xs), _CHUNK):
        part = slice(start, start + _CHUNK)
        mu, raw = critic.moments(xs[part])
        logvar = raw.astype(np.float64)
        total -= 0.5 * float((np.square(ys[part] - mu) * np.exp(-logvar) + logvar + log(2 * pi)).sum())
    return total / len(xs)


def _spread(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
