"""This module is the contract of an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from auditor.encoders.isolation import encode_rows
from auditor.protocols import Array, Encoder
from auditor.testing.contents import NO_IMAGE, STRANGE_TEXTS, TEXTS, encoded, pictures
from auditor.testing.contracts import check_identity, require, same_bits


def check_encoder(encoder: Encoder, contents: Sequence[bytes] | Sequence[str] | None = None) -> None:
    """Check that `encoder` can be used in an audit: shape, type and identity; the same bits every time, for a
    row whoever comes with it and in whatever order; different vectors for different contents; contents that
    cannot be encoded leave their neighbours alone.

    `contents`: four or more different ones of its modality (default: small pictures, or short texts).

    Raises:
        AssertionError: a contract is broken; the message says which.
    """
    require(
        isinstance(encoder, Encoder),
        f"{type(encoder).__name__}: no Encoder (modality, dim, identity, encode)",
    )
    who = f"{encoder.modality} encoder {type(encoder).__name__}"
    require(encoder.modality in ("image", "text"), f"{who}: modality is neither image nor text")
    require(isinstance(encoder.dim, int) and encoder.dim > 0, f"{who}: dim is {encoder.dim!r}")
    check_identity(who, encoder.identity, encoder.identity)
    rows: list[Any] = list(contents or (_images() if encoder.modality == "image" else TEXTS))
    vectors = _encode(encoder, rows, who)
    require(bool(np.isfinite(vectors).all()), f"{who}: vectors of good contents are not finite")
    different = len({vector.tobytes() for vector in vectors})
    require(different == len(set(rows)), f"{who}: different contents have the same vector")
    require(
        same_bits(vectors, _encode(encoder, rows, who)), f"{who}: the same contents have other bits again"
    )
    order = list(range(len(rows)))[::-1]
    turned = _encode(encoder, [rows[i] for i in order], who)
    require(same_bits(vectors[order], turned), f"{who}: a row's bits depend on its place among the others")
    for i, row in enumerate(rows):
        alone = _encode(encoder, [row], who)
        require(
            same_bits(vectors[i : i + 1], alone), f"{who}: row {i} has other bits alone than among others"
        )
    many = _encode(encoder, rows * 7, who)
    require(same_bits(np.tile(vectors, (7, 1)), many), f"{who}: a row's bits depend on how many come with it")
    check_identity(who, encoder.identity, encoder.identity)
    _check_strange(encoder, rows[:2], vectors[:2], who)


def _check_strange(encoder: Encoder, good: list[Any], vectors: Array, who: str) -> None:
    """Check contents that may not be encodable, between two good ones."""
    strange: Sequence[Any] = (NO_IMAGE,) if encoder.modality == "image" else STRANGE_TEXTS
    for content in strange:
        shown = repr(content[:20])
        try:
            rows = encode_rows(encoder, [good[0], content, good[1]])
        except Exception as error:
            raise AssertionError(f"{who}: {shown} among good contents raises ({error!r})") from error
        kept = same_bits(np.ascontiguousarray(rows.vectors[[0, 2]]), vectors)
        require(
            kept and rows.failures[0] is None is rows.failures[2], f"{who}: {shown} changes its neighbours"
        )
        reported = rows.failures[1] is not None or bool(np.isnan(rows.vectors[1]).any())
        require(
            encoder.modality == "text" or reported,
            f"{who}: {shown} is no image, and has a vector: raise, or give a row of NaN",
        )


def _images() -> list[bytes]:
    return [encoded(picture) for picture in pictures()]


def _encode(encoder: Encoder, rows: Sequence[Any], who: str) -> Array:
    vectors = encoder.encode(cast(Any, rows))
    require(isinstance(vectors, np.ndarray), f"{who}: encode gives {type(vectors).__name__}, no numpy array")
    shape = (len(rows), encoder.dim)
    require(vectors.shape == shape, f"{who}: encode gives shape {vectors.shape}, not {shape}")
    require(vectors.dtype == np.float32, f"{who}: encode gives {vectors.dtype}, not float32")
    return vectors
