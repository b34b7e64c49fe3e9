"""From embedded rows to all the sums that measures are made of: one monoid per scenario and model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from hashlib import sha256
from json import dumps
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auditor.estimators.club import CLUB
from auditor.estimators.club_sums import ClubSums
from auditor.estimators.crossfit import FoldedClub
from auditor.profiles.rows import RowKeys, Rows, embedded
from auditor.sketch import Float, RowSample, Sketch
from auditor.sketch.blocks import HASH_BLOCKS, hash_blocks
from auditor.sketch.merge_tree import tree_merge
from auditor.storage.embedding_store import Vectors
from auditor.storage.npz import opened, write_arrays

CONTENTS = ("image", "text", "response", "reference")
"""Contents of a row; the order of the columns `has` and `norm` of a row sample."""
SKETCHED = ("image", "text", "x", "response", "reference")
PAIRS = ("model", "emi_model", "emi_reference")
"""CLUB sums kept per critic: of (x, answer) over every answered row, and of (x, answer) and (x, reference)
over the rows that have both, so that EMI compares the two over the same inputs."""

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class RowItem:
    """A row to be sketched. Its key stands for the record and every content of it."""

    key: str
    row: RowKeys


def row_items(rows: Iterable[RowKeys]) -> list[RowItem]:
    """Rows as items of shards, in their order."""
    return [RowItem(sha256(dumps(astuple(row)).encode()).hexdigest(), row) for row in rows]


@dataclass(frozen=True, eq=False)
class Norms:
    """Sums over the lengths that vectors had before they were normalised, a column a content."""

    n: Float
    """(4,)"""
    sums: Float
    """(4,) Σ‖v‖"""
    squares: Float
    """(4,) Σ‖v‖²"""

    def merge(self, other: Norms) -> Norms:
        return Norms(self.n + other.n, self.sums + other.sums, self.squares + other.squares)

    def descriptors(self) -> dict[str, float | None]:
        """Mean and standard deviation of each content's norms; None where no row has it."""
        out: dict[str, float | None] = {}
        for i, name in enumerate(CONTENTS):
            n = self.n[i]
            mean = float(self.sums[i] / n) if n else None
            out[f"{name}_norm"] = mean
            out[f"{name}_norm_std"] = (
                None if mean is None else float(np.sqrt(max(self.squares[i] / n - mean**2, 0.0)))
            )
        return out


@dataclass(frozen=True, eq=False)
class SketchSet:
    """Everything kept of the rows of one scenario under one model."""

    sketches: Mapping[str, Sketch]
    """SKETCHED -> the rows that have it"""
    club: Mapping[str, tuple[ClubSums, ...]]
    """PAIRS -> sums over the hash blocks, one a critic"""
    norms: Norms
    sample: RowSample
    """Its rows: SKETCHED -> (m, d), zeros where a row has none; `has` (m, 4) of 0 and 1; `norm` (m, 4)"""

    def merge(self, other: SketchSet) -> SketchSet:
        """Of both sets of rows. ValueError where encoders' dimensions, critics or sample sizes differ."""
        if {p: len(c) for p, c in self.club.items()} != {p: len(c) for p, c in other.club.items()}:
            raise ValueError("cannot merge sketches made with different critics")
        return SketchSet(
            {name: sketch.merge(other.sketches[name]) for name, sketch in self.sketches.items()},
            {
                pair: tuple(a.merge(b) for a, b in zip(sums, other.club[pair], strict=True))
                for pair, sums in self.club.items()
            },
            self.norms.merge(other.norms),
            self.sample.merge(other.sample),
        )

    def to_arrays(self) -> Arrays:
        """Plain arrays, for npz (never pickle)."""
        parts: list[tuple[str, Mapping[str, ArrayLike]]] = [
            *((f"sketch.{name}.", sketch.to_arrays()) for name, sketch in self.sketches.items()),
            *(
                (f"club.{pair}.{i}.", sums.to_arrays())
                for pair, critics in self.club.items()
                for i, sums in enumerate(critics)
            ),
            ("norms.", {"n": self.norms.n, "sums": self.norms.sums, "squares": self.norms.squares}),
            ("sample.", self.sample.to_arrays()),
        ]
        return {prefix + name: np.asarray(a) for prefix, arrays in parts for name, a in arrays.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> SketchSet:
        """Inverse of `to_arrays`. ValueError or KeyError where arrays are missing or do not fit."""

        def under(prefix: str) -> Arrays:
            return {k.removeprefix(prefix): a for k, a in arrays.items() if k.startswith(prefix)}

        critics = len({key.split(".")[2] for key in arrays if key.startswith(f"club.{PAIRS[0]}.")})
        return cls(
            {name: Sketch.from_arrays(under(f"sketch.{name}.")) for name in SKETCHED},
            {
                pair: tuple(ClubSums.from_arrays(under(f"club.{pair}.{i}.")) for i in range(critics))
                for pair in PAIRS
            },
            Norms(**under("norms.")),
            RowSample.from_arrays(under("sample.")),
        )


def having(sample: RowSample, *names: str) -> NDArray[np.bool_]:
    """(m,) which sampled rows have every one of `names`: contents, or x, the query (an image or a text)."""
    has = {name: sample.rows["has"][:, i] > 0 for i, name in enumerate(CONTENTS)}
    has["x"] = has["image"] | has["text"]
    return np.asarray(np.logical_and.reduce([has[name] for name in names]))


def sketch_rows(
    rows: Rows, norms: NDArray[np.floating[Any]], critics: Sequence[CLUB | FoldedClub], sample: int
) -> SketchSet:
    """Sketch of one shard of rows, O(n d²); `norms` (n, 4) as `content_norms` gives them."""
    has = np.column_stack([rows.has[name] for name in CONTENTS])
    vectors = {name: getattr(rows, name) for name in SKETCHED}
    present = {**rows.has, "x": rows.has["image"] | rows.has["text"]}
    labelled = present["x"] & rows.has["response"] & rows.has["reference"]
    blocks = hash_blocks(rows.base_ids)

    def sums(answer: NDArray[np.float32], of: NDArray[np.bool_]) -> tuple[ClubSums, ...]:
        return tuple(critic.sums(rows.x[of], answer[of], blocks[of], HASH_BLOCKS) for critic in critics)

    answered = present["x"] & rows.has["response"]
    model = sums(rows.response, answered)
    club = {
        "model": model,
        # Where every answered row is labelled these are the same sums, and a third of the work.
        "emi_model": model if np.array_equal(answered, labelled) else sums(rows.response, labelled),
        "emi_reference": sums(rows.reference, labelled),
    }
    wide = np.asarray(norms, dtype=np.float64)
    return SketchSet(
        {name: _sketch(vectors[name][present[name]]) for name in SKETCHED},
        club,
        Norms(has.sum(axis=0).astype(np.float64), wide.sum(axis=0), np.square(wide).sum(axis=0)),
        RowSample.from_rows(
            rows.ids,
            rows.base_ids,
            {
                **{name: z for name, z in vectors.items() if z.shape[1]},
                "has": has.astype(np.float32),
                "norm": norms,
            },
            sample,
        ),
    )


def sketch_shard(
    keys: Sequence[RowKeys],
    images: Vectors | None,
    texts: Vectors,
    critics: Sequence[CLUB | FoldedClub],
    sample: int,
) -> SketchSet:
    """Look the rows' vectors up and sketch them. Every content must have a vector (see `rows.usable`)."""
    return sketch_rows(embedded(keys, images, texts), content_norms(keys, images, texts), critics, sample)


def content_norms(keys: Sequence[RowKeys], images: Vectors | None, texts: Vectors) -> NDArray[np.float32]:
    """(n, 4) length of each content's vector before normalising (of several images their mean; 0: none)."""
    out = np.zeros((len(keys), len(CONTENTS)), np.float32)
    if images is not None:
        counts = np.array([len(k.images) for k in keys], dtype=np.int64)
        owner = np.repeat(np.arange(len(keys)), counts)
        lengths = images.norms([key for k in keys for key in k.images])
        sums = np.bincount(owner, weights=lengths, minlength=len(keys))
        out[:, 0] = sums / np.maximum(counts, 1)
    for column, name in enumerate(CONTENTS[1:], start=1):
        found = [(row, key) for row, k in enumerate(keys) if (key := getattr(k, name)) is not None]
        if found:
            out[[row for row, _ in found], column] = texts.norms([key for _, key in found])
    return out


def merged(sets: Iterable[SketchSet]) -> SketchSet:
    """All shards' sets, in their order (see `tree_merge`): in another the last bits differ. ValueError where
    there are none."""
    total = tree_merge((1, each) for each in sets)
    if total is None:
        raise ValueError("no sketches to merge")
    return total


def write_sketches(path: Path, sketches: SketchSet) -> None:
    """Write a shard's set whole (npz)."""
    write_arrays(path, sketches.to_arrays())


def read_sketches(path: Path) -> SketchSet:
    """A set that `write_sketches` wrote. Raises `AuditError` where the file is none."""
    with opened(path) as file:
        return SketchSet.from_arrays(dict(file))


def _sketch(rows: NDArray[np.float32]) -> Sketch:
    return Sketch.from_rows(rows) if rows.shape[1] else Sketch.empty(0)
