"""Tiny random models: a LLaVA and a Llama, saved as transformers saves them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

SPECIAL = ["<pad>", "<s>", "</s>", "<image>"]
WORDS = ["what", "colour", "is", "it", "red", "blue", "two", "many", "how", "there", "yes", "no"]
TEMPLATE = """
{%- for m in messages -%}
{%- for p in m['content'] if p['type'] == 'image' -%}{{ '<image> ' }}{%- endfor -%}
{%- for p in m['content'] if p['type'] == 'text' -%}{{ p['text'] + ' ' }}{%- endfor -%}
{%- endfor -%}
"""


def _tokenizer() -> PreTrainedTokenizerFast:
    core = Tokenizer(models.WordLevel({w: i for i, w in enumerate([*SPECIAL, *WORDS])}, unk_token="<pad>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        extra_special_tokens={"image_token": "<image>"},
    )


def _language() -> LlamaConfig:
    return LlamaConfig(
        vocab_size=16,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=128,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        initializer_range=0.5,
    )


@pytest.fixture(scope="session")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image becomes 16 tokens (32 px, patches of 8)."""
    directory = tmp_path_factory.mktemp("llava")
    torch.manual_seed(0)
    vision = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=32,
        patch_size=8,
        initializer_factor=5.0,
    )
    config = LlavaConfig(
        vision_config=vision, text_config=_language(), image_token_index=3, vision_feature_layer=-1
    )
    model = LlavaForConditionalGeneration(config)
    # Never the likeliest token, so that a greedy answer is words and an end.
    model.lm_head.weight.data[[0, 1, 3]] = 0.0
    model.generation_config.eos_token_id = 2
    model.generation_config.pad_token_id = 0
    model.generation_config.repetition_penalty = 5.0
    model.save_pretrained(directory)
    LlavaProcessor(
        CLIPImageProcessor(size={"height": 32, "width": 32}, do_center_crop=False),
        _tokenizer(),
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    ).save_pretrained(directory)
    return directory


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text-only model without a chat template."""
    directory = tmp_path_factory.mktemp("llama")
    torch.manual_seed(3)
    LlamaForCausalLM(_language()).save_pretrained(directory)
    _tokenizer().save_pretrained(directory)
    return directory
