"""The contract of a generator: ours keep it, and each broken one is named."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from auditor.generators import make_generator
from auditor.records import decode
from auditor.testing import check_generator
from schemas.response import Answer, Prompt


def test_the_one_of_transformers_keeps_it() -> None:
    settings = {"generator": "transformers", "model": "lab:mllm-strong", "max_new_tokens": 8, "batch": 4}
    check_generator(make_generator(settings))


def test_the_one_of_endpoints_keeps_it(chat_server: Any) -> None:
    section = {"url": chat_server.url, "tries": 1, "api_key_env": None}
    check_generator(make_generator({"generator": "endpoint", "model": "m", "endpoint": section}))


class Echo:
    """Says what it was asked."""

    identity = json.dumps({"name": "echo"})

    def generate(self, prompts: Sequence[Prompt], seed: int) -> list[Answer]:
        return [self.answer(prompt, i) for i, prompt in enumerate(prompts)]

    def answer(self, prompt: Prompt, place: int) -> Answer:
        try:
            for image in prompt.images:
                decode(image)
        except Exception as error:
            return Answer(error=str(error))
        return Answer(texts=(prompt.text,))


class Numbering(Echo):
    def answer(self, prompt: Prompt, place: int) -> Answer:
        return Answer(texts=(f"{place}: {prompt.text}",))


class Blind(Echo):
    def answer(self, prompt: Prompt, place: int) -> Answer:
        return Answer(texts=(prompt.text,))


class Short(Echo):
    def generate(self, prompts: Sequence[Prompt], seed: int) -> list[Answer]:
        return super().generate(prompts, seed)[:1]


class Strict(Echo):
    def answer(self, prompt: Prompt, place: int) -> Answer:
        for image in prompt.images:
            decode(image)
        return Answer(texts=(prompt.text,))


class Silent(Echo):
    def answer(self, prompt: Prompt, place: int) -> Answer:
        return Answer()


class Uneven(Echo):
    def answer(self, prompt: Prompt, place: int) -> Answer:
        return Answer(texts=(prompt.text,), logprobs=(-1.0, -2.0))


class Counting(Echo):
    calls = 0

    def answer(self, prompt: Prompt, place: int) -> Answer:
        self.calls += 1
        return Answer(texts=(str(self.calls),))


def test_a_small_one_keeps_it() -> None:
    check_generator(Echo())


@pytest.mark.parametrize(
    ("generator", "word"),
    [
        (Numbering(), "depends on its prompt's place"),
        (Blind(), "does not decode has no error"),
        (Short(), "1 answers to 3 prompts"),
        (Strict(), "raises for its prompts"),
        (Silent(), "neither texts nor an error"),
        (Uneven(), "one entry a text"),
        (Counting(), "other answers again"),
        (object(), "no Generator"),
    ],
)
def test_a_broken_one_is_named(generator: Echo, word: str) -> None:
    with pytest.raises(AssertionError, match=word):
        check_generator(generator)
