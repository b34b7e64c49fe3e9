"""What a run would do: rows, prompts and contents, without doing any of it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from rich.table import Table

from auditor.rows import image_items, input_texts, prompt
from auditor.rundir import RunDir
from auditor.scenarios import gather, sources
from schemas.config import AuditConfig


def audit_plan(config: AuditConfig) -> Table:
    """Records are read and checked (into a temporary folder that goes again); nothing else is done."""
    table = Table(title="what would be done", title_justify="left")
    for column in (
        "scenario",
        "family",
        "rows",
        "set aside",
        "prompts a model",
        "images",
        "queries and references",
    ):
        table.add_column(column, justify="left" if column in ("scenario", "family") else "right")
    prompts: set[str] = set()
    images: set[str] = set()
    texts: set[str] = set()
    with tempfile.TemporaryDirectory() as folder:
        run = RunDir(Path(folder))
        run.open()
        for source in sources(config, run):
            scenario = gather(source, run, config.data)
            before = len(prompts), len(images), len(texts)
            for batch in scenario.batches():
                prompts.update(prompt(record).key for record in batch)
                images.update(item.key for item in image_items(batch))
                texts.update(item.key for item in input_texts(batch))
            new = (len(prompts) - before[0], len(images) - before[1], len(texts) - before[2])
            aside = len(scenario.quarantine())
            table.add_row(
                scenario.name, scenario.family, f"{scenario.n:,}", f"{aside:,}", *(f"{v:,}" for v in new)
            )
    critics = config.critic.seeds * (config.critic.cross_fit or 1)
    generated = sum(m.generator is not None for m in config.models)
    table.caption = (
        f"new contents a scenario. In all: {len(prompts):,} prompts to each of {generated} generating models "
        f"({len(config.models) - generated} recorded), {len(images):,} images and {len(texts):,} texts to "
        f"embed, besides the answers; {critics} critics of {config.critic.steps:,} steps"
    )
    table.caption_justify = "left"
    return table
