"""Rows that fail are set apart, with their reason, and their neighbours keep their bits."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image

from auditor.encoders.isolation import encode_rows
from auditor.protocols import Array, Modality
from auditor.records import decode
from auditor.storage.row_cache import Failure
from schemas.record import Reason


def picture(seed: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(
        out, "JPEG"
    )
    return out.getvalue()


class Means:
    """An encoder of images by somebody else: it decodes for itself, and raises where that fails."""

    modality: Modality = "image"
    dim = 3
    identity = "means"

    def encode(self, contents: Sequence[bytes] | Sequence[str]) -> Array:
        return np.array([np.asarray(decode(data)).mean((0, 1)) for data in contents], np.float32)


class Patient(Means):
    """It gives a row that is not finite instead."""

    def encode(self, contents: Sequence[bytes] | Sequence[str]) -> Array:
        rows = np.full((len(contents), 3), np.nan, np.float32)
        for row, data in zip(rows, contents, strict=True):
            if not data.endswith(b"end"):
                row[:] = super().encode([data])[0]
        return rows


class Lengths(Means):
    """An encoder of texts that takes lists only, as tokenizers do."""

    modality: Modality = "text"

    def encode(self, contents: Sequence[bytes] | Sequence[str]) -> Array:
        assert isinstance(contents, list)
        return np.array([[len(text)] * 3 for text in contents], np.float32)


@pytest.mark.parametrize(
    "spoiled", [(picture(1)[:-60], Reason.IMAGE_TRUNCATED), (b"hello", Reason.IMAGE_CORRUPT)]
)
def test_an_image_that_does_not_decode_has_the_decoders_reason(spoiled: tuple[bytes, Reason]) -> None:
    data, reason = spoiled
    found = encode_rows(Means(), [picture(0), data, picture(2), Failure(Reason.IMAGE_MISSING, "gone")])
    assert [f and f.reason for f in found.failures] == [None, reason, None, Reason.IMAGE_MISSING]
    assert np.array_equal(found.vectors[[0, 2]], Means().encode([picture(0), picture(2)]))


def test_a_row_that_is_not_finite_is_asked_what_is_wrong_with_it() -> None:
    found = encode_rows(Patient(), [picture(0), picture(1)[:-60] + b"end", picture(2) + b"end"])
    assert found.failures[0] is None and found.failures[1] is not None
    assert found.failures[1].reason in (Reason.IMAGE_TRUNCATED, Reason.IMAGE_CORRUPT)
    assert (
        found.failures[2] is None and np.isnan(found.vectors[2]).all()
    )  # a picture: the encoder is at fault


def test_texts_come_as_a_list() -> None:
    found = encode_rows(Lengths(), ["ab", Failure(Reason.MODEL_FAILED, "x"), "abcd"])
    assert found.vectors[:, 0].tolist() == [2, 1, 4] and found.failures[1] is not None
