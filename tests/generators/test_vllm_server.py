"""A real chat model behind vLLM's own OpenAI-compatible server, asked as any endpoint is."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import pytest

from auditor.errors import AuditError
from auditor.generators import make_generator
from auditor.protocols import Generator
from schemas.record import Turn
from schemas.response import Prompt

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(1200)]
QUESTIONS = [
    Prompt(text="What is the capital of France?"),
    Prompt(text="Count from one to five."),
    Prompt(
        text="And of Italy?", history=(Turn("user", "The capital of France?"), Turn("assistant", "Paris."))
    ),
]


def endpoint(server: Any, *, asking: dict[str, Any] | None = None, **sampling: Any) -> Generator:
    section = {
        "url": server.base_url,
        "model": server.model,
        "api_key_env": None,
        "timeout_seconds": 300,
        "total_seconds": 900,
        "extra": {"top_k": -1},
    } | (asking or {})
    return make_generator({"generator": "endpoint", "endpoint": section, "max_new_tokens": 24} | sampling)


def test_it_answers_as_transformers_does(smollm_server: Any) -> None:
    own = {"generator": "transformers", "model": str(smollm_server.directory), "batch": 1}
    expected = make_generator(own | {"max_new_tokens": 24}).generate(QUESTIONS, seed=0)
    served = endpoint(smollm_server)
    for got, answer in zip(served.generate(QUESTIONS, seed=0), expected, strict=True):
        assert got.error is None and got.texts == answer.texts and got.tokens == answer.tokens
        assert got.logprobs[0] == pytest.approx(answer.logprobs[0], abs=1e-2)
    assert "Paris" in expected[0].texts[0]
    said = json.loads(served.identity)
    assert "vllm" in said["engine"] and said["model"] == smollm_server.model


def test_samples_have_log_probabilities_and_repeat_with_their_seed(smollm_server: Any) -> None:
    drawn = endpoint(smollm_server, temperature=1.0, samples=3)
    first, again, other = (drawn.generate(QUESTIONS[:1], seed)[0] for seed in (1, 1, 2))
    assert first.error is None and len(first.texts) == len(first.logprobs) == 3
    assert all(value < 0 for value in first.logprobs)
    assert first.texts == again.texts and set(first.texts) != set(other.texts)


def test_a_prompt_that_is_too_long_is_its_own_error(smollm_server: Any) -> None:
    long, short = endpoint(smollm_server).generate([Prompt(text="word " * 4000), QUESTIONS[0]], seed=0)
    assert long.error is not None and "model_failed" in long.error and not long.texts
    assert short.error is None


def test_a_server_that_hangs_ends_the_job_and_answers_when_it_is_back(smollm_server: Any) -> None:
    quick = {"timeout_seconds": 2, "tries": 2, "total_seconds": 6, "version": "as above"}
    hurried = endpoint(smollm_server, asking=quick)
    os.killpg(smollm_server.group, signal.SIGSTOP)
    try:
        with pytest.raises(AuditError, match="does not answer"):
            hurried.generate(QUESTIONS, seed=0)
    finally:
        os.killpg(smollm_server.group, signal.SIGCONT)
    assert endpoint(smollm_server).generate(QUESTIONS[:1], seed=0)[0].error is None
