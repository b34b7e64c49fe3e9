"""A real chat model behind vLLM's own OpenAI-compatible server, asked with plain HTTP."""

from __future__ import annotations

import json
import math
import urllib.request
from typing import Any

import pytest

from auditor.generators import make_generator
from schemas.response import Prompt

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(1200)]
QUESTIONS = ["What is the capital of France?", "Count from one to five.", "Name three colours."]


def _post(url: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        url, json.dumps(body).encode(), headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)


def test_it_answers_as_transformers_does(smollm_server: Any) -> None:
    expected = make_generator(
        {"generator": "transformers", "model": str(smollm_server.directory), "max_new_tokens": 24, "batch": 1}
    ).generate([Prompt(text=question) for question in QUESTIONS], seed=0)
    for question, answer in zip(QUESTIONS, expected, strict=True):
        said = _post(
            f"{smollm_server.base_url}/chat/completions",
            {
                "model": smollm_server.model,
                "messages": [{"role": "user", "content": question}],
                "temperature": 0,
                "max_tokens": 24,
                "logprobs": True,
            },
        )["choices"][0]
        assert answer.error is None and said["message"]["content"].strip() == answer.texts[0]
        assert len(said["logprobs"]["content"]) == answer.tokens[0]
        total = sum(token["logprob"] for token in said["logprobs"]["content"])
        assert math.isclose(total, answer.logprobs[0], abs_tol=1e-2)
    assert "Paris" in expected[0].texts[0]
