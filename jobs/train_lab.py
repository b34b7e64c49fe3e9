"""Make the lab's weights from nothing: ``python -m jobs.train_lab --out DIR``.

Stages, in order: ``vision`` (the eyes of the rest), ``clip``, ``text``, ``strong``, ``weak``; ``card``
measures the two MLLMs through ordinary transformers code and writes the model card.  Every stage is seeded,
saves as it goes and resumes where it stopped; work files (checkpoints, cached features, about 750 MB) go to
``DIR/.work`` unless ``--work`` says otherwise.  The stages' times and what they reached are in the model
card, ``auditor/lab/weights/README.md``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console

from auditor.lab.training.card import write_card
from auditor.lab.training.clip import train_clip
from auditor.lab.training.mllm import STRONG, WEAK, Recipe, train_mllm
from auditor.lab.training.text import train_text
from auditor.lab.training.vision import train_vision


class Stage(StrEnum):
    """A stage is what to train."""

    vision = "vision"
    clip = "clip"
    text = "text"
    strong = "strong"
    weak = "weak"
    card = "card"
    all = "all"


def main(
    out: Annotated[Path, typer.Option(help="Where the folders of weights go.")],
    stage: Annotated[Stage, typer.Option(help="What to train; all runs every stage in order.")] = Stage.all,
    seed: Annotated[int, typer.Option(help="Seed of scenes, questions and initial weights.")] = 0,
    work: Annotated[Path | None, typer.Option(help="Checkpoints and caches (default: OUT/.work).")] = None,
    steps: Annotated[
        int | None, typer.Option(help="Steps of each stage (default: each stage's own).")
    ] = None,
    scenes: Annotated[
        int | None, typer.Option(help="Scenes of each stage (default: each stage's own).")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Stop each stage after about so many minutes; run again to resume.")
    ] = None,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 2,
) -> None:
    """Train the lab's models."""
    torch.set_num_threads(threads)
    console = Console()
    place = work or out / ".work"
    out.mkdir(parents=True, exist_ok=True)
    limit = None if minutes is None else minutes * 60.0

    def log(line: str) -> None:
        console.print(line, highlight=False)

    changed = {k: v for k, v in (("steps", steps), ("scenes", scenes)) if v is not None}

    def mllm(recipe: Recipe) -> None:
        if steps is not None:
            recipe = dataclasses.replace(recipe, steps=steps, polish=0)
        if scenes is not None:
            recipe = dataclasses.replace(recipe, scenes=scenes)
        train_mllm(recipe, place, out, seed=seed, limit=limit, log=log)

    pool = {"pool": scenes} if scenes is not None else {}
    count = {"steps": steps} if steps is not None else {}
    jobs: dict[Stage, Callable[[], object]] = {
        Stage.vision: lambda: train_vision(place, seed=seed, limit=limit, log=log, **changed),
        Stage.clip: lambda: train_clip(place, out, seed=seed, limit=limit, log=log, **changed),
        Stage.text: lambda: train_text(place, out, seed=seed, limit=limit, log=log, **count, **pool),
        Stage.strong: lambda: mllm(STRONG),
        Stage.weak: lambda: mllm(WEAK),
        Stage.card: lambda: write_card(out, place, log=log),
    }
    for name, job in jobs.items():
        if stage in (name, Stage.all):
            job()


if __name__ == "__main__":
    typer.run(main)
