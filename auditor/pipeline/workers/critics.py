"""Training the MI critic as Ray work: one seed (and fold) a shard, all on the same pool of pairs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from auditor.estimators.registry import make_critic
from auditor.pipeline.executor import ShardResult
from auditor.profiles.training_pairs import Pairs
from auditor.storage.work_units import Shard
from schemas.config import CriticConfig


@dataclass(frozen=True, slots=True)
class SeedItem:
    """One critic to train."""

    seed: int
    fold: int | None = None
    """The fold of hash blocks that it must not see; None: it sees every pair."""

    @property
    def key(self) -> str:
        return f"critic-{self.seed}" + ("" if self.fold is None else f"-without-{self.fold}")


def critic_shards(seed: int, count: int, folds: int) -> list[list[Shard[SeedItem]]]:
    """A shard for each critic, one list a seed; with `folds` (0: none) one critic a fold."""
    of_seed = [
        [SeedItem(s, k) for k in (range(folds) if folds else (None,))] for s in range(seed, seed + count)
    ]
    return [[Shard(item.key, (item,)) for item in items] for items in of_seed]


@dataclass(frozen=True)
class CriticSettings:
    """What a `CriticWorker` is made from; pickled to its process."""

    pairs: Path
    folder: Path
    """Where the critics go: `<shard>.safetensors`."""
    config: CriticConfig
    device: str = "cpu"


class CriticWorker:
    """A worker of the pool."""

    def __init__(self, settings: CriticSettings) -> None:
        self._settings = settings
        self._pairs = Pairs.read(settings.pairs)

    def run(self, shard: Shard[SeedItem]) -> ShardResult:
        began = time.monotonic()
        config = self._settings.config
        for item in shard.items:
            critic = make_critic(config, seed=item.seed, device=self._settings.device)
            pairs = self._pairs if item.fold is None else self._pairs.but(item.fold, config.cross_fit)
            critic.fit(pairs.x, pairs.y, groups=pairs.groups)
            critic.save(self._settings.folder / f"{shard.name}.safetensors")
        return ShardResult(shard.name, len(shard), 0, time.monotonic() - began)
