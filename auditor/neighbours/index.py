"""Nearest neighbours among rows are searched exactly, or by cells (IVF) where there are too many rows for
that.

FAISS proposes candidates in fp32; their distances are then taken again in float64, a pair by itself, and
equal ones are ordered by id. So neighbours depend neither on the order of rows, nor on how rows and queries
are cut into pieces, nor on the device, and `merge` of the k nearest of each piece is exact. (IVF learns its
cells from the rows of one index: there the pieces of the *rows* must be the same for the same result.)

Distances are Euclidean. Of unit rows the cosine distance is half the squared one, and the order is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auditor.errors import needed_for
from auditor.sketch import Float, as_rows

Kind = Literal["flat", "ivf"]
PROBE = 1 / 32
"""Share of the cells that are looked into: 2.5 times the queries a second of exact search of 200,000 rows."""
LEAST_IVF_ROWS = 10_000
"""Fewer rows than this are searched whole, whatever was asked for."""
EXACT_PAIRS = 2 * 10**10
"""Queries times rows up to which `auto` is exact: some 15 minutes of one core at d=768."""
_TRAINED_ON = 40  # rows a cell, as FAISS wants at least 39
_MARGIN = 8
_MOST_CANDIDATES = 1024  # GPU indexes give no more than 2,048
_CHUNK_PAIRS = 8192
_ROUNDING = 1e-5
"""How far fp32 distances may be off, as a share of squared norms."""

Float32 = NDArray[np.float32]
Ids = NDArray[Any]


class Neighbours(NamedTuple):
    """`Neighbours` holds the k nearest rows of n queries, nearest first."""

    distance: Float
    """(n, k) Euclidean"""
    ids: Ids
    """(n, k)"""


def choose_kind(rows: int, queries: int, kind: Literal["auto", "flat", "ivf"] = "auto") -> Kind:
    """Return the kind that `auto` stands for: exact as long as that is affordable."""
    if kind != "auto":
        return kind
    return "flat" if rows * queries <= EXACT_PAIRS else "ivf"


def cells(rows: int) -> int:
    """Return the number of cells of an IVF index: the power of two nearest to twice the root of the rows, 40
    rows a cell at least."""
    return min(2 ** round(np.log2(2 * np.sqrt(rows))), rows // _TRAINED_ON)


class Index:
    """An `Index` holds rows and searches them: on the first GPU where FAISS has one, else on the CPU's
    threads.

    Rows (n, d) stay in memory once (IVF: twice); equal rows are kept once. ids (n,) are integers or texts
    that sort, each once; their positions if absent. Building is O(n d), IVF O(40 c² d + n c d) with c cells.
    ValueError where there are no rows, one is not finite, or ids do not match.
    """

    def __init__(
        self,
        rows: ArrayLike,
        ids: ArrayLike | None = None,
        *,
        kind: Kind = "flat",
        probe: float = PROBE,
        seed: int = 0,
    ) -> None:
        z = np.ascontiguousarray(as_rows(rows, "rows"), dtype=np.float32)
        names = np.arange(len(z)) if ids is None else np.asarray(ids)
        if len(z) == 0 or names.shape != (len(z),):
            raise ValueError(f"{names.shape} ids for {len(z)} rows; an index needs at least one row")
        order = np.argsort(names, kind="stable")
        if (order[1:] < order[:-1]).any():
            z, names = z[order], names[order]
        first, self._members, self._starts = _copies(z)
        self._rows = z if len(first) == len(z) else z[first]
        self._ids = names
        self.kind: Kind = kind if len(self._rows) >= LEAST_IVF_ROWS else "flat"
        self._index = self._ivf(probe, seed) if self.kind == "ivf" else self._flat()

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def dim(self) -> int:
        """Return d, the dimension of the rows."""
        return self._rows.shape[1]

    def search(self, queries: ArrayLike, k: int, *, exact: bool = False) -> Neighbours:
        """Return the min(k, len) nearest rows of each query (n, d), O(n d len), IVF O(n d len probe).

        `exact`: whatever the kind (recall is measured against it). ValueError where dimensions differ or k is
        below 1.
        """
        q = np.ascontiguousarray(as_rows(queries, "queries"), dtype=np.float32)
        if q.shape[1] != self.dim or k < 1:
            raise ValueError(f"queries of dimension {q.shape[1]} and k={k} for rows of {self.dim}")
        k = min(k, len(self))
        distance, positions = np.empty((len(q), k)), np.empty((len(q), k), np.int64)
        pending, count = np.arange(len(q)), k + _MARGIN
        while len(pending) and count <= max(_MOST_CANDIDATES, k + _MARGIN):
            pending = pending[~self._settle(q, pending, k, count, exact, distance, positions)]
            count *= 8
        for i in pending:  # more rows than that at one distance, or too few in the cells looked into
            distance[i], positions[i] = self._search_all_rows(q[i], k)
        return Neighbours(np.sqrt(distance), self._ids[positions])

    def _flat(self) -> Any:
        """Build a flat index on the GPU; None on the CPU, where FAISS searches the rows as they lie."""
        faiss = _faiss()
        if faiss.get_num_gpus() == 0:
            return None
        index = _on_gpu(faiss.IndexFlatL2(self.dim))
        index.add(self._rows)
        return index

    def _ivf(self, probe: float, seed: int) -> Any:
        n, count = len(self._rows), cells(len(self._rows))
        faiss = _faiss()
        quantizer = faiss.IndexFlatL2(self.dim)
        index = _on_gpu(faiss.IndexIVFFlat(quantizer, self.dim, count))
        index.cp.niter, index.cp.seed = 10, seed % 2**31
        index.nprobe = max(1, round(probe * count))
        sample = np.random.default_rng(seed).choice(n, min(n, _TRAINED_ON * count), replace=False)
        index.train(self._rows[np.sort(sample)])
        index.add(self._rows)
        return index

    def _candidates(self, q: Float32, count: int, exact: bool) -> tuple[Float32, NDArray[np.int64]]:
        """(n, count) squared distances in fp32, and distinct rows; -1 where the cells hold no more."""
        count = min(count, len(self._rows))
        if self._index is None or (exact and self.kind == "ivf"):
            squared, candidates = _faiss().knn(q, self._rows, count)
        else:
            squared, candidates = self._index.search(q, count)
        return squared, candidates

    def _settle(
        self,
        queries: Float32,
        pending: NDArray[np.int64],
        k: int,
        count: int,
        exact: bool,
        distance: Float,
        positions: NDArray[np.int64],
    ) -> NDArray[np.bool_]:
        """Fill in the queries `pending` from `count` candidates, and return which of them are sure: no other
        row can be as near as their k-th neighbour."""
        rough, candidates = self._candidates(queries[pending], count, exact)
        sure = np.zeros(len(pending), dtype=bool)
        everything = rough.shape[1] == len(self._rows)
        for start in range(0, len(pending), step := max(1, _CHUNK_PAIRS // rough.shape[1])):
            part = slice(start, start + step)
            q, near = queries[pending[part]], candidates[part]
            squared = _squared(q[:, None, :], self._rows[near])
            squared[near < 0] = np.inf
            enough = self._copies_of(near).sum(axis=1) >= k
            if not enough.any():
                continue
            best, rows = self._first(squared[enough], near[enough], k)
            distance[pending[part][enough]], positions[pending[part][enough]] = best, rows
            last = np.where(near[enough, -1] < 0, np.inf, rough[part][enough, -1].astype(np.float64))
            norm = np.linalg.norm(q[enough].astype(np.float64), axis=1)
            off = _ROUNDING * (norm**2 + (norm + np.sqrt(np.maximum(best[:, -1], 0))) ** 2)
            sure[part][enough] = everything | (best[:, -1] + off < last)
        return sure

    def _search_all_rows(self, q: Float32, k: int) -> tuple[Float, NDArray[np.int64]]:
        """(k,) squared distances and positions of one query's nearest, over all rows."""
        squared = np.concatenate(
            [_squared(q, self._rows[i : i + _CHUNK_PAIRS]) for i in range(0, len(self._rows), _CHUNK_PAIRS)]
        )
        last = np.partition(squared, (most := min(k, len(squared)) - 1))[most]
        near = np.flatnonzero(squared <= last)
        best, rows = self._first(squared[None, near], near[None, :], k)
        return best[0], rows[0]

    def _copies_of(self, near: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many rows each distinct row stands for; 0 for -1."""
        return np.where(near < 0, 0, self._starts[near + 1] - self._starts[near])

    def _first(self, squared: Float, near: NDArray[np.int64], k: int) -> tuple[Float, NDArray[np.int64]]:
        """(n, k) the first by (distance, id) among all rows that distinct rows `near` (n, c) stand for."""
        n, c = near.shape
        counts = np.minimum(self._copies_of(near), k).ravel()
        candidate = np.repeat(np.arange(n * c), counts)
        inside = np.arange(len(candidate)) - np.repeat(np.cumsum(counts) - counts, counts)
        position = self._members[self._starts[near.ravel()[candidate]] + inside]
        query, value = candidate // c, squared.ravel()[candidate]
        order = np.lexsort((position, value, query))
        begins = np.searchsorted(query, np.arange(n))  # `query` ascends already
        take = order[begins[:, None] + np.arange(k)]
        return value[take], position[take]


def merge(parts: Sequence[Neighbours], k: int) -> Neighbours:
    """Return the k nearest of the union of disjoint sets of rows, from the k nearest in each, for the same
    queries. Fewer than k where all parts together have fewer. The order of the parts does not matter."""
    distance = np.concatenate([p.distance for p in parts], axis=1)
    ids = np.concatenate([p.ids for p in parts], axis=1)
    order = np.lexsort((ids, distance), axis=1)[:, :k]
    return Neighbours(np.take_along_axis(distance, order, 1), np.take_along_axis(ids, order, 1))


def recall(approximate: Float, exact: Float) -> float:
    """Return the share of the exact neighbours that were found, from distances (n, k) as found and (n, k)
    exact: a row as near as the last of them counts as one of them."""
    return float((approximate <= exact[:, -1:]).mean())


def nearest_distance(
    rows: ArrayLike, reference: ArrayLike, k: int = 1, *, leave_one_out: bool = False
) -> Float:
    """Return (n,) Euclidean distance of each row (n, d) to its k-th nearest reference row (m, d). Exact, O(n
    m d).

    leave_one_out: rows are the reference itself, and a row is not its own neighbour (a second copy of it is).
    ValueError where fewer than k neighbours exist.
    """
    ref = as_rows(reference, "reference")
    skip = int(leave_one_out)
    if not 1 <= k <= len(ref) - skip:
        raise ValueError(f"no {k}-th neighbour among {len(ref) - skip} reference rows")
    return Index(ref).search(rows, k + skip).distance[:, -1]


def _faiss() -> Any:
    with needed_for("the search for neighbours"):
        import faiss
    return faiss


def _on_gpu(index: Any) -> Any:
    faiss = _faiss()
    if faiss.get_num_gpus() == 0:
        return index
    return faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, index)


def _squared(a: Float32, b: Float32) -> Float:
    """Squared distances over the last axis, a pair by itself: its bits do not depend on the others."""
    difference = a.astype(np.float64) - b
    return np.asarray(np.einsum("...d,...d->...", difference, difference))


def _copies(rows: Float32) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return equal rows as groups, in the order of each group's first row: (u,) position of that row; (n,)
    positions, one group after the other, each ascending; (u + 1,) where each group starts among these."""
    clean = rows + np.float32(0)  # -0 becomes 0
    keys = np.array([blake2b(row, digest_size=16).digest() for row in clean], dtype="V16")
    order = np.argsort(keys, kind="stable")
    new = np.ones(len(order), dtype=bool)
    new[1:] = keys[order[1:]] != keys[order[:-1]]
    label = np.empty(len(order), np.int64)
    label[order] = np.cumsum(new) - 1
    first = order[new]
    rank = np.argsort(np.argsort(first))
    members = np.argsort(rank[label], kind="stable")
    counts = np.bincount(rank[label], minlength=len(first))
    return np.sort(first), members, np.concatenate([[0], np.cumsum(counts)])
