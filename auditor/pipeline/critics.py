"""The step that trains the critics of mutual information, one a seed (and fold), on one pool of pairs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from auditor.pipeline.embed import Embedded
from auditor.pipeline.executor import HOUR, Stage
from auditor.pipeline.workers.critics import CriticSettings, CriticWorker, critic_shards
from auditor.pipeline.workplace import Workplace
from auditor.profiles.training_pairs import Pair, embed_pairs, pairs_digest
from schemas.config import CriticConfig


@dataclass(frozen=True)
class Trained:
    """Critics of one pool of pairs."""

    paths: tuple[tuple[Path, ...], ...]
    """The files of each critic: one, or one a fold."""
    pairs: int


def train(
    at: Workplace,
    config: CriticConfig,
    pairs: Sequence[Pair],
    images: Embedded | None,
    texts: Embedded,
    seed: int,
) -> Trained:
    """Train the critics that are missing, one a seed (and fold), all on one pool of pairs."""
    encoders = [images.identity if images else None, texts.identity]
    identity = json.dumps(
        {
            "critic": config.model_dump(exclude={"seeds", "max_rows"}),
            "pairs": pairs_digest(pairs),
            "encoders": encoders,
            "threads": at.shards.threads,
        },
        sort_keys=True,
    )
    folder = at.run.critics(identity)
    of_seed = critic_shards(seed, config.seeds, config.cross_fit)
    shards = [shard for shards in of_seed for shard in shards]
    paths = tuple(tuple(folder / f"{shard.name}.safetensors" for shard in shards) for shards in of_seed)
    done = {path.stem for of in paths for path in of if path.exists()}
    if len(done) < len(shards):
        pool = folder / "pairs.npz"
        embed_pairs(pairs, images.open() if images else None, texts.open()).write(pool)
        with at.executor.staff(Stage("train critics", least_seconds=HOUR)) as staff:
            staff.run(CriticWorker, CriticSettings(pool, folder, config), shards, done=done)
        pool.unlink()
    return Trained(paths, len(pairs))
