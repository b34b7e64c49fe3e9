"""Names of a config are held against the registries, all in one line, each with its key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from auditor.errors import BadInput
from auditor.pipeline.names import check_names
from schemas.config import AuditConfig, BaselineConfig, EncoderConfig

LAB = {"image": "lab", "text": "lab"}


def config(**changes: Any) -> AuditConfig:
    """Of the lab, with these sections in place of its own; encoders by modality."""
    encoders = LAB | changes.pop("encoders", {})
    return AuditConfig.model_validate(
        {"data": {"reader": "lab"}, "models": ["m"], "encoders": encoders, **changes}
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"data": {"reader": "recods"}},
            "data.reader: unknown reader 'recods' (did you mean records?); known:",
        ),
        (
            {"data": {"reader": "lab", "options": {"a": 1}}},
            "data.options: unknown setting 'a'; it takes: none",
        ),
        (
            {"data": {"reader": "lab", "scenarios": {"s": {"shifts": [{"shift": "blr"}]}}}},
            "data.scenarios.s.shifts.0.shift: unknown shift 'blr' (did you mean blur?); known: blur, frost",
        ),
        (
            {"encoders": {"text": "minlm"}},
            "encoders.text.name: unknown text encoder 'minlm' (did you mean minilm?); known: hf:NAME, lab",
        ),
        ({"encoders": {"image": "minilm"}}, "encoders.image.name: unknown image encoder 'minilm'"),
        (
            {"encoders": {"image": {"name": "efficientnet-lite0", "layer": 3}}},
            "encoders.image: unknown setting 'layer'; it takes: runtime",
        ),
        (
            {"encoders": {"image": {"name": "clip-vit-b32-openai", "runtime": "onnx"}}},
            "encoders.image: unknown setting 'runtime'; it takes: layer, pooling",
        ),
        (
            {"encoders": {"text": {"name": "/models/on/another/machine", "runtime": "onnx"}}},
            "encoders.text: unknown setting 'runtime'; it takes: layer, pooling",
        ),
        (
            {"encoders": {"text": {"name": "lab", "options": {"name": "x"}}}},
            "encoders.text: unknown setting 'name'; it takes: layer, pooling",
        ),
        (
            {"models": ["a", {"name": "b", "generator": "llm"}]},
            "models.1.generator: unknown generator 'llm' (did you mean vllm?); known: endpoint, trans",
        ),
        ({"models": [{"name": "b", "options": {"a": 1}}]}, "models.0.options: they are a generator's"),
        (
            {"models": [{"name": "b", "generator": "transformers", "options": {"a": 1}}]},
            "models.0.options: unknown setting 'a'",
        ),
    ],
)
def test_each_is_named(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput) as refused:
        check_names(config(**changes))
    assert str(refused.value).startswith(said) and "\n" not in str(refused.value)


def test_records_need_a_file() -> None:
    with pytest.raises(ValidationError, match=r"data\.id is missing: the file of the in-distrib"):
        config(data={"reader": "records"})


def test_all_at_once() -> None:
    with pytest.raises(BadInput) as refused:
        check_names(
            config(encoders={"image": "a", "text": "b"}, models=[{"name": "m", "generator": "c"}] * 1)
        )
    assert [part.split(":")[0] for part in str(refused.value).split("; ")[::3]] == [
        "encoders.image.name",
        "encoders.text.name",
        "models.0.generator",
    ]


def test_what_is_fine(tmp_path: Path) -> None:
    check_names(config())
    check_names(config(encoders={"image": "open_clip:ViT-B-32/openai", "text": "hf:org/name"}))
    check_names(config(encoders={"text": {"name": str(tmp_path), "pooling": "first"}}))
    check_names(config(encoders={"text": "/models/on/another/machine"}))
    check_names(config(encoders={"image": {"name": "efficientnet-lite0", "runtime": "onnx"}}))
    check_names(config(encoders={"text": {"name": "lab", "runtime": "torch"}}))
    check_names(BaselineConfig.model_validate({"data": {"id": "p.jsonl"}, "encoders": LAB}))


def test_options_are_dumped_where_there_are_some() -> None:
    """A config without any keeps its hash, and its baselines, from before there were options."""
    assert "options" not in EncoderConfig(name="lab").model_dump()
    assert "options" not in config().model_dump_json()
    assert "runtime" not in EncoderConfig(name="lab").model_dump()
    onnx = EncoderConfig(name="mine", runtime="onnx")
    assert onnx.model_dump()["runtime"] == "onnx" and onnx.settings()["runtime"] == "onnx"
    given = EncoderConfig(name="mine", layer=2, options={"size": 3})
    assert given.model_dump()["options"] == {"size": 3}
    assert EncoderConfig.model_validate_json(given.model_dump_json()) == given
    assert given.settings() == {"size": 3, "name": "mine", "layer": 2, "precision": "auto"}
