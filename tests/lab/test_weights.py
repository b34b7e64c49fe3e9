"""The shipped weights load through ordinary library code, are small and safe, and answer as the card says."""

from __future__ import annotations

import json
from collections.abc import Iterator

import open_clip
import pytest
import torch
from safetensors import safe_open
from transformers import AutoModel, AutoTokenizer, LlavaForConditionalGeneration

from auditor.lab import LANGUAGES, WEIGHTS, lab_items, weights_dir
from auditor.lab.training.evaluate import Answerer, picture, score
from auditor.lab.weights import MODELS

N = 60


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def strong(one_thread: None) -> Answerer:
    return Answerer(weights_dir("mllm-strong"))


@pytest.fixture(scope="module")
def weak(one_thread: None) -> Answerer:
    return Answerer(weights_dir("mllm-weak"))


def test_small_and_without_pickles() -> None:
    paths = [p for p in WEIGHTS.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    assert sum(p.stat().st_size for p in paths) < 25_000_000
    assert {p.suffix for p in paths} <= {".safetensors", ".json", ".jinja", ".md", ".py"}
    assert {p.parent.name for p in paths if p.suffix == ".safetensors"} == set(MODELS)


@pytest.mark.parametrize("name", ["mllm-strong", "mllm-weak"])
def test_llava_loads_whole_under_published_names(name: str) -> None:
    _, report = LlavaForConditionalGeneration.from_pretrained(weights_dir(name), output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert not report["mismatched_keys"]
    with safe_open(weights_dir(name) / "model.safetensors", "pt") as file:
        keys = set(file.keys())
    prefixes = {k.split(".", 2)[0] + "." + k.split(".", 2)[1] for k in keys}
    assert prefixes == {
        "vision_tower.vision_model",
        "multi_modal_projector.linear_1",
        "multi_modal_projector.linear_2",
        "language_model.model",
        "language_model.lm_head",
    }
    config = json.loads((weights_dir(name) / "config.json").read_text())
    assert config["architectures"] == ["LlavaForConditionalGeneration"]


def test_a_prompt_holds_one_token_a_patch(strong: Answerer) -> None:
    text = strong.processor.apply_chat_template(
        [
            {
                "role": "user",
                "content": [{"type": "image"}, {"type": "text", "text": "How many objects are there?"}],
            }
        ],
        add_generation_prompt=True,
    )
    item = next(lab_items(1))
    inputs = strong.processor(images=[picture(item)], text=[text], return_tensors="pt")
    assert int((inputs["input_ids"] == strong.model.config.image_token_index).sum()) == 64
    assert inputs["pixel_values"].shape == (1, 3, 64, 64)


def test_left_padding_changes_no_answer(strong: Answerer) -> None:
    items = list(lab_items(6, seed=5))
    assert strong.answers(items) == [strong.answers([item])[0] for item in items]


def test_strong_beats_weak_beats_chance_and_blur_hurts(strong: Answerer, weak: Answerer) -> None:
    items = list(lab_items(N, seed=11))
    best = score(strong.answers(items), items)["graded"]
    second = score(weak.answers(items), items)["graded"]
    turned = items[1:] + items[:1]
    chance = score([i.truth.answer for i in turned], items)["graded"]
    assert best > 0.82
    assert best > second + 0.05
    assert second > chance + 0.1
    assert score(strong.answers(items, blur=1.0), items)["graded"] < best - 0.15


def test_a_language_seldom_seen_is_answered_worse(strong: Answerer) -> None:
    items, hindi = list(lab_items(N, seed=12)), list(lab_items(N, seed=12, language="hi"))
    assert (
        score(strong.answers(hindi), hindi)["graded"] < score(strong.answers(items), items)["graded"] - 0.05
    )


def test_clip_knows_what_it_sees(one_thread: None) -> None:
    name = f"local-dir:{weights_dir('clip')}"
    model, _, prepare = open_clip.create_model_and_transforms(name)
    model.eval()
    tokenizer = open_clip.get_tokenizer(name)
    items = list(lab_items(24, seed=13))
    with torch.no_grad():
        seen = model.encode_image(torch.stack([prepare(picture(i)) for i in items]), normalize=True)
        ground = ("paper", "slate", "grass", "dusk")
        words = model.encode_text(
            tokenizer([f"a plain red circle 1 top left on {g}" for g in ground]), normalize=True
        )
    assert seen.shape == (24, 128)
    guess = (seen @ words.T).argmax(1).tolist()
    right = sum(ground[g] == i.scene_type.split("-")[1] for g, i in zip(guess, items, strict=True))
    assert right > 24 / 4


def test_xlmr_reads_every_language() -> None:
    tokenizer = AutoTokenizer.from_pretrained(weights_dir("xlmr"))
    model, report = AutoModel.from_pretrained(weights_dir("xlmr"), output_loading_info=True)
    assert type(model).__name__ == "XLMRobertaModel"
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    for language in LANGUAGES:
        coded = tokenizer(
            [i.query for i in lab_items(20, language=language)], padding=True, return_tensors="pt"
        )
        unknown = (coded["input_ids"] == tokenizer.unk_token_id).float().mean()
        assert unknown < 0.1, language
        hidden = model(**coded, output_hidden_states=True).hidden_states
        assert hidden[0].shape[-1] == 128
        assert bool(torch.isfinite(hidden[-1]).all())
