"""A worker trains MI critics: one seed (and fold) a shard, all on the same pool of pairs."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from auditor.estimators.registry import make_critic
from auditor.pipeline.executor import ShardResult
from auditor.profiles.training_pairs import Pairs
from auditor.storage.work_units import Shard
from schemas.config import CriticConfig


@dataclass(frozen=True, slots=True)
class SeedItem:
    """This is one critic to train."""

    seed: int
    fold: int | None = None
    """The fold of hash blocks that it must not see; None: it sees every pair."""

    @property
    def key(self) -> str:
        return f"critic-{self.seed}" + ("" if self.fold is None else f"-without-{self.fold}")


def critic_shards(seed: int, count: int, folds: int) -> list[list[Shard[SeedItem]]]:
    """Return a shard for each critic, one list a seed; with `folds` (0: none) one critic a fold."""
    of_seed = [
        [SeedItem(s, k) for k in (range(folds) if folds else (None,))] for s in range(seed, seed + count)
    ]
    return [[Shard(item.key, (item,)) for item in items] for items in of_seed]


@dataclass(frozen=True)
class CriticSettings:
    """A `CriticWorker` is made from these settings, which are pickled to its process."""

    pairs: Path
    folder: Path
    """Where the critics go: `<shard>.safetensors`."""
    config: CriticConfig
    device: str = "cpu"


class CriticWorker:
    """This worker trains critics."""

    def __init__(self, settings: CriticSettings) -> None:
        self._settings = settings
        self._pairs = Pairs.read(settings.pairs)

    def run(self, shard: Shard[SeedItem]) -> ShardResult:
        from auditor.estimators.training import reporting

        began = time.monotonic()
        config = self._settings.config
        for item in shard.items:
            critic = make_critic(config, seed=item.seed, device=self._settings.device)
            pairs = self._pairs if item.fold is None else self._pairs.but(item.fold, config.cross_fit)
            with reporting(partial(write_part, self._settings.folder, shard.name, began)):
                critic.fit(pairs.x, pairs.y, groups=pairs.groups)
            critic.save(self._settings.folder / f"{shard.name}.safetensors")
        part_file(self._settings.folder, shard.name).unlink(missing_ok=True)
        return ShardResult(shard.name, len(shard), 0, time.monotonic() - began)


def part_file(folder: Path, name: str) -> Path:
    """Return the file where a worker notes how much of a critic is trained."""
    return folder / f"{name}.part"


def write_part(folder: Path, name: str, began: float, share: float) -> None:
    """Note what share of a critic is trained, since `began` (of the monotonic clock). A note that cannot be
    written costs no critic."""
    with suppress(OSError):
        part_file(folder, name).write_text(f"{share:.4f} {time.monotonic() - began:.3f}", encoding="ascii")


def read_parts(folder: Path, names: Iterable[str]) -> list[tuple[float, float]]:
    """Return the share and seconds of each critic that is being trained."""
    parts = []
    for name in names:
        with suppress(OSError, ValueError):  # not there, or just being written
            share, seconds = map(float, part_file(folder, name).read_text(encoding="ascii").split())
            parts.append((share, seconds))
    return parts
