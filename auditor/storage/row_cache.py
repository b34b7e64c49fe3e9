"""The caches of rows share an index from content key to (shard, row), and a cache of decoded shards.

The index takes 24 bytes a key and decoded shards a fixed number of bytes, whatever the cache holds. Shards of
texts are Parquet, which is small; shards of vectors are Arrow files, which are read as fast as plain arrays.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
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
KEY_DIGITS = 64


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


@dataclass(frozen=True)
class ShardFormat:
    """A `ShardFormat` says how the shards of a folder are written and read, one table a file."""

    suffix: str
    put: Callable[[pa.Table, Path], None]
    get: Callable[[Path, list[str] | None], pa.Table]

    def files(self, folder: Path) -> list[Path]:
        """Return the shards of a folder, in the order of their names."""
        return sorted(folder.glob(f"*{self.suffix}"))

    def write(self, folder: Path, name: str, table: pa.Table) -> Path:
        """Write a shard whole (never half a file), and return its path."""
        path = folder / f"{name}{self.suffix}"
        write_whole(path, lambda temporary: self.put(table, temporary))
        return path

    def read(self, file: Path, columns: list[str] | None = None) -> pa.Table:
        """Read a shard, or some of its columns. Raises `OSError` or `ArrowException` for what is no shard."""
        return self.get(file, columns)


def _put_parquet(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path, compression="zstd", use_dictionary=False)


def _get_parquet(path: Path, columns: list[str] | None) -> pa.Table:
    return pq.read_table(path, columns=columns, use_threads=False)


def _put_arrow(table: pa.Table, path: Path) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def _get_arrow(path: Path, columns: list[str] | None) -> pa.Table:
    with pa.memory_map(str(path)) as source:  # mapped: of a column that is not looked at nothing is read
        table = pa.ipc.open_file(source).read_all()
    return table if columns is None else table.select(columns)


PARQUET = ShardFormat(".parquet", _put_parquet, _get_parquet)
ARROW = ShardFormat(".arrow", _put_arrow, _get_arrow)


class ShardIndex:
    """A `ShardIndex` knows the shard and row of each key in a folder of shards. A key may be in several
    shards, when it failed and was tried again: then the shard where it did not fail counts, else the first
    shard by name.

    A shard that cannot be read counts as absent, so that it is made again.
    """

    def __init__(self, folder: Path, form: ShardFormat) -> None:
        self.folder, self.form = folder, form
        self.files: list[Path] = []
        failures: dict[str, Failure] = {}
        keys, places, bad = [_short([])], [np.zeros((0, 2), np.int32)], [np.zeros(0, bool)]
        for file in form.files(folder):
            try:
                table = form.read(file, ["key", "error"])
            except (pa.ArrowException, OSError, ValueError) as error:
                log.warning("%s cannot be read and will be made again (%s)", file, error)
                continue
            failing = table["error"].is_valid().to_numpy()
            those = table.filter(pa.array(failing))
            failures.update(
                (k, Failure.parse(e))
                for k, e in zip(those["key"].to_pylist(), those["error"].to_pylist(), strict=True)
            )
            keys.append(_halves(_text_of(table["key"]), len(table)))
            shard = np.full(len(table), len(self.files), np.int32)
            places.append(np.column_stack([shard, np.arange(len(table), dtype=np.int32)]))
            bad.append(failing)
            self.files.append(file)
        all_keys, failed = np.concatenate(keys), np.concatenate(bad)
        order = np.argsort(all_keys[:, 0])
        if (
            np.diff(all_keys[order, 0]) == 0
        ).any():  # a key in several shards; else this order is the only one
            order = np.lexsort((failed, all_keys[:, 1], all_keys[:, 0]))  # stable: among equals by shard
            first = np.ones(len(order), dtype=bool)
            first[1:] = (all_keys[order[1:]] != all_keys[order[:-1]]).any(axis=1)
            order = order[first]
        self._keys, self._places = all_keys[order], np.concatenate(places)[order]
        # Keys are digests, so spread evenly: a table by their first bits leads next to each of them.
        self._shift = np.uint64(64 - max(1, len(order).bit_length()))
        marks = np.arange(2 ** (64 - int(self._shift)), dtype=np.uint64) << self._shift
        self._starts = np.searchsorted(self._keys[:, 0], marks)
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
        wanted, last = _short(keys), len(self._keys) - 1
        if last < 0:
            return np.zeros(len(wanted), np.intp), np.zeros(len(wanted), bool)
        first, second = wanted[:, 0], wanted[:, 1]
        positions = np.minimum(self._starts[first >> self._shift], last)
        found = np.zeros(len(wanted), dtype=bool)
        open_ = np.arange(len(wanted))
        while len(open_):  # forward, while the keys there are smaller
            here = self._keys[positions[open_]]
            high, low = first[open_], second[open_]
            found[open_] = (here[:, 0] == high) & (here[:, 1] == low)
            smaller = (here[:, 0] < high) | ((here[:, 0] == high) & (here[:, 1] < low))
            open_ = open_[smaller & (positions[open_] < last)]
            positions[open_] += 1
        return positions, found


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
            value = self._decode(self._index.form.read(file))
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


def _short(keys: Sequence[str]) -> NDArray[np.uint64]:
    """(n, 2): the first 16 bytes of hexadecimal keys, in two halves. A collision among 10^9 keys has a chance
    of 10^-21."""
    if set(map(len, keys)) - {KEY_DIGITS}:
        raise ValueError(f"content keys are SHA-256, in {KEY_DIGITS} hexadecimal digits")
    return _halves("".join(keys), len(keys))


def _text_of(column: pa.ChunkedArray) -> str:
    """All texts of a column, one after the other."""
    if not len(column):
        return ""
    values = column.combine_chunks()
    bounds = np.frombuffer(values.buffers()[1], np.int32)[values.offset : values.offset + len(values) + 1]
    return str(values.buffers()[2][int(bounds[0]) : int(bounds[-1])], "ascii")


def _halves(digits: str, n: int) -> NDArray[np.uint64]:
    """(n, 2) of n keys, one after the other."""
    data = bytes.fromhex(digits)
    if len(data) != n * KEY_DIGITS // 2:
        raise ValueError(f"content keys are SHA-256, in {KEY_DIGITS} hexadecimal digits")
    return np.frombuffer(data, dtype=">u8").reshape(n, KEY_DIGITS // 16)[:, :2].astype(np.uint64)
