"""The step from embedded rows to their profiles, where every embedding is kept."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from auditor.estimators.crossfit import FoldedClub
from auditor.pipeline.critics import Plans
from auditor.pipeline.embed import Embedded
from auditor.pipeline.executor import Stage
from auditor.pipeline.workers.sketches import SketchSettings, SketchWorker
from auditor.pipeline.workplace import Workplace
from auditor.profiles.sketching import SketchSet, merged, read_sketches, row_items
from auditor.storage.run_dir import digest
from auditor.storage.work_units import cut


def sketch_files(
    at: Workplace,
    plans: Plans,
    images: Embedded | None,
    texts: Embedded,
    critics: Sequence[Sequence[Path]],
    sample: int,
) -> dict[tuple[str, str], tuple[Path, ...]]:
    """Sketch the rows of every plan that has any, through one pool; each plan's files, in their order."""
    identity = json.dumps(
        {
            "encoders": [images.identity if images else None, texts.identity],
            "critics": [FoldedClub.load(paths).digest for paths in critics],
            "sample": sample,
            "shard": at.shards.sketch,
            "threads": at.shards.threads,
        },
        sort_keys=True,
    )
    folder = at.run.sketches(identity)
    cuts = {key: cut(row_items(rows), at.shards.sketch, identity) for key, rows in plans.items()}
    every = list({shard.name: shard for shards in cuts.values() for shard in shards}.values())
    settings = SketchSettings(
        folder, texts.folder, images.folder if images else None, tuple(map(tuple, critics)), sample
    )
    with at.executor.staff(Stage("sketch rows")) as staff:
        staff.run(SketchWorker, settings, every, done={path.stem for path in folder.glob("*.npz")})
    return {
        key: tuple(folder / f"{shard.name}.npz" for shard in shards) for key, shards in cuts.items() if shards
    }


def sketches(files: Iterable[Path]) -> SketchSet:
    """One plan's files, merged in their order."""
    return merged(map(read_sketches, files))


def plans_digest(plans: Plans) -> str:
    """Digest of every row of every plan: what data the numbers are of."""
    names = {f"{s}\0{m}": [item.key for item in row_items(rows)] for (s, m), rows in plans.items()}
    return digest(json.dumps(names, sort_keys=True))
