"""This module makes the pool that the MI critic is trained on: pairs of (query, answer) of every scenario and
model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from auditor.errors import AuditError
from auditor.estimators.crossfit import block_folds
from auditor.profiles.profile import GroupKey
from auditor.profiles.rows import RowKeys, embedded
from auditor.sketch.blocks import hash_blocks
from auditor.storage.embedding_store import EmbeddingStore
from auditor.storage.npz import write_arrays

Float32 = NDArray[np.float32]
CHUNK = 4096


class Pair(NamedTuple):
    """A pair is a row, and which of its answers is paired with its query."""

    row: RowKeys
    answer: str
    """response or reference"""


@dataclass(frozen=True)
class Pairs:
    """These are training pairs; `groups` (n,) holds together the rows of one group (the copies of one
    record among them), and `blocks` (n,) are the hash blocks of the groups."""

    x: Float32
    y: Float32
    groups: NDArray[np.int64]
    blocks: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.x)

    def write(self, path: Path) -> None:
        """Write the pairs whole (npz)."""
        write_arrays(path, {name: getattr(self, name) for name in ("x", "y", "groups", "blocks")})

    @classmethod
    def read(cls, path: Path) -> Pairs:
        with np.load(path, allow_pickle=False) as file:
            return cls(file["x"], file["y"], file["groups"], file["blocks"])

    def but(self, fold: int, folds: int) -> Pairs:
        """Return the pairs of all other folds of hash blocks (see `block_folds`)."""
        kept = block_folds(self.blocks, folds) != fold
        return Pairs(self.x[kept], self.y[kept], self.groups[kept], self.blocks[kept])


def choose_pairs(
    plans: Mapping[GroupKey, Sequence[RowKeys]],
    max_rows: int,
    seed: int,
    contents: Literal["both", "references"] = "both",
) -> list[Pair]:
    """Choose the pool of (scenario, model) -> rows, as the authors do it: every subset in one pool, the
    critic trained once. Every row gives both of its pairs, so answers and references weigh the same: EMI is a
    difference between the two, and a critic that has seen more of one would favour it. `references`: the
    pairs with correct answers alone, each once a scenario, whatever the number of models. Beyond `max_rows` a
    seeded sample."""
    if contents == "references":
        plans = _once(plans)
    pairs = [
        Pair(row, answer)
        for rows in plans.values()
        for answer in (("response", "reference") if contents == "both" else ("reference",))
        for row in rows
        if getattr(row, answer) is not None and (row.images or row.text is not None)
    ]
    if len(pairs) <= max_rows:
        return pairs
    kept = np.random.default_rng(seed).choice(len(pairs), max_rows, replace=False)
    return [pairs[i] for i in np.sort(kept)]


def _once(plans: Mapping[GroupKey, Sequence[RowKeys]]) -> dict[GroupKey, list[RowKeys]]:
    """Return for each scenario and model the rows that no model before it has with a correct answer."""
    seen: dict[str, set[str]] = {}
    found = {}
    for key, rows in plans.items():
        known = seen.setdefault(key.scenario, set())
        found[key] = [row for row in rows if row.record_id not in known]
        known |= {row.record_id for row in rows if row.reference is not None}
    return found


def pairs_digest(pairs: Sequence[Pair]) -> str:
    """Return the digest of the pool's content, in its order."""
    state = blake2b(digest_size=16)
    for row, answer in pairs:
        state.update("\0".join((*row.images, row.text or "", getattr(row, answer), row.group, "")).encode())
    return state.hexdigest()


def embed_pairs(pairs: Sequence[Pair], images: EmbeddingStore | None, texts: EmbeddingStore) -> Pairs:
    """Return the vectors of the pool, a chunk of rows at a time. Raises `AuditError` for an empty pool."""
    if not pairs:
        raise AuditError("no row has both a query and an answer, so there is nothing to train the critic on")
    xs, ys = [], []
    for start in range(0, len(pairs), CHUNK):
        part = pairs[start : start + CHUNK]
        rows = embedded([p.row for p in part], images, texts)
        use_reference = np.array([p.answer == "reference" for p in part])
        xs.append(rows.x)
        ys.append(np.where(use_reference[:, None], rows.reference, rows.response))
    groups = [p.row.group for p in pairs]
    return Pairs(np.concatenate(xs), np.concatenate(ys), hash_blocks(groups, 2**31 - 1), hash_blocks(groups))
