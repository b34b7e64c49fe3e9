"""A worker holds one model and answers one shard of prompts after another."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from auditor.encoders.isolation import BLANK_TEXT, blank_png, failure_of
from auditor.errors import RowError
from auditor.pipeline.executor import ShardResult
from auditor.pipeline.workers.embeddings import check_identity, condemned_of, folder_of
from auditor.protocols import Generator
from auditor.records.media import MediaPolicy, load_image
from auditor.sketch.blocks import hash64
from auditor.storage.response_store import response_table
from auditor.storage.row_cache import PARQUET, Failure
from auditor.storage.work_units import PromptItem, Shard
from schemas.response import Answer, Prompt


def generator(settings: dict[str, Any], device: str, threads: int) -> Generator:
    """Make a generator from its settings. It is imported here, so that a driver needs no torch to name
    one."""
    from auditor.generators import make_generator

    return make_generator(settings, device=device, threads=threads)


@dataclass(frozen=True)
class GenerateSettings:
    """A `GenerateWorker` is made from these settings, which are pickled to its process."""

    make: Callable[[], Generator]
    seed: int = 0
    folder: Path | None = None
    identity: str | None = None
    """What the generator must be (see `EmbedSettings`)."""
    media: MediaPolicy = field(default_factory=MediaPolicy)


class GenerateWorker:
    """This worker answers prompts."""

    def __init__(self, settings: GenerateSettings) -> None:
        self._settings = settings
        self._generator = settings.make()
        check_identity(self.identity, settings.identity)

    @property
    def identity(self) -> str:
        return self._generator.identity

    def run(self, shard: Shard[PromptItem]) -> ShardResult:
        began = time.monotonic()
        table = response_table([item.key for item in shard.items], self._answers(shard))
        PARQUET.write(folder_of(self._settings.folder), shard.name, table)
        errors = len(table) - table["error"].null_count
        return ShardResult(shard.name, len(table), errors, time.monotonic() - began)

    def probe(self, shard: Shard[PromptItem]) -> None:
        self._answers(shard)

    def _answers(self, shard: Shard[PromptItem]) -> list[Answer]:
        """Raises RuntimeError where the model answers nothing at all: it is dead, no prompt is to blame."""
        condemned = condemned_of(shard)
        prompts = [condemned.get(item.key) or self._prompt(item) for item in shard.items]
        # A prompt whose image cannot be read leaves a blank in its place: its neighbours keep their bits.
        pairs = list(zip(shard.items, prompts, strict=True))
        requests = [_blank(item) if isinstance(p, Failure) else p for item, p in pairs]
        answers = self._generator.generate(requests, shard_seed(self._settings.seed, shard.name))
        if all(answer.error is not None for answer in answers):
            (blank,) = self._generator.generate([Prompt((), BLANK_TEXT)], 0)
            if blank.error is not None:
                raise RuntimeError(f"the model fails whatever it is asked: {blank.error}")
        return [
            Answer(error=str(prompt)) if isinstance(prompt, Failure) else answer
            for prompt, answer in zip(prompts, answers, strict=True)
        ]

    def _prompt(self, item: PromptItem) -> Prompt | Failure:
        try:
            images = tuple(load_image(image, self._settings.media) for image in item.images)
        except RowError as error:
            return failure_of(error)
        return Prompt(images, item.text, item.history)


def shard_seed(seed: int, name: str) -> int:
    """Return the seed of a shard's sampling (63 bits): its own, and the same whoever makes it."""
    return hash64(f"{seed}:{name}", b"generate") >> 1


def _blank(item: PromptItem) -> Prompt:
    return Prompt((blank_png(),) * len(item.images), BLANK_TEXT)
