"""A config can name any critic that is registered here. A new critic is one file, in this folder or in
another package."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeVar, get_args

import numpy as np
from numpy.typing import ArrayLike

from auditor.errors import BadInput
from auditor.estimators.critic_files import kind_of
from auditor.estimators.pair_sums import KEPT_ROWS, PairSums
from auditor.protocols import Critic, Sums
from auditor.registry import Registry, Settings, read_settings
from schemas.config import CriticConfig

Key = Literal["hidden", "activation", "steps", "batch", "lr", "early_stopping"]
"""The keys of the config's `critic` that a critic may read."""
TRAINED: tuple[Key, ...] = ("hidden", "steps", "batch", "lr", "early_stopping")
"""The keys that every critic reads that `training` trains."""

C = TypeVar("C", bound=type[Critic])


class NoOptions(Settings):
    """`NoOptions` is for critics without settings of their own."""


class CriticKind(NamedTuple):
    """A `CriticKind` is what is registered of a critic."""

    critic: type[Critic]
    sums: type[Sums]
    """What its `sums` makes."""
    reads: Sequence[Key]
    """Keys of the config's `critic` that it takes. The others must stay at their defaults: what is set and
    not read is an error."""
    options: type[Settings]
    """Its own settings, the config's `critic.options`."""


CRITICS: Registry[CriticKind] = Registry(
    "critic", "auditor.estimators.critic", "shift_auditor.critics", "auditor.estimators"
)


def critic(
    name: str, *, sums: type[Sums], reads: Sequence[Key] = (), options: type[Settings] = NoOptions
) -> Callable[[C], C]:
    """Register a class as the critic `name` (see `CriticKind`).

    Raises:
        BadInput: the name is taken.
    """

    def register(critic_class: C) -> C:
        critic_class.kind = name
        CRITICS.add(name, CriticKind(critic_class, sums, reads, options), critic_class)
        return critic_class

    return register


def make_critic(config: CriticConfig, *, seed: int, device: str = "cpu") -> Critic:
    """Make the untrained critic of a config.

    Raises:
        BadInput: an unknown estimator or option, or a key that the estimator does not read.
    """
    kind = CRITICS.find(config.estimator, "critic.estimator")
    for key in get_args(Key):
        if key not in kind.reads and getattr(config, key) != CriticConfig.model_fields[key].default:
            raise BadInput(f"critic.{key}: the estimator {config.estimator} does not read it; leave it out")
    options = read_settings(kind.options, config.options, f"critic.options of {config.estimator}")
    return kind.critic.from_config(config, options, seed=seed, device=device)


def describe(estimator: str) -> str:
    """Return what reports call an estimator, and what its sums are of where these are not of all rows."""
    kind = CRITICS.find(estimator, "critic.estimator")
    rows = f" (pairs from at most {KEPT_ROWS:,} rows a scenario)" if issubclass(kind.sums, PairSums) else ""
    return f"{kind.critic.__name__}{rows}"


def load_critic(path: str | os.PathLike[str]) -> Critic:
    """Load a saved critic of any kind.

    Raises:
        ValueError: the file holds none.
        BadInput: it holds one of a kind that is not known here.
    """
    return CRITICS.find(kind_of(path), str(path)).critic.load(path)


def read_sums(arrays: Mapping[str, ArrayLike]) -> Sums:
    """Restore sums of any kind from their arrays (`Sums.to_arrays`).

    Raises:
        ValueError, KeyError: the arrays are not those of sums.
        BadInput: they are of a kind that is not known here.
    """
    kind: Any = np.asarray(arrays["kind"]).item()
    return CRITICS.find(kind, "sums").sums.from_arrays(arrays)
