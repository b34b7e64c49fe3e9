"""vLLM in a worker of the pool: killed in the middle and made up for, with the answers of one process."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from ray import cloudpickle

from actors.cluster import PoolSize, connect
from actors.pool import run_shards
from auditor.lab.world import lab_items
from auditor.pipeline.workers.answers import GenerateSettings, GenerateWorker, generator, shard_seed
from auditor.storage.response_store import ResponseStore
from auditor.storage.work_units import cut, prompt_item
from schemas.config import WorkersConfig
from schemas.record import Image
from schemas.response import Answer, Prompt

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(find_spec("vllm") is None, reason="vllm is not installed (make setup-vllm)"),
]
cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import this file
SETTINGS = {
    "generator": "vllm",
    "model": "lab:mllm-strong",
    "max_new_tokens": 24,
    "temperature": 1.0,
    "samples": 2,
    "vllm": {"max_num_seqs": 16},
}


class Dies:
    """vLLM, in a process that is killed once, when its engine is up and one shard has been written."""

    def __init__(self, flag: Path) -> None:
        self._inner, self._flag, self._made = generator(SETTINGS, "cpu", 1), flag, 0

    @property
    def identity(self) -> str:
        return self._inner.identity

    def generate(self, prompts: list[Prompt], seed: int) -> list[Answer]:
        answers = self._inner.generate(prompts, seed)
        self._made += 1
        if self._made == 2 and not self._flag.exists():
            self._flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return answers


def test_a_killed_engine_costs_no_answer(tmp_path: Path) -> None:
    items = []
    for item in lab_items(18, seed=9):
        image = Image(data=item.image, digest=hashlib.sha256(item.image).hexdigest())
        items.append(prompt_item((image,), item.query))
    shards = cut(items, 6, "vllm")
    flag, out = tmp_path / "died", tmp_path / "out"
    out.mkdir()
    settings = GenerateSettings(partial(Dies, flag), seed=3, folder=out)
    with connect(WorkersConfig(cpu=1)):
        tally = run_shards(GenerateWorker, settings, shards, PoolSize(1, 1, 0.0), stage="answers")
    assert flag.exists() and (tally.done, tally.errors) == (18, 0)

    store, here = ResponseStore(out), generator(SETTINGS, "cpu", 1)
    for shard in shards:
        asked = [Prompt((item.images[0].data or b"",), item.text) for item in shard.items]
        expected = here.generate(asked, shard_seed(3, shard.name))
        for one, other in zip(store.answers([item.key for item in shard.items]), expected, strict=True):
            assert one.error is None and (one.texts, one.tokens) == (other.texts, other.tokens)
            assert np.allclose(one.logprobs, other.logprobs, atol=1e-3)
