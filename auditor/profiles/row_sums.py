"""This module turns embedded rows into their profile: all sums of one unit of work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditor.estimators.crossfit import CrossFitted
from auditor.profiles.profile import CONTENTS, SKETCHED, Norms, Profile
from auditor.profiles.rows import RowKeys, Rows, embedded
from auditor.protocols import Critic, Sums
from auditor.sketch import RowSample, Sketch
from auditor.sketch.blocks import HASH_BLOCKS, hash_blocks
from auditor.storage.embedding_store import Vectors


def sketch_rows(
    rows: Rows, norms: NDArray[np.floating[Any]], critics: Sequence[Critic | CrossFitted], sample: int
) -> Profile:
    """Sketch one shard of rows, O(n d²); `norms` (n, 4) as `content_norms` gives them."""
    has = np.column_stack([rows.has[name] for name in CONTENTS])
    vectors = {name: getattr(rows, name) for name in SKETCHED}
    present = {**rows.has, "x": rows.has["image"] | rows.has["text"]}
    labelled = present["x"] & rows.has["response"] & rows.has["reference"]
    blocks = hash_blocks(rows.groups)

    def sums(answer: NDArray[np.float32], mask: NDArray[np.bool_]) -> tuple[Sums, ...]:
        return tuple(critic.sums(rows.x[mask], answer[mask], blocks[mask], HASH_BLOCKS) for critic in critics)

    answered = present["x"] & rows.has["response"]
    model = sums(rows.response, answered)
    critic_sums = {
        "model": model,
        # Where every answered row is labelled these are the same sums, and a third of the work.
        "emi_model": model if np.array_equal(answered, labelled) else sums(rows.response, labelled),
        "emi_reference": sums(rows.reference, labelled),
    }
    wide = np.asarray(norms, dtype=np.float64)
    kept = RowSample.from_rows(
        rows.ids,
        rows.base_ids,
        rows.groups,
        {
            **{name: z for name, z in vectors.items() if z.shape[1]},
            "has": has.astype(np.float32),
            "norm": norms,
            **({} if rows.chars is None else {"chars": rows.chars}),
        },
        sample,
    )
    moments: dict[str, Sketch] = {}
    if not kept.complete:
        moments = {name: _sketch(vectors[name][present[name]]) for name in SKETCHED}
    return Profile(
        moments,
        critic_sums,
        Norms(has.sum(axis=0).astype(np.float64), wide.sum(axis=0), np.square(wide).sum(axis=0)),
        kept,
    )


def sketch_shard(
    keys: Sequence[RowKeys],
    images: Vectors | None,
    texts: Vectors,
    critics: Sequence[Critic | CrossFitted],
    sample: int,
) -> Profile:
    """Look the rows' vectors up and sketch them. Every content must have a vector (see `rows.usable`)."""
    return sketch_rows(embedded(keys, images, texts), content_norms(keys, images, texts), critics, sample)


def content_norms(keys: Sequence[RowKeys], images: Vectors | None, texts: Vectors) -> NDArray[np.float32]:
    """Return (n, 4) the length of each content's vector before normalising (of several images their mean; 0:
    none)."""
    out = np.zeros((len(keys), len(CONTENTS)), np.float32)
    if images is not None:
        counts = np.array([len(k.images) for k in keys], dtype=np.int64)
        owner = np.repeat(np.arange(len(keys)), counts)
        lengths = images.norms([key for k in keys for key in k.images])
        sums = np.bincount(owner, weights=lengths, minlength=len(keys))
        out[:, 0] = sums / np.maximum(counts, 1)
    for column, name in enumerate(CONTENTS[1:], start=1):
        present = [(row, key) for row, k in enumerate(keys) if (key := getattr(k, name)) is not None]
        if present:
            out[[row for row, _ in present], column] = texts.norms([key for _, key in present])
    return out


def _sketch(rows: NDArray[np.float32]) -> Sketch:
    return Sketch.from_rows(rows) if rows.shape[1] else Sketch.empty(0)
