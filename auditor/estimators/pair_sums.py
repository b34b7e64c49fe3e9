"""InfoNCE, NWJ and MINE need pairs of rows: these are their sums for a separable critic T(x, y) = f(x)·g(y).

Write T_ij = f(x_i)·g(y_j). The joint term of these bounds, E_XY T, is a plain sum of T_ii. The other one is
of pairs i ≠ j, E_X E_Y e^T or a mean of it within each row, and no sum over rows. So each hash block keeps,
beside its n_b rows' Σ T_ii, the vectors f(x_i), g(y_i) of at most `limit` of its rows: those whose contents
have the smallest hashes, as in `sketch.RowSample`. That is mergeable in any order, the same whoever does it,
and small (4,096 rows of 128 numbers, 2 MB, however many rows there are). With m_b rows kept,

    Q_ib = (n_b - [i in b]) · mean of e^{T_ij} over the kept j ≠ i of block b

stands for the sum over all of block b's rows, and is that sum where all rows are kept. A bootstrap that draws
block b W_b times needs nothing else: with N = Σ_b W_b n_b the mean over the other rows is, for row i of block
a, Σ_b W_b Q_ib / (N - W_a), and over all pairs

    Σ_ab W_a W_b G_ab / (N² - Σ_a W_a² n_a),   G_ab = Σ_{i in a} Q_ib n_a/m_a.

A row is never paired with a copy of itself: in a draw that holds a block twice that would count true pairs as
false ones, and InfoNCE of dependent rows would fall by log 2. Of one row alone nothing can be learned: all
three bounds are then 0.

Vectors of two critics share no space. Blocks that different critics scored (cross-fitting) are never paired:
the value is then the mean over the critics, each with the weight of its rows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auditor.sketch import Float, Floats

KEPT_ROWS = 4096
"""Rows whose vectors are kept, all blocks together."""
_CHUNK = 512
"""Rows of the score matrix at a time."""


class Scores(NamedTuple):
    """`Scores` are one critic's scores of the kept rows of its blocks."""

    blocks: NDArray[np.int64]
    """(b,) the blocks"""
    own: NDArray[np.int64]
    """(m,) index into `blocks` of each kept row"""
    true: Float
    """(m,) T_ii"""
    top: Float
    """(m,) max_j T_ij: taken off before e is raised to anything"""
    pair_sums: Float
    """(m, b) Q_ib · e^{-top_i}"""


@dataclass(frozen=True, eq=False)
class Reweighted:
    """`Reweighted` is a bound under several weightings of the blocks."""

    bounds: Float

    def values(self) -> Float:
        """Return the (r,) bounds in nats; NaN where a weighting leaves no rows."""
        return self.bounds


@dataclass(frozen=True, eq=False)
class PairSums(ABC):
    """`PairSums` are the sums and kept rows of each of `blocks` blocks."""

    kind: ClassVar[str]
    n: Float
    """(blocks,) rows"""
    t: Float
    """(blocks,) Σ T_ii over all rows"""
    critic: NDArray[np.uint64]
    """(blocks,) the critic that scored the block's rows (of its digest); 0: it has none"""
    block: NDArray[np.int64]
    """(m,) block of each kept row, ascending"""
    hashes: NDArray[np.uint64]
    """(m,) hash of each kept row's contents, ascending within a block"""
    f: NDArray[np.float32]
    """(m, k)"""
    g: NDArray[np.float32]
    """(m, k)"""
    limit: int
    """Rows kept a block, at most"""
    candidates: int
    """K: InfoNCE asks which of so many answers belongs to a query"""

    @classmethod
    def empty(cls, n_blocks: int, k: int, candidates: int = KEPT_ROWS) -> Self:
        """Return the neutral element; `k` is the dimension of f and g."""
        return cls(
            np.zeros(n_blocks),
            np.zeros(n_blocks),
            np.zeros(n_blocks, dtype=np.uint64),
            np.zeros(0, dtype=np.int64),
            np.zeros(0, dtype=np.uint64),
            np.zeros((0, k), dtype=np.float32),
            np.zeros((0, k), dtype=np.float32),
            max(2, KEPT_ROWS // n_blocks),
            candidates,
        )

    @classmethod
    def from_rows(
        cls,
        x: Floats,
        y: Floats,
        f: NDArray[np.float32],
        g: NDArray[np.float32],
        blocks: NDArray[np.int64],
        n_blocks: int,
        *,
        critic: str,
        candidates: int = KEPT_ROWS,
    ) -> Self:
        """Return the sums of n rows. They take the rows' contents x, y (for the hashes), f(x) and g(y) (n,
        k), blocks (n,) in 0..n_blocks-1, and the digest of the critic. O(n (d + k))."""
        true = np.einsum("ij,ij->i", f, g, dtype=np.float64)
        n = np.bincount(blocks, minlength=n_blocks).astype(np.float64)
        mark = np.uint64(max(1, int(critic[:16], 16)))
        return replace(
            cls.empty(n_blocks, f.shape[1], candidates),
            n=n,
            t=np.bincount(blocks, weights=true, minlength=n_blocks).astype(np.float64),
            critic=np.where(n > 0, mark, np.uint64(0)),
        )._keep_rows(blocks, _hashes(x, y), f, g)

    def _keep_rows(
        self,
        block: NDArray[np.int64],
        hashes: NDArray[np.uint64],
        f: NDArray[np.float32],
        g: NDArray[np.float32],
    ) -> Self:
        order = np.lexsort((hashes, block))
        sorted_block = block[order]
        first = np.searchsorted(sorted_block, sorted_block)
        keep = order[np.arange(len(order)) - first < self.limit]
        return replace(self, block=block[keep], hashes=hashes[keep], f=f[keep], g=g[keep])

    def merge(self, other: Self) -> Self:
        """Return the sums of both sets of rows. ValueError where kinds, blocks, dimensions, limits or
        candidates differ, or a block was scored by two critics."""
        own_sizes, other_sizes = (
            (s.kind, s.n.shape, s.f.shape[1], s.limit, s.candidates) if isinstance(s, PairSums) else type(s)
            for s in (self, other)
        )
        if own_sizes != other_sizes:
            raise ValueError(
                f"cannot merge sums of pairs of different kinds or sizes: {own_sizes} and {other_sizes}"
            )
        if ((self.critic != other.critic) & (self.critic > 0) & (other.critic > 0)).any():
            raise ValueError("two critics scored one block: cut the folds by hash blocks (block_folds)")
        return replace(
            self,
            n=self.n + other.n,
            t=self.t + other.t,
            critic=np.maximum(self.critic, other.critic),
        )._keep_rows(
            np.concatenate([self.block, other.block]),
            np.concatenate([self.hashes, other.hashes]),
            np.concatenate([self.f, other.f]),
            np.concatenate([self.g, other.g]),
        )

    @property
    def kept(self) -> Float:
        """Return (blocks,) rows whose vectors are kept."""
        return np.bincount(self.block, minlength=len(self.n)).astype(np.float64)

    @property
    def complete(self) -> bool:
        """Return whether all rows' vectors are kept: the value is then the bound on all of them."""
        return bool((self.kept == self.n).all())

    def reweighted(self, weights: Float) -> Reweighted:
        """Return the bound under each of (r, blocks) weights of the blocks, none negative. O(m² k) once for m
        kept rows, and O(m blocks) a weighting at most."""
        rows = weights @ self.n
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            return Reweighted(np.where(rows > 0, self._bounds(weights) / rows, np.nan))

    @abstractmethod
    def _bounds(self, weights: Float) -> Float:
        """(r,) the bound under each weighting times the rows that it leaves, summed over critics."""

    def values(self) -> Float:
        """Return (blocks,) the bound of each block on its own, in nats; NaN where a block has no rows."""
        return self.reweighted(np.eye(len(self.n))).values()

    def value(self) -> float:
        """Return the bound of all blocks together, in nats. ValueError where there are no rows."""
        if not self.n.sum():
            raise ValueError(f"{self.kind} of no rows is not defined")
        return float(self.reweighted(np.ones((1, len(self.n)))).values()[0])

    @cached_property
    def scores(self) -> tuple[Scores, ...]:
        """Return the scores of each critic's kept rows, computed once. O(m² k), in chunks of rows."""
        marks = self.critic[self.block]
        return tuple(self._scores(np.flatnonzero(marks == mark)) for mark in np.unique(marks))

    def _scores(self, rows: NDArray[np.int64]) -> Scores:
        f, g = self.f[rows].astype(np.float64), self.g[rows].astype(np.float64)
        blocks, own = np.unique(self.block[rows], return_inverse=True)
        starts = np.searchsorted(own, np.arange(len(blocks)))
        n, kept = self.n[blocks], np.bincount(own, minlength=len(blocks))
        true, top = np.einsum("ij,ij->i", f, g), np.empty(len(rows))
        pair_sums = np.empty((len(rows), len(blocks)))
        for start in range(0, len(rows), _CHUNK):
            part = np.arange(start, min(start + _CHUNK, len(rows)))
            t = f[part] @ g.T
            top[part] = t.max(axis=1)
            e = np.exp(t - top[part, None])
            e[part - start, part] = 0.0
            pair_sums[part] = np.add.reduceat(e, starts, axis=1)
        own_block = own[:, None] == np.arange(len(blocks))
        pair_sums *= np.maximum(n - own_block, 0.0) / np.maximum(kept - own_block, 1)
        return Scores(blocks, own, true, top, pair_sums)

    def _pair_means(self, scores: Scores, weights: Float) -> tuple[float, Float]:
        """Return c and (r,) means of e^{T - c} over the pairs i ≠ j of one critic's rows; 0 where there are
        no pairs."""
        c = float(scores.top.max())
        n = self.n[scores.blocks]
        share = n / self.kept[scores.blocks]
        of_block = np.zeros((len(scores.blocks), len(scores.own)))
        of_block[scores.own, np.arange(len(scores.own))] = share[scores.own] * np.exp(scores.top - c)
        g = of_block @ scores.pair_sums
        w = weights[:, scores.blocks]
        pairs = np.square(w @ n) - np.square(w) @ n
        total = np.einsum("ra,ab,rb->r", w, g, w, optimize=True)
        return c, np.where(pairs > 0, total / np.where(pairs > 0, pairs, 1.0), 0.0)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return plain arrays, for npz or Arrow (never pickle)."""
        return {
            "kind": np.array(self.kind),
            "limit": np.array(self.limit, dtype=np.int64),
            "candidates": np.array(self.candidates, dtype=np.int64),
            **{name: getattr(self, name) for name in ("n", "t", "critic", "block", "hashes", "f", "g")},
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, ArrayLike]) -> Self:
        """Restore sums from the arrays of `to_arrays`. ValueError where shapes do not fit or numbers make no
        sense."""
        got = cls(
            n=np.asarray(arrays["n"], dtype=np.float64),
            t=np.asarray(arrays["t"], dtype=np.float64),
            critic=np.asarray(arrays["critic"], dtype=np.uint64),
            block=np.asarray(arrays["block"], dtype=np.int64),
            hashes=np.asarray(arrays["hashes"], dtype=np.uint64),
            f=np.asarray(arrays["f"], dtype=np.float32),
            g=np.asarray(arrays["g"], dtype=np.float32),
            limit=int(np.asarray(arrays["limit"])),
            candidates=int(np.asarray(arrays["candidates"])),
        )
        blocks, kept = len(np.atleast_1d(got.n)), len(np.atleast_1d(got.block))
        fits = (
            {got.n.shape, got.t.shape, got.critic.shape} == {(blocks,)}
            and {got.block.shape, got.hashes.shape} == {(kept,)}
            and got.f.ndim == 2
            and got.f.shape == got.g.shape
            and len(got.f) == kept
        )
        if not fits:
            raise ValueError("not sums of pairs: the arrays do not fit one another")
        if not all(np.isfinite(a).all() for a in (got.n, got.t, got.f, got.g)):
            raise ValueError("not sums of pairs: some numbers are not finite")
        if kept and not 0 <= got.block.min() <= got.block.max() < blocks:
            raise ValueError(f"not sums of pairs: blocks must lie in 0..{blocks - 1}")
        if (got.kept != np.minimum(got.n, got.limit)).any() or ((got.critic > 0) != (got.n > 0)).any():
            raise ValueError("not sums of pairs: the kept rows are not those of the blocks")
        return got


def _hashes(x: Floats, y: Floats) -> NDArray[np.uint64]:
    """(n,) 64-bit blake2b hash of each pair's contents as float32, the same on every machine."""
    xs, ys = (np.ascontiguousarray(z, dtype="<f4") for z in (x, y))
    return np.array(
        [
            int.from_bytes(blake2b(a.tobytes() + b.tobytes(), digest_size=8, person=b"pair").digest(), "big")
            for a, b in zip(xs, ys, strict=True)
        ],
        dtype=np.uint64,
    )
