"""This module sets rows that raise apart, so that their neighbours keep their bits."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple, cast, overload

import numpy as np
from PIL import Image as Pillow

from auditor.errors import RowError
from auditor.protocols import Array, Encoder
from auditor.records.pictures import decode
from auditor.storage.row_cache import Failure
from schemas.record import Reason

BLANK_TEXT = "."
"""Stands in for a text: every tokenizer knows it."""

Content = bytes | str


class Encoded(NamedTuple):
    """This tuple holds vectors as the encoder gave them (n, d), and why a row has none (its vector is a
    blank's)."""

    vectors: Array
    failures: list[Failure | None]


def encode_rows(encoder: Encoder, contents: Sequence[Content | Failure]) -> Encoded:
    """Encode contents, which may be read when they are asked for. One that fails (or comes as a `Failure`) is
    replaced by a blank, in its own place. An image that does not decode, which shows here first, fails with
    the decoder's reason.

    Raises what the encoder raises where no single row is at fault. O(n); where rows raise, they are found by
    halving: each costs about two more passes.
    """
    if not contents:  # an encoder need not know what to make of none
        return Encoded(np.zeros((0, encoder.dim), np.float32), [])
    blank = blank_png() if encoder.modality == "image" else BLANK_TEXT
    rows = _Rows(contents, blank)
    try:
        vectors = _encode(encoder, rows)
    except Exception:
        _encode(encoder, [blank])  # where even that fails, it is the encoder's fault and nobody's row
        rows.failures.update(_failing_rows(encoder, rows, 0))
        vectors = _encode(encoder, rows)
    if encoder.modality == "image":
        for row in np.flatnonzero(~np.isfinite(vectors).all(axis=1)).tolist():
            if row not in rows.failures and (failure := _undecodable(rows[row])) is not None:
                rows.failures[row] = failure
    return Encoded(vectors, [rows.failures.get(row) for row in range(len(rows))])


class _Rows(Sequence[Content]):
    """Contents as the encoder is given them: asked for when it asks, with a blank in the place of each that
    fails."""

    def __init__(self, contents: Sequence[Content | Failure], blank: Content) -> None:
        self._contents, self._blank = contents, blank
        self.failures: dict[int, Failure] = {}

    def __len__(self) -> int:
        return len(self._contents)

    @overload
    def __getitem__(self, index: int) -> Content: ...
    @overload
    def __getitem__(self, index: slice) -> list[Content]: ...
    def __getitem__(self, index: int | slice) -> Content | list[Content]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        content = self.failures.get(place) or self._contents[place]
        if isinstance(content, Failure):
            self.failures[place] = content
            return self._blank
        return content


def failure_of(error: Exception) -> Failure:
    """Return what an exception says about the row that raised it."""
    if isinstance(error, RowError):
        return Failure(error.reason, error.detail)
    return Failure(Reason.MODEL_FAILED, f"{type(error).__name__}: {error}")


@cache
def blank_png() -> bytes:
    """Return a small grey image."""
    file = io.BytesIO()
    Pillow.new("RGB", (32, 32), (128, 128, 128)).save(file, "PNG")
    return file.getvalue()


def _failing_rows(encoder: Encoder, rows: Sequence[Content], start: int) -> Iterator[tuple[int, Failure]]:
    try:
        _encode(encoder, rows)
    except Exception as error:
        if len(rows) == 1:
            yield start, _undecodable(rows[0]) or failure_of(error)
            return
        middle = len(rows) // 2
        yield from _failing_rows(encoder, rows[:middle], start)
        yield from _failing_rows(encoder, rows[middle:], start + middle)


def _undecodable(content: Content) -> Failure | None:
    """Why a content is no picture; None where it is one, or a text."""
    if isinstance(content, str):
        return None
    try:
        decode(content, None)
    except RowError as error:
        return failure_of(error)
    return None


def _encode(encoder: Encoder, rows: Sequence[Content]) -> Array:
    given = rows if encoder.modality == "image" else list(rows)  # tokenizers want a list
    vectors = np.asarray(encoder.encode(cast(Any, given)))
    if vectors.shape != (len(rows), encoder.dim):
        raise ValueError(f"the encoder gave {vectors.shape} for {len(rows)} rows of {encoder.dim} numbers")
    return vectors
