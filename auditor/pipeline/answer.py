"""This step puts prompts to the models: each is asked once for what it has not answered yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from auditor.generators.rates import longest_seconds, prompt_tokens
from auditor.pipeline.executor import Stage
from auditor.pipeline.workers.answers import GenerateSettings, GenerateWorker, generator
from auditor.pipeline.workplace import Workplace
from auditor.storage.response_store import ResponseStore
from auditor.storage.run_dir import work_identity
from auditor.storage.work_units import Cut, PromptItem, Shard
from schemas.config import ModelConfig, VllmConfig


@dataclass(frozen=True)
class Answered:
    """This is where a model's answers lie, with the model's identity."""

    identity: str
    folder: Path

    def open(self) -> ResponseStore:
        return ResponseStore(self.folder)


def answer(
    workplace: Workplace, model: ModelConfig, items: Callable[[], Iterable[PromptItem]], seed: int, unit: int
) -> Answered:
    """Put every prompt to the model that it has not answered yet, `unit` prompts a shard. `items` is called
    more than once."""
    if model.endpoint is not None:
        # One worker asks, which has many requests under way and keeps the rates; their bounds are their own.
        stage = Stage(f"answers of {model.name}", replicas=1, hangs=False)
    else:
        workplace.executor.check_weights(model.path or model.name)
        stage = Stage(f"answers of {model.name}", model.gpus_each, model.replicas)
    with workplace.executor.staff(stage) as staff:
        settings: dict[str, Any] = {
            **model.options,
            "generator": model.generator,
            "model": model.path or model.name,
            "temperature": model.temperature,
            "samples": model.samples,
            "max_new_tokens": model.max_new_tokens,
            "batch": model.batch,
        }
        if model.endpoint is not None:
            settings["endpoint"] = model.endpoint.model_dump()
        if model.generator == "vllm":
            settings["vllm"] = engine_settings(model, staff.gpus)
        make = partial(generator, settings, staff.device, workplace.shards.threads)
        identity = staff.identify(GenerateWorker, GenerateSettings(make))
        # A sampled answer depends on the seed and on its shard's name; a greedy one does not.
        sampling = {"seed": seed} if model.temperature > 0 else {}
        work = work_identity(identity, shard=unit, **sampling)
        folder = workplace.run.responses(work)
        store = ResponseStore(folder)
        todo = Cut(items, unit, work, done=store, failed=store.errors())
        sizes = [(len(shard), _longest(model, shard)) for shard in todo]
        staff.run(
            GenerateWorker,
            GenerateSettings(make, seed, folder, identity, workplace.media),
            workplace.executor.within_reach(workplace.media, todo),
            total=sum(rows for rows, _ in sizes),
            least_seconds=max((seconds for _, seconds in sizes), default=0.0),
        )
    return Answered(identity, folder)


def engine_settings(model: ModelConfig, gpus: float) -> dict[str, Any]:
    """Return the settings of vLLM's engine for a replica with `gpus`. Replicas that share a GPU share its
    memory."""
    engine = model.vllm or VllmConfig()
    share = memory_utilization(gpus, engine.gpu_memory_utilization) if gpus else None
    return engine.model_dump() | ({"gpu_memory_utilization": share} if share else {})


def memory_utilization(gpus: float, whole: float) -> float:
    """Return vLLM's `gpu_memory_utilization` (a share of the whole GPU's memory) of a replica with `gpus` of
    a GPU, where one that has the GPU for itself takes `whole` of it. Raises ValueError for no share at
    all."""
    if gpus <= 0 or not 0 < whole <= 1:
        raise ValueError(f"no share of memory for {gpus:g} GPUs at a utilization of {whole:g}")
    return whole * min(gpus, 1.0)


def _longest(model: ModelConfig, shard: Shard[PromptItem]) -> float:
    """Return the seconds that a shard may take by the model's own bounds, 0 where it has none."""
    if model.endpoint is None:
        return 0.0
    tokens = [
        prompt_tokens(item.text, item.history, len(item.images), model.endpoint.tokens_per_image)
        + model.max_new_tokens
        for item in shard.items
    ]
    return longest_seconds(model.endpoint, tokens, model.samples)
