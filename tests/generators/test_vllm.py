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
import torch
from PIL import Image
from transformers import LlavaForConditionalGeneration

from auditor.errors import AuditError, BadInput
from auditor.generators import make_generator
from auditor.generators.sampling import Sampling
from auditor.generators.template import ChatTemplate
from auditor.generators.vllm import EngineFailed
from auditor.lab.weights import weights_dir
from auditor.lab.world import lab_items
from auditor.protocols import Generator
from auditor.records import decode
from schemas.record import Turn
from schemas.response import Answer, Prompt

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.timeout(1800),  # an engine takes a minute to start on two idle cores
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


def test_other_prompts_are_answered_as_by_transformers(vllm_lab: Generator) -> None:
    """Earlier turns, two images, none."""
    first, second = PROMPTS[0], PROMPTS[1]
    asked = [
        replace(first, history=(Turn("user", "What colour is it?"), Turn("assistant", "red"))),
        replace(first, images=first.images + second.images),
        Prompt(text="What colour is the circle?"),
    ]
    answers = vllm_lab.generate(asked, seed=0)
    expected = make("transformers", LAB, batch=1).generate(asked, seed=0)
    for one, other in zip(answers, expected, strict=True):
        assert one.error is None and (one.texts, one.tokens) == (other.texts, other.tokens)
        assert math.isclose(one.logprobs[0], other.logprobs[0], abs_tol=1e-3)
    assert len({answer.logprobs for answer in (*answers, *vllm_lab.generate([first], 0))}) == 4


def test_samples_follow_the_model_at_the_temperature(vllm_lab: Generator) -> None:
    """Answers of one token, 300 times: log p against a forward pass, frequencies against exp(log p)."""
    how = {"samples": 300, "temperature": 2.0, "max_new_tokens": 1}
    (answer,) = drawn(vllm_lab, **how).generate(PROMPTS[3:4], seed=1)
    assert set(answer.tokens) == {1} and len(set(answer.logprobs)) >= 5
    chat, image = ChatTemplate(weights_dir("mllm-strong"), LAB), decode(PROMPTS[3].images[0])
    model = LlavaForConditionalGeneration.from_pretrained(weights_dir("mllm-strong")).eval().float()
    asked = chat.processor(text=chat.render(PROMPTS[3]), images=[image], return_tensors="pt")
    with torch.inference_mode():
        log_p = torch.log_softmax(model(**asked).logits[0, -1] / 2.0, -1).numpy()
    words = np.array(chat.read([[token] for token in range(len(log_p))]))  # several tokens may be one word
    for word, log in zip(answer.texts, answer.logprobs, strict=True):
        assert np.abs(log_p[words == word] - log).min() < 1e-3
    counts = dict(zip(*np.unique(np.round(answer.logprobs, 4), return_counts=True), strict=True))
    best, count = max(counts.items(), key=lambda item: item[1])
    p = math.exp(best)
    assert p > 0.05 and abs(count / 300 - p) < 5 * math.sqrt(p * (1 - p) / 300)


def test_a_sampled_answer_is_its_prompts_own(vllm_lab: Generator) -> None:
    generator = drawn(vllm_lab, samples=3, temperature=1.0)
    answers = generator.generate(PROMPTS[:12], seed=1)
    assert all(len(answer.texts) == 3 for answer in answers)
    assert any(len(set(answer.texts)) > 1 for answer in answers)
    for prompt, answer in zip(PROMPTS[:4], answers, strict=False):
        (alone,) = generator.generate([prompt], seed=1)
        assert alone.texts == answer.texts
        assert np.allclose(alone.logprobs, answer.logprobs, atol=1e-3)
    again = generator.generate(PROMPTS[11::-1], seed=1)[::-1]
    assert [answer.texts for answer in again] == [answer.texts for answer in answers]
    assert generator.generate(PROMPTS[:12], seed=2) != answers


def test_bad_prompts_stop_nobody(vllm_lab: Generator, greedy: list[Answer]) -> None:
    bad = list(PROMPTS[:8])
    bad[1] = Prompt((b"no image",), bad[1].text)
    bad[4] = replace(bad[4], text="How many objects are there? " * 200)
    word = len(vllm_lab._chat.tokenizer(" blue")["input_ids"])  # type: ignore[attr-defined]
    bad[5] = replace(bad[5], text=" blue" * (435 // word))  # with 64 tokens of the image, not with the answer
    answers = vllm_lab.generate(bad, seed=0)
    assert answers[1].error is not None and "image_corrupt" not in answers[1].texts
    assert "512" in (answers[4].error or "") and answers[4].texts == ()
    assert answers[5].error is not None and answers[5].error.endswith("the model takes 488")
    for i in (0, 2, 3, 6, 7):
        assert (answers[i].texts, answers[i].error) == (greedy[i].texts, None)


def test_a_dead_engine_is_not_asked_again(vllm_lab: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    from vllm.v1.engine.exceptions import EngineDeadError

    generator: Any = copy.copy(vllm_lab)
    calls = []

    def dies(**_: object) -> None:
        calls.append(1)
        raise EngineDeadError()

    monkeypatch.setattr(generator._llm, "enqueue", lambda *_, **__: ["0"])
    monkeypatch.setattr(generator._llm, "wait_for_completion", dies)
    for _ in range(2):
        with pytest.raises(EngineFailed, match=r"engine died.*EngineDeadError"):
            generator.generate(PROMPTS[:2], seed=0)
    assert len(calls) == 1 and not isinstance(EngineFailed(""), AuditError)  # the pool starts another worker

    other: Any = copy.copy(vllm_lab)
    monkeypatch.setattr(other._llm, "enqueue", dies)
    with pytest.raises(EngineFailed):
        other.generate(PROMPTS[:2], seed=0)


def test_identity_costs_no_engine() -> None:
    generator: Any = make("vllm", LAB)
    said = json.loads(generator.identity)
    assert said["engine"].startswith("vllm 0.") and len(said["weights"]) == 64
    assert said["dtype"] == "float32" and said["device"] == "cpu" and said["tensor_parallel"] == 1
    assert generator.identity == make("vllm", LAB).identity
    others = [
        make("vllm", "lab:mllm-weak"),
        make("vllm", LAB, max_new_tokens=8),
        make("vllm", LAB, vllm={"dtype": "bfloat16"}),
        make("vllm", LAB, vllm={"max_model_len": 256}),
    ]
    assert len({generator.identity, *(other.identity for other in others)}) == 5
    assert make("vllm", LAB, vllm={"max_num_seqs": 4}).identity == generator.identity
    assert generator._llm is None


def test_a_model_as_transformers_saves_it(llava: Path) -> None:
    """Its tensors have names that vLLM does not look for; the model is random, its answers near ties."""
    prompts = [
        Prompt((_noise(i),), f"what colour is it {word}") for i, word in enumerate(["red", "two", "no"])
    ]
    prompts.append(Prompt((_noise(1), _noise(2)), "how many"))
    generator = make("vllm", str(llava), max_new_tokens=1)
    answers = generator.generate(prompts, seed=0)
    expected = make("transformers", str(llava), max_new_tokens=1, batch=2).generate(prompts, seed=0)
    for one, other in zip(answers, expected, strict=True):
        assert one.error is None and one.tokens == (1,)
        assert math.isclose(one.logprobs[0], other.logprobs[0], abs_tol=1e-3)
        assert one.texts == other.texts
    assert len({answer.logprobs for answer in answers}) == 4  # the images are looked at


def test_two_ranks_answer_as_one_engine(greedy: list[Answer]) -> None:
    """Tensor parallel, without a GPU: the same code but for what carries the sums."""
    answers = make("vllm", LAB, vllm={"tensor_parallel": 2}).generate(PROMPTS[:16], seed=0)
    for one, other in zip(answers, greedy, strict=False):
        assert one.error is None and (one.texts, one.tokens) == (other.texts, other.tokens)
        assert math.isclose(one.logprobs[0], other.logprobs[0], abs_tol=1e-3)


def test_what_vllm_does_not_take_is_one_line() -> None:
    with pytest.raises(BadInput, match=r"vLLM does not take it .*max_model_len") as refused:
        make("vllm", LAB, vllm={"max_model_len": 100_000}).generate(PROMPTS[:1], seed=0)
    assert "\n" not in str(refused.value)


def _noise(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format="PNG")
    return out.getvalue()
