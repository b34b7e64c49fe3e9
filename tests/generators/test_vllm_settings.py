"""What is refused, and what vLLM's loading is given: all that needs no vLLM."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from transformers import LlavaForConditionalGeneration

from auditor.errors import BadInput
from auditor.generators import generator_names, make_generator
from auditor.generators.vllm_weights import INDEX, published_names
from auditor.lab.models import lab_directory
from auditor.pipeline.answer import engine_settings
from schemas.config import ModelConfig, VllmConfig


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vllm is installed")
def test_without_vllm_the_extra_is_named() -> None:
    with pytest.raises(BadInput) as refused:
        make_generator({"generator": "vllm", "model": "lab:mllm-strong"})
    assert str(refused.value) == "package vllm is not installed: pip install 'shift-auditor[vllm]'"
    assert "vllm" in generator_names()


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"vllm": {"tensor_parallel": 0}}, "vllm.tensor_parallel"),
        ({"vllm": {"no_such": 1}}, "vllm.no_such"),
        ({"top_p": 0.9}, "unknown setting 'top_p'"),
        ({"model": None}, "no model given"),
    ],
)
def test_refused_in_one_line(settings: dict[str, Any], word: str) -> None:
    with pytest.raises(BadInput, match=word):
        make_generator({"generator": "vllm", "model": "lab:mllm-strong", **settings})


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"generator": "transformers", "vllm": {}}, "needs `generator: vllm`"),
        ({"vllm": {}}, "needs `generator: vllm`"),
        ({"generator": "vllm", "batch": 8}, "vllm.max_num_seqs"),
        ({"generator": "vllm", "vllm": {"gpu_memory_utilization": 1.5}}, "gpu_memory_utilization"),
        ({"generator": "vllm", "vllm": {"dtype": "int8"}}, "dtype"),
        ({"generator": "vllm", "vllm": {"tensor_parallel": 2}, "gpus": 0.5}, "has them whole"),
    ],
)
def test_config_refuses(given: dict[str, Any], word: str) -> None:
    with pytest.raises(ValidationError, match=word):
        ModelConfig(name="m", **given)


def test_a_replica_has_the_gpus_that_its_engine_spreads_over() -> None:
    model = ModelConfig(name="m", generator="vllm", vllm=VllmConfig(tensor_parallel=2))
    assert model.gpus_each == 2.0 and ModelConfig(name="m", generator="vllm", gpus=0.5).gpus_each == 0.5
    shared = engine_settings(ModelConfig(name="m", generator="vllm", gpus=0.5), 0.5)
    assert shared["gpu_memory_utilization"] == pytest.approx(0.45)  # two of them fit on one GPU
    assert engine_settings(model, 2.0)["gpu_memory_utilization"] == 0.9


def _names(directory: Path) -> set[str]:
    return {name for file in directory.glob("*.safetensors") for name in load_file(file)}


@pytest.mark.parametrize("shard", ["5GB", "20KB"])
def test_saved_models_get_the_published_names(llava: Path, tmp_path: Path, shard: str) -> None:
    saved, into = tmp_path / "saved", tmp_path / "into"
    into.mkdir()
    model = LlavaForConditionalGeneration.from_pretrained(llava)
    model.save_pretrained(saved, max_shard_size=shard)
    assert published_names(saved, into) == into
    before, after = _names(saved), _names(into)
    assert any(name.startswith("vision_tower.embeddings.") for name in before)
    assert {name.replace("vision_tower.vision_model.", "vision_tower.") for name in after} == before
    assert all(name.startswith("vision_tower.vision_model.") for name in after if "vision_tower" in name)
    if shard != "5GB":
        files = list(saved.glob("*.safetensors"))
        assert len(files) > 2 and any((into / file.name).is_symlink() for file in files)
        mapped = json.loads((into / INDEX).read_text())["weight_map"]
        assert all(name in load_file(into / file) for name, file in mapped.items()) and set(mapped) == after
    # Transformers reads both names: every tensor is what it was.
    again = LlavaForConditionalGeneration.from_pretrained(into)
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)
    assert published_names(into, tmp_path) == into  # nothing is left to rename


def test_published_and_text_models_are_loaded_where_they_lie(llama: Path, tmp_path: Path) -> None:
    assert published_names(llama, tmp_path) == llama
    lab = lab_directory("mllm-strong")
    assert published_names(lab, tmp_path) == lab and not any(tmp_path.iterdir())


def test_what_is_no_safetensors_is_refused(llava: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no"):
        published_names(tmp_path, tmp_path)
    (tmp_path / "config.json").write_text((llava / "config.json").read_text())
    for content in (b"", b"\xff" * 64, b"\x08\0\0\0\0\0\0\0not json"):
        (tmp_path / "model.safetensors").write_bytes(content)
        with pytest.raises(BadInput, match="no safetensors file"):
            published_names(tmp_path, tmp_path / "into")
