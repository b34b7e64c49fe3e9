"""Embedded contents are normalised, written as shards, and read back by key."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from auditor.errors import AuditError
from auditor.protocols import Array
from auditor.storage.row_cache import ARROW, Decoded, Failure, ShardIndex, by_shard
from schemas.embedding import embeddings
from schemas.record import Reason

Float32 = NDArray[np.float32]
CACHE_BYTES = 256 * 2**20


class Normalised(NamedTuple):
    """`normalise` gives unit rows, the length of each row before that, and which rows have no direction."""

    rows: Float32
    """(n, d); a row that has no direction is zero here."""
    norms: Float32
    """(n,) NaN where a row is not finite."""
    bad: NDArray[np.bool_]
    """(n,) rows that are zero or not finite."""


def normalise(vectors: Array) -> Normalised:
    """L2-normalise (n, d) vectors, each row by itself: a bad row changes no other row.

    Lengths are taken in float64, so that finite float32 rows never overflow; rows come out in float32.
    """
    wide = np.asarray(vectors, dtype=np.float64)
    norms = np.sqrt(np.einsum("ij,ij->i", wide, wide))
    bad = ~(np.isfinite(norms) & (norms > 0))
    unit = np.divide(wide, np.where(bad, 1.0, norms)[:, None])
    unit[bad] = 0.0
    longest = np.finfo(np.float32).max  # a finite row stays finite in its length too
    norms = np.where(np.isfinite(norms), np.minimum(norms, longest), norms)
    return Normalised(unit.astype(np.float32), norms.astype(np.float32), bad)


def embedding_table(keys: Sequence[str], vectors: Array, failures: Sequence[Failure | None]) -> pa.Table:
    """Return a shard of embedded contents: `vectors` (n, d) as an encoder gave them, normalised here; a
    content with a failure, or whose vector has no direction (non_finite_embedding), has a null vector (zeros
    in its place) and its error."""
    unit = normalise(vectors)
    errors = [None if failure is None else str(failure) for failure in _all_failures(unit, failures)]
    null = np.array([e is not None for e in errors], dtype=bool)
    dim = vectors.shape[1]
    flat = pa.array(np.where(null[:, None], np.float32(0), unit.rows).reshape(-1))
    return pa.table(
        [
            pa.array(keys, pa.string()),
            pa.FixedSizeListArray.from_arrays(flat, dim, mask=pa.array(null)),
            pa.array(unit.norms, pa.float32(), mask=null),
            pa.array(errors, pa.string()),
        ],
        schema=embeddings(dim),
    )


def _all_failures(unit: Normalised, failures: Sequence[Failure | None]) -> list[Failure | None]:
    """Return why each content has no vector: the encoder failed, or the vector has no direction."""
    reasons = list(failures)
    for row in np.flatnonzero(unit.bad).tolist():
        if reasons[row] is None:
            what = "the vector is zero" if unit.norms[row] == 0 else "the vector is not finite"
            reasons[row] = Failure(Reason.NON_FINITE_EMBEDDING, what)
    return reasons


class UnitVectors(Protocol):
    """`UnitVectors` gives the directions of embedded contents by key."""

    def errors(self) -> dict[str, Failure]:
        """Return the contents that have no vector, and why."""
        ...

    def rows(self, keys: Sequence[str]) -> Float32:
        """Return (n, d) unit rows, in the order of `keys` (which may repeat)."""
        ...


class Vectors(UnitVectors, Protocol):
    """`Vectors` gives directions and lengths of embedded contents by key."""

    def norms(self, keys: Sequence[str]) -> Float32:
        """Return (n,) lengths before normalising."""
        ...


class Embeddings:
    """`Embeddings` holds contents that were just embedded, in memory. It gives the same vectors and errors as
    an `EmbeddingStore` of them."""

    def __init__(self, keys: Sequence[str], vectors: Array, failures: Sequence[Failure | None]) -> None:
        """`vectors` (n, d) as the encoder gave them."""
        unit = normalise(vectors)
        self._unit = _Vectors(unit.rows, unit.norms)
        self._row_of = {key: row for row, key in enumerate(keys)}
        self._errors = {
            key: Failure.parse(str(failure))
            for key, failure in zip(keys, _all_failures(unit, failures), strict=True)
            if failure is not None
        }

    def errors(self) -> dict[str, Failure]:
        return self._errors

    def rows(self, keys: Sequence[str]) -> Float32:
        return self._unit.rows[self._places(keys)]

    def norms(self, keys: Sequence[str]) -> Float32:
        return self._unit.norms[self._places(keys)]

    def _places(self, keys: Sequence[str]) -> NDArray[np.intp]:
        for key in keys:
            if key in self._errors:
                raise AuditError(f"{key} has no vector ({self._errors[key]})")
        return np.array([self._row_of[key] for key in keys], dtype=np.intp)


class _Vectors(NamedTuple):
    rows: Float32
    norms: Float32


class EmbeddingStore:
    """An `EmbeddingStore` reads a folder of shards of one encoder's embedded contents, as it is when the
    store is opened.

    Memory: 24 bytes a key, and at most `cache_bytes` of decoded shards.
    """

    def __init__(self, folder: Path, cache_bytes: int = CACHE_BYTES) -> None:
        self._index = ShardIndex(folder, ARROW)
        self._shards = Decoded(self._index, _decode, lambda v: v.rows.nbytes + v.norms.nbytes, cache_bytes)

    def __len__(self) -> int:
        return len(self._index)

    def __contains__(self, key: object) -> bool:
        """Whether the content has been through the encoder (it may have failed)."""
        return key in self._index

    def errors(self) -> dict[str, Failure]:
        """Return the contents that have no vector, and why."""
        return self._index.failures

    def rows(self, keys: Sequence[str]) -> Float32:
        """Return (n, d) unit rows, in the order of `keys` (which may repeat). Raises `AuditError` where a
        content was never embedded or has no vector. Without keys, d is the folder's (0 where it is empty)."""
        return self._gather(keys).rows

    def norms(self, keys: Sequence[str]) -> Float32:
        """Return (n,) lengths before normalising. Raises as `rows` does."""
        return self._gather(keys).norms

    def _gather(self, keys: Sequence[str]) -> _Vectors:
        places = self._index.places(keys)
        for key in keys if self._index.failures else ():
            if key in self._index.failures:
                raise AuditError(f"{self._index.folder}: {key} has no vector ({self._index.failures[key]})")
        dim = self._shards[0].rows.shape[1] if self._index.files else 0
        rows, norms = np.empty((len(keys), dim), np.float32), np.empty(len(keys), np.float32)
        for shard, positions, shard_rows in by_shard(places):
            vectors, here, there = self._shards[shard], _span(positions), _span(shard_rows)
            rows[here], norms[here] = vectors.rows[there], vectors.norms[there]
        return _Vectors(rows, norms)


def _span(places: NDArray[np.integer]) -> NDArray[np.integer] | slice:
    """The same places as a slice where they stand side by side: that is copied many times faster."""
    first, last = int(places[0]), int(places[-1])
    if last - first + 1 == len(places) and (np.diff(places) == 1).all():
        return slice(first, last + 1)
    return places


def _decode(table: pa.Table) -> _Vectors:
    """The vectors as they lie in the file, without a copy. Rows that are null there are zero."""
    (column,) = table["vector"].chunks or [table["vector"].combine_chunks()]
    rows = column.values.to_numpy().reshape(len(column), column.type.list_size)
    return _Vectors(rows, table["norm"].to_numpy())
