"""Tiny random models of the published architectures, saved as their libraries save them."""

from __future__ import annotations

import json
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    CLIPVisionModel,
    PreTrainedTokenizerFast,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
)

WORDS = ["what", "colour", "is", "the", "square", "circle", "red", "how", "many", "ist", "das"]


@pytest.fixture(scope="session")
def xlmr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """XLM-R with three layers, saved with its masked-language head and so without a pooler, as published."""
    directory = tmp_path_factory.mktemp("xlmr")
    vocabulary = {word: i for i, word in enumerate(["<s>", "<pad>", "</s>", "<unk>", *WORDS])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    tokenizer.save_pretrained(directory)
    torch.manual_seed(0)
    config = XLMRobertaConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=100,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
    )
    XLMRobertaForMaskedLM(config).save_pretrained(directory)
    return directory


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same random CLIP vision tower twice: as open_clip saves it and as transformers does."""
    torch.manual_seed(1)
    ours = tmp_path_factory.mktemp("open_clip")
    model_config = {
        "embed_dim": 24,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 32, "layers": 3, "width": 64, "head_width": 32, "patch_size": 8},
        "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    }
    preprocess = {"mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28], "interpolation": "bicubic"}
    (ours / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": model_config, "preprocess_cfg": {**preprocess, "resize_mode": "shortest"}})
    )
    model = open_clip.CLIP(**model_config)
    weights = model.visual.state_dict()
    save_file(
        {k: v.contiguous() for k, v in model.state_dict().items()}, ours / "open_clip_model.safetensors"
    )

    theirs = tmp_path_factory.mktemp("hf_clip")
    config = CLIPVisionConfig(
        hidden_size=64,
        intermediate_size=256,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=32,
        patch_size=8,
        hidden_act="quick_gelu",
    )
    copy = CLIPVisionModel(config)
    renamed = {}
    for key, value in weights.items():
        key = key.replace("transformer.resblocks.", "encoder.layers.").replace(".attn.", ".self_attn.")
        key = key.replace("ln_1", "layer_norm1").replace("ln_2", "layer_norm2")
        key = key.replace("mlp.c_fc", "mlp.fc1").replace("mlp.c_proj", "mlp.fc2")
        key = key.replace("ln_pre", "pre_layrnorm").replace("ln_post", "post_layernorm")
        key = key.replace("conv1.weight", "embeddings.patch_embedding.weight")
        key = key.replace("class_embedding", "embeddings.class_embedding")
        if key.startswith("positional_embedding"):
            key = "embeddings.position_embedding.weight"
        if "in_proj_" in key:
            for part, chunk in zip("qkv", value.chunk(3), strict=True):
                renamed[key.replace("in_proj_", f"{part}_proj.")] = chunk.clone()
        elif key != "proj":
            renamed[key] = value.clone()
    prefix = "vision_model." if any(k.startswith("vision_model.") for k in copy.state_dict()) else ""
    result = copy.load_state_dict({prefix + k: v for k, v in renamed.items()}, strict=False)
    assert not result.unexpected_keys
    assert all("position_ids" in key for key in result.missing_keys)
    copy.save_pretrained(theirs)
    CLIPImageProcessorPil(
        size={"shortest_edge": 32},
        crop_size={"height": 32, "width": 32},
        image_mean=preprocess["mean"],
        image_std=preprocess["std"],
    ).save_pretrained(theirs)
    return ours, theirs
