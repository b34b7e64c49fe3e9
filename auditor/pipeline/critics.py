"""This step trains the critics of mutual information, one a seed (and fold), on one pool of pairs."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from auditor.pipeline.embed import Embedded
from auditor.pipeline.executor import HOUR, Stage
from auditor.pipeline.progress import Tally, looking
from auditor.pipeline.workers.critics import (
    CriticSettings,
    CriticWorker,
    critic_shards,
    part_file,
    read_parts,
)
from auditor.pipeline.workplace import Workplace
from auditor.profiles.training_pairs import Pair, embed_pairs, pairs_digest
from schemas.config import CriticConfig

STAGE = "train critics"


@dataclass(frozen=True)
class Trained:
    """These critics were trained on one pool of pairs."""

    paths: tuple[tuple[Path, ...], ...]
    """The files of each critic: one, or one a fold."""
    pairs: int


def train(
    workplace: Workplace,
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
            "threads": workplace.shards.threads,
        },
        sort_keys=True,
    )
    folder = workplace.run.critics(identity)
    of_seed = critic_shards(seed, config.seeds, config.cross_fit)
    shards = [shard for shards in of_seed for shard in shards]
    paths = tuple(tuple(folder / f"{shard.name}.safetensors" for shard in shards) for shards in of_seed)
    done = {path.stem for files in paths for path in files if path.exists()}
    if len(done) < len(shards):
        pool = folder / "pairs.npz"
        embed_pairs(pairs, images.open() if images else None, texts.open()).write(pool)
        todo = [shard.name for shard in shards if shard.name not in done]
        for name in todo:  # of a run that was interrupted
            part_file(folder, name).unlink(missing_ok=True)
        look = partial(how_far, folder, todo, time.monotonic())
        with (
            workplace.executor.staff(Stage(STAGE, least_seconds=HOUR)) as staff,
            looking(workplace.progress, look),
        ):
            staff.run(CriticWorker, CriticSettings(pool, folder, config), shards, done=done)
        pool.unlink()
    return Trained(paths, len(pairs))


def how_far(folder: Path, names: Sequence[str], began: float) -> Tally:
    """Return how many of these critics are trained, and how much of those that are being trained."""
    done = sum((folder / f"{name}.safetensors").exists() for name in names)
    parts = read_parts(folder, names)
    pace = sum(share / seconds for share, seconds in parts if seconds > 0)
    under_way = min(sum(share for share, _ in parts), len(names) - done)
    return Tally(STAGE, len(names), done, 0, time.monotonic() - began, under_way, pace)
