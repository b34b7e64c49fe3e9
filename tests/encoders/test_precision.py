"""Cheaper arithmetic: chosen by what the device has, within a checked error, named in the identity."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from auditor.encoders import make_encoder, precision
from auditor.encoders.images import ImageEncoder, probe
from auditor.encoders.precision import BOUND, fast_precision, largest_error, precision_notes, settle
from auditor.encoders.texts import PROBE
from auditor.errors import BadInput
from schemas.config import EncodersConfig

TEXTS = ["what colour is the square", "red", "how many circle " * 10, "zebra is the red"]


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
def test_a_cheaper_type_is_close_to_float32_and_named(
    xlmr: Path, clips: tuple[Path, Path], kind: str
) -> None:
    for path, modality, contents in (
        (xlmr, "text", TEXTS),
        (clips[0], "image", probe()),
        (clips[1], "image", probe()),
    ):
        exact = make_encoder({"name": str(path), "precision": "float32"}, modality, batch=4)
        cheap = make_encoder({"name": str(path), "precision": kind}, modality, batch=4)
        assert json.loads(exact.identity)["dtype"] == "float32"
        assert json.loads(cheap.identity)["dtype"] == kind and cheap.identity != exact.identity
        a, b = exact.encode(contents), cheap.encode(contents)
        assert b.dtype == np.float32 and 0 < largest_error(a, b) <= BOUND
        # A row still does not depend on who comes with it.
        assert np.array_equal(cheap.encode(contents[:1])[0], b[0])


def test_bfloat16_is_really_computed_in(clips: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Matrix products see bfloat16 operands."""
    seen = set()
    linear = torch.nn.functional.linear

    def watched(x: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        out = linear(x, *rest)
        seen.add(out.dtype)
        return out

    encoder = make_encoder({"name": str(clips[1]), "precision": "bfloat16"}, "image", batch=4)
    monkeypatch.setattr(torch.nn.functional, "linear", watched)
    encoder.encode(probe())
    assert seen == {torch.bfloat16}


def test_too_large_an_error_gives_way_to_float32(
    xlmr: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(precision, "BOUND", 1e-6)
    with caplog.at_level(logging.WARNING):
        encoder = make_encoder({"name": str(xlmr), "precision": "bfloat16"}, "text")
    plain = make_encoder({"name": str(xlmr), "precision": "float32"}, "text")
    assert encoder.identity == plain.identity and "bfloat16 is off by up to" in caplog.text
    assert np.array_equal(encoder.encode(TEXTS), plain.encode(TEXTS))


def test_what_overflows_is_refused() -> None:
    def encode(dtype: torch.dtype) -> np.ndarray:
        return np.array([[1.0, 2.0]]) if dtype is torch.float32 else np.array([[np.inf, 2.0]])

    with np.errstate(invalid="ignore"):
        assert settle("e", "float16", "cpu", encode) is torch.float32


def test_error_of_unit_rows() -> None:
    a = np.array([[3.0, 4.0], [2.0, 0.0]])
    assert largest_error(a, a * 5) == 0.0
    assert largest_error(a, np.array([[3.0, 4.0], [0.0, 1.0]])) == pytest.approx(2**0.5)


def test_auto_is_what_the_device_has(monkeypatch: pytest.MonkeyPatch) -> None:
    for flags, wanted in (
        ({"amx_bf16"}, torch.bfloat16),
        ({"avx512_bf16"}, torch.float32),
        (set(), torch.float32),
    ):
        monkeypatch.setattr(precision, "_cpu_flags", lambda flags=flags: frozenset(flags))
        assert fast_precision("cpu") is wanted
    for capability, wanted in (
        ((7, 5), torch.float32),
        ((8, 0), torch.bfloat16),
        ((9, 0), torch.bfloat16),
        ((12, 0), torch.bfloat16),
    ):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _, c=capability: c)
        assert fast_precision("cuda") is wanted and fast_precision("cuda:1") is wanted


def test_an_unknown_precision_is_refused(xlmr: Path) -> None:
    with pytest.raises(BadInput, match="precision 'int4' is none of auto, float32, bfloat16, float16"):
        make_encoder({"name": str(xlmr), "precision": "int4"}, "text")


def test_layer_zero_does_not_even_hold_the_layers_above(xlmr: Path) -> None:
    whole = make_encoder({"name": str(xlmr), "layer": 1}, "text")
    bare = make_encoder({"name": str(xlmr), "layer": 0}, "text")

    def layers(encoder: object) -> int:
        hidden = encoder._hidden  # type: ignore[attr-defined]
        model = next(
            cell.cell_contents for cell in hidden.__closure__ if hasattr(cell.cell_contents, "encoder")
        )
        return len(model.encoder.layer)

    assert (layers(whole), layers(bare)) == (3, 0)
    assert np.isfinite(bare.encode([*TEXTS, *PROBE])).all()


def test_images_decoded_by_threads_have_the_same_bits(clips: tuple[Path, Path]) -> None:
    encoder = make_encoder(str(clips[0]), "image", batch=3)
    assert isinstance(encoder, ImageEncoder)
    contents = [*probe(), b"no image", *probe()]
    found = []
    for threads in (1, 2, 9):
        encoder._decoders = threads
        found.append(encoder.encode(contents))
    assert all(np.array_equal(found[0], other, equal_nan=True) for other in found)
    assert np.isnan(found[0][4]).all() and np.isfinite(np.delete(found[0], 4, axis=0)).all()
    assert encoder.encode([]).shape == (0, 64)


def test_a_refused_precision_is_told() -> None:
    asked = EncodersConfig(
        image={"name": "lab", "precision": "float16"}, text={"name": "lab", "precision": "bfloat16"}
    )
    made = {"image": json.dumps({"dtype": "float32"}), "text": json.dumps({"dtype": "bfloat16"})}
    (note,) = precision_notes(asked, made)
    assert note.startswith("encoders.image.precision: float16") and note.endswith("float32 was used")
    assert precision_notes(EncodersConfig.model_validate({"image": "lab", "text": "lab"}), made) == []  # auto
    assert precision_notes(asked, {"text": made["text"]}) == []  # no images in the records
