"""vLLM's engine against transformers: the same models, prompts, answers and log-probabilities."""

from __future__ import annotations

import copy
import io
import json
import math
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from auditor.errors import AuditError, BadInput
from auditor.generators import make_generator
from auditor.generators.sampling import Sampling
from auditor.interface import Generator
from auditor.lab.world import lab_items
from schemas.record import Turn
from schemas.response import Answer, Prompt

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(find_spec("vllm") is None, reason="vllm is not installed (make setup-vllm)"),
]
LAB = "lab:mllm-strong"
PROMPTS = [
    Prompt((item.image,), item.query)
    for pool, language in [("id", "en"), ("natural", "en"), ("id", "de")]
    for item in lab_items(16, seed=5, language=language, pool=pool)
]


def make(generator: str, model: str, **settings: Any) -> Generator:
    return make_generator({"generator": generator, "model": model, "max_new_tokens": 24, **settings})


def drawn(generator: Generator, **sampling: Any) -> Any:
    """The same engine, sampled otherwise: starting another takes a minute."""
    other: Any = copy.copy(generator)
    other._sampling = Sampling(**{"max_new_tokens": 24, **sampling})
    return other


@pytest.fixture(scope="module")
def vllm_lab() -> Generator:
    return make("vllm", LAB)


@pytest.fixture(scope="module")
def greedy(vllm_lab: Generator) -> list[Answer]:
    return vllm_lab.generate(PROMPTS, seed=0)


def test_greedy_answers_are_those_of_transformers(greedy: list[Answer]) -> None:
    expected = make("transformers", LAB, batch=16).generate(PROMPTS, seed=0)
    for one, other in zip(greedy, expected, strict=True):
        assert one.error is None
        assert (one.texts, one.tokens) == (other.texts, other.tokens)
        assert math.isclose(one.logprobs[0], other.logprobs[0], abs_tol=1e-3)
    assert len({answer.texts for answer in greedy}) > 20
