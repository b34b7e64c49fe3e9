"""Answers, their log-probabilities and their failures, against the model's own forward pass."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import LlavaForConditionalGeneration, LlavaProcessor

from auditor.errors import AuditError, BadInput
from auditor.generators import generator_names, make_generator
from auditor.protocols import Generator
from auditor.storage.response_store import checked
from schemas.record import Reason, Turn
from schemas.response import Answer, Prompt

QUESTIONS = ["what colour is it", "how many", "is it red", "is there two red", "what is it " * 6]


def picture(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format="PNG")
    return out.getvalue()


PROMPTS = [Prompt((picture(i),), QUESTIONS[i % 5]) for i in range(10)]


def make(directory: Path, **settings: Any) -> Generator:
    given = {"generator": "transformers", "model": str(directory), "max_new_tokens": 6, "batch": 4}
    return make_generator({**given, **settings})


def _ask(directory: Path, prompt: Prompt) -> tuple[Any, dict[str, Any], Any]:
    """The model, its inputs for one prompt without padding, and the tokenizer."""
    processor = LlavaProcessor.from_pretrained(directory)
    image = [Image.open(io.BytesIO(data)) for data in prompt.images] or None
    asked = processor(text="<image> " * len(prompt.images) + prompt.text, images=image, return_tensors="pt")
    model = LlavaForConditionalGeneration.from_pretrained(directory).eval()
    return model, dict(asked), processor.tokenizer


def _greedy(directory: Path, prompt: Prompt, most: int) -> tuple[str, float, int]:
    """Text, log p and tokens by whole forward passes, one token after the other."""
    model, asked, tokenizer = _ask(directory, prompt)
    chosen: list[int] = []
    total = 0.0
    while len(chosen) < most and 2 not in chosen:
        with torch.inference_mode():
            log_p = torch.log_softmax(model(**asked).logits[0, -1], -1)
        chosen.append(int(log_p.argmax()))
        total += float(log_p.max())
        asked["input_ids"] = torch.cat([asked["input_ids"], torch.tensor([chosen[-1:]])], dim=1)
        asked["attention_mask"] = torch.ones_like(asked["input_ids"])
    return tokenizer.decode(chosen, skip_special_tokens=True).strip(), total, len(chosen)


def _first_token(directory: Path, prompt: Prompt, word: str, temperature: float) -> float:
    """log p of a one-word answer's first token."""
    model, asked, tokenizer = _ask(directory, prompt)
    with torch.inference_mode():
        logits = model(**asked).logits[0, -1] / temperature
    return float(torch.log_softmax(logits, -1)[tokenizer.convert_tokens_to_ids(word)])


def test_greedy_answers_and_their_log_probabilities(llava: Path) -> None:
    generator = make(llava)
    assert isinstance(generator, Generator)
    answers = generator.generate(PROMPTS, seed=0)
    assert len(answers) == 10 and len({answer.texts for answer in answers}) > 1
    for prompt, answer in zip(PROMPTS, answers, strict=True):
        text, total, tokens = _greedy(llava, prompt, 6)
        assert answer.error is None and answer.texts == (text,) and answer.tokens == (tokens,)
        assert math.isclose(answer.logprobs[0], total, abs_tol=1e-3)
    assert sum(answer.error is None for answer in answers) >= 5
    assert generator.generate(PROMPTS, seed=5) == answers


def test_samples_follow_the_model_at_the_temperature(llava: Path) -> None:
    """400 first tokens: their frequencies against exp(log p), with one-token answers."""
    generator = make(llava, samples=400, temperature=2.0, max_new_tokens=1, batch=1)
    (answer,) = generator.generate(PROMPTS[:1], seed=3)
    assert answer.error is None and set(answer.tokens) == {1}
    for text in set(answer.texts):
        logs = {
            round(log, 5) for word, log in zip(answer.texts, answer.logprobs, strict=True) if word == text
        }
        assert len(logs) == 1
        p = math.exp(logs.pop())
        assert math.isclose(math.log(p), _first_token(llava, PROMPTS[0], text, 2.0), abs_tol=1e-3)
        assert abs(answer.texts.count(text) / 400 - p) < 5 * math.sqrt(p * (1 - p) / 400)


def test_a_seed_repeats_and_another_does_not(llava: Path) -> None:
    generator = make(llava, samples=3, temperature=1.5)
    answers = generator.generate(PROMPTS, seed=1)
    torch.manual_seed(99)
    assert generator.generate(PROMPTS, seed=1) == answers
    assert generator.generate(PROMPTS, seed=2) != answers
    assert any(len(set(answer.texts)) > 1 for answer in answers)


def test_alone_equals_among_others(llava: Path) -> None:
    generator = make(llava)
    mixed = [*PROMPTS, Prompt(text="is it red"), Prompt((picture(1), picture(2)), "how many")]
    answers = generator.generate(mixed, seed=0)
    for prompt, answer in zip(mixed, answers, strict=True):
        assert generator.generate([prompt], seed=0) == [answer]
    assert generator.generate(mixed[::-1], seed=0)[::-1] == answers
    assert generator.generate([], seed=0) == []


def test_the_image_and_the_history_matter(llava: Path) -> None:
    generator = make(llava, temperature=1.0, samples=2)
    base = Prompt((picture(0),), "is it red")
    variants = [
        base,
        replace(base, images=(picture(7),)),
        replace(base, history=(Turn("user", "how many"), Turn("assistant", "two"))),
        replace(base, images=()),
    ]
    results = [tuple(generator.generate([v], seed=0)[0].logprobs) for v in variants]
    assert len(set(results)) == 4


def test_bad_prompts_are_isolated_and_their_neighbours_keep_their_bits(llava: Path) -> None:
    generator = make(llava)
    answers = generator.generate(PROMPTS, seed=0)
    bad = list(PROMPTS)
    bad[1] = Prompt((b"no image",), QUESTIONS[1])
    bad[6] = Prompt((picture(6),), "how many " * 100)
    result = generator.generate(bad, seed=0)
    assert "IMAGE" not in (result[1].error or "") and result[1].texts == () and result[1].error
    assert "tokens" in (result[6].error or "")
    keep = [i for i in range(10) if i not in (1, 6)]
    assert [result[i] for i in keep] == [answers[i] for i in keep]


def test_a_prompt_that_breaks_the_model_is_isolated(llava: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = make(llava)
    answers = generator.generate(PROMPTS, seed=0)
    original = type(generator)._inputs  # type: ignore[attr-defined]

    def breaks(self: Any, batch: Any, length: int) -> Any:
        if any("is there two" in text for text, _ in batch):
            raise RuntimeError("poison\nsecond line")
        return original(self, batch, length)

    monkeypatch.setattr(type(generator), "_inputs", breaks)
    result = generator.generate(PROMPTS, seed=0)
    for i, (before, after) in enumerate(zip(answers, result, strict=True)):
        assert after == (Answer(error="RuntimeError: poison") if i % 5 == 3 else before)

    def always(self: Any, batch: Any, length: int) -> Any:
        raise RuntimeError("broken")

    monkeypatch.setattr(type(generator), "_inputs", always)
    with pytest.raises(AuditError, match="fails on blank prompts"):
        generator.generate(PROMPTS, seed=0)


def test_an_empty_answer_keeps_its_reason(llava: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator: Any = make(llava)
    monkeypatch.setattr(
        generator._tokenizer, "batch_decode", lambda ids, **_: [" "] * len(ids), raising=False
    )
    [answer] = generator.generate(PROMPTS[:1], seed=0)
    assert checked(answer).error == str(Reason.EMPTY_RESPONSE)


def test_text_only_model_without_a_template(llama: Path) -> None:
    generator = make(llama)
    answers = generator.generate([Prompt(text="is it red"), PROMPTS[0], Prompt(text="how many")], seed=0)
    assert answers[1].error == "ValueError: this model takes no images"
    assert answers[0].tokens and answers[0].error is None


def test_identity(llava: Path) -> None:
    base = make(llava).identity
    assert base == make(llava).identity
    said = json.loads(base)
    assert said["sampling"] == {"temperature": 0.0, "samples": 1, "max_new_tokens": 6}
    assert said["engine"].startswith("transformers ") and len(said["weights"]) == 64
    assert base != make(llava, max_new_tokens=7).identity != make(llava, batch=2).identity


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"generator": "no-such"}, r"known: .*transformers"),
        ({"top_p": 0.9}, "unknown setting 'top_p'"),
        ({"samples": 2}, "temperature"),
        ({"samples": 0, "temperature": 1.0}, "samples"),
        ({"temperature": -1.0}, "temperature"),
        ({"batch": 0}, "batch"),
        ({"model": None}, "no model given"),
        ({"model": "lab:none"}, "mllm-strong"),
    ],
)
def test_refused_in_one_line(settings: dict[str, Any], word: str, llava: Path) -> None:
    with pytest.raises(BadInput, match=word):
        make(llava, **settings)
    assert "transformers" in generator_names()


def test_a_directory_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="does not load"):
        make(tmp_path)


def test_the_labs_model_answers() -> None:
    generator = make_generator({"generator": "transformers", "model": "lab:mllm-strong", "max_new_tokens": 8})
    (answer,) = generator.generate([Prompt((picture(0),), "How many objects are there?")], seed=0)
    assert answer.error is None and answer.texts[0]
