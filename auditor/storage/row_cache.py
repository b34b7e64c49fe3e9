"""The caches of rows share an index from content key to (shard, row), and a cache of decoded shards.

The index takes 24 bytes a key and decoded shards a fixed number of bytes, whatever the cache holds.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from auditor.errors import AuditError
from auditor.storage.atomic import write_whole
from schemas.record import Reason

log = logging.getLogger(__name__)

T = TypeVar("T")
DETAIL_CHARS = 300


class Failure(NamedTuple):
    """A `Failure` says why a content has no vector, or a prompt no answer."""

    reason: Reason
    detail: str

    def __str__(self) -> str:
        """Return the failure as it stands in a shard's `error` column, on one line."""
        detail = " ".join(self.detail.split())[:DETAIL_CHARS]
        return f"{self.reason.value}: {detail}" if detail else self.reason.value

    @classmethod
    def parse(cls, text: str) -> Failure:
        """Read a failure from the text in an `error` column. An error without a reason's name is the model's
        (model_failed)."""
        name, _, detail = text.partition(": ")
        try:
            return cls(Reason(name), detail)
        except ValueError:
            return cls(Reason.MODEL_FAILED, text)


class ShardIndex:
    """A `ShardIndex` knows the shard and row of each key in a folder of shards. A key may be in several
    shards, when it failed and was tried again: then the shard where it did not fail counts, else the first
    shard by name.

    A shard that cannot be read counts as absent, so that it is made again.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: list[Path] = []
        failures: dict[str, Failure] = {}
        keys, places, bad = [_short([])], [np.zeros((0, 2), np.int32)], [np.zeros(0, bool)]
        for file in sorted(folder.glob("*.parquet")):
            try:
                table = pq.read_table(file, columns=["key", "error"], use_threads=False)
            except (pa.ArrowException, OSError) as error:
                log.warning("%s cannot be read and will be made again (%s)", file, error)
                continue
            names, errors = table["key"].to_pylist(), table["error"].to_pylist()
            failures.update(
                (k, Failure.parse(e)) for k, e in zip(names, errors, strict=True) if e is not None
            )
            keys.append(_short(names))
            shard = np.full(len(names), len(self.files), np.int32)
            places.append(np.column_stack([shard, np.arange(len(names), dtype=np.int32)]))
            bad.append(np.array([e is not None for e in errors], dtype=bool))
            self.files.append(file)
        all_keys, failed = np.concatenate(keys), np.concatenate(bad)
        order = np.lexsort((failed, all_keys))  # stable: among equals, shards stay in order
        first = np.ones(len(order), dtype=bool)
        first[1:] = all_keys[order[1:]] != all_keys[order[:-1]]
        order = order[first]
        self._keys, self._places = all_keys[order], np.concatenate(places)[order]
        still_failed = failed[order][self._find(list(failures))[0]]
        self.failures: dict[str, Failure] = {
            key: failure
            for (key, failure), failing in zip(failures.items(), still_failed, strict=True)
            if failing
        }
        """The keys that only ever failed, and why."""

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and bool(self._find([key])[1][0])

    def places(self, keys: Sequence[str]) -> NDArray[np.int32]:
        """Return (n, 2): the shard and row of each key. Raises `AuditError` where a key is absent."""
        positions, present = self._find(keys)
        if not present.all():
            missing = np.flatnonzero(~present)
            raise AuditError(
                f"{self.folder}: {len(missing)} of {len(keys)} contents were never made, the first is "
                f"{keys[missing[0]]}; run the same command again"
            )
        return self._places[positions]

    def _find(self, keys: Sequence[str]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Return the position of each key among the sorted keys, and whether the key is at that position."""
        wanted = _short(keys)
        if len(self._keys) == 0:
            return np.zeros(len(wanted), np.intp), np.zeros(len(wanted), bool)
        positions = np.minimum(np.searchsorted(self._keys, wanted), len(self._keys) - 1)
        return positions, self._keys[positions] == wanted


class Decoded(Generic[T]):
    """`Decoded` holds the most recently used decoded shards of an index, at most `limit` bytes of them (but
    always one)."""

    def __init__(
        self, index: ShardIndex, decode: Callable[[pa.Table], T], size: Callable[[T], int], limit: int
    ) -> None:
        self._index, self._decode, self._size, self._limit = index, decode, size, limit
        self._held: OrderedDict[int, T] = OrderedDict()
        self.bytes = 0

    def __getitem__(self, shard: int) -> T:
        if shard in self._held:
            self._held.move_to_end(shard)
            return self._held[shard]
        file = self._index.files[shard]
        try:
            value = self._decode(pq.read_table(file, use_threads=False))
        except (pa.ArrowException, OSError) as error:
            raise AuditError(f"{file}: cannot be read ({error}); delete it and run again") from error
        self._held[shard] = value
        self.bytes += self._size(value)
        while self.bytes > self._limit and len(self._held) > 1:
            self.bytes -= self._size(self._held.popitem(last=False)[1])
        return value


def by_shard(places: NDArray[np.int32]) -> Iterator[tuple[int, NDArray[np.intp], NDArray[np.int32]]]:
    """Yield (shard, positions in `places`, rows in the shard), one shard at a time, so that each shard is
    decoded once a call."""
    order = np.argsort(places[:, 0], kind="stable")
    for group in np.split(order, np.flatnonzero(np.diff(places[order, 0])) + 1):
        if len(group):
            yield int(places[group[0], 0]), group, places[group, 1]


def write_table(path: Path, table: pa.Table) -> None:
    """Write a shard whole (never half a file)."""

    def write(temporary: Path) -> None:
        pq.write_table(table, temporary, compression="zstd", use_dictionary=False)

    write_whole(path, write)


def _short(keys: Sequence[str]) -> NDArray[np.bytes_]:
    """The first 16 bytes of hexadecimal keys: a collision among 10^9 keys has a chance of 10^-21."""
    data = bytes.fromhex("".join(key[:32] for key in keys))
    if len(data) != 16 * len(keys):
        raise ValueError("content keys are hexadecimal, of at least 32 digits")
    return np.frombuffer(data, dtype="S16")
