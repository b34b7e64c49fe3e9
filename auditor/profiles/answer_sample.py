"""This module keeps the sampled answers that travel with a window's sums: entropies are computed from them.

Records are kept whose ids have the smallest hashes: any cut into shards and any order of merging keeps the
same ones. Unlike the row sample, this one does not take whole groups: a part of a group is enough for a
bootstrap that draws groups, and the hashes of single records tell beforehand which of them can be kept. Cells
are not known while rows stream by (the codebook is learned of what is kept of all of them), so the answers'
vectors are kept, each distinct answer once. A window and model need at most k s (4 d + 144) + 700 k bytes for
k records of s answers in d dimensions (ids of 80 characters): 27 MB for 2,000 of 4 in 768.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auditor.bounds.entropies import LEAST_CELL_SAMPLES
from auditor.profiles.rows import generated_answers
from auditor.sketch import as_rows
from auditor.sketch.blocks import hash64
from auditor.storage.embedding_store import Float32, UnitVectors
from auditor.storage.response_store import ResponseStore
from auditor.storage.work_units import text_key
from schemas.record import Record

KEY_DIGITS = 32
"""The digits of an answer's key that are kept: a collision among 10^9 answers has a chance of 10^-21."""

Int = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class RecordAnswers:
    """This value is what a model's answers to one record say of its entropy."""

    row: int
    """Where the record stands in its window."""
    record_id: str
    group: str
    log_probabilities: tuple[float, ...]
    """(nats) of the answers; none where they were not drawn, or nothing tells."""
    texts: tuple[str, ...]
    """The answers, where there are enough of them for an entropy over cells; else none."""

    @property
    def order(self) -> tuple[int, str]:
        """Return the sort key."""
        return hash64(self.record_id, b"sample"), self.record_id


def record_answers(
    rows: Sequence[int],
    records: Sequence[Record],
    answers: Sequence[tuple[str, ...]],
    drawn: ResponseStore | None,
) -> list[RecordAnswers]:
    """Collect the answers of the records that say anything of entropy: `rows` (n,) where each record stands,
    `answers` its answers, `drawn` the store of them if they were drawn from the model's law."""
    logs: Sequence[tuple[float, ...]] = [()] * len(records)
    if drawn is not None:
        logs = [a.logprobs if a.error is None else () for a in generated_answers(records, drawn)]
    kept = []
    for row, record, logprobs, texts in zip(rows, records, logs, answers, strict=True):
        several = tuple(t for t in texts if t.strip()) if len(texts) >= LEAST_CELL_SAMPLES else ()
        if logprobs or several:
            kept.append(
                RecordAnswers(row, record.record_id, record.group_id or record.base_id, logprobs, several)
            )
    return kept


@dataclass(frozen=True, eq=False)
class AnswerSample:
    """A sample is the answers to the k records with the smallest hashes: deterministic, mergeable (see
    `RowSample`)."""

    k: int
    seen: int
    """How many records it was drawn from: all whose answers say anything."""
    hashes: NDArray[np.uint64]
    """(m,) ascending, m = min(k, seen)"""
    ids: NDArray[np.str_]
    groups: NDArray[np.str_]
    """(m,) the group that each record is in"""
    rows: Int
    """(m,) where each record stands in its window"""
    logs: NDArray[np.float64]
    """(Σ log_counts,) log-probabilities (nats), record by record"""
    log_counts: Int
    """(m,)"""
    answers: Int
    """(Σ answer_counts,) rows of `vectors`, record by record"""
    answer_counts: Int
    """(m,)"""
    keys: NDArray[np.str_]
    """(u,) of the distinct answers, ascending"""
    vectors: Float32
    """(u, d) unit rows"""

    @classmethod
    def from_records(
        cls, records: Sequence[RecordAnswers], seen: int, texts: UnitVectors, k: int
    ) -> AnswerSample:
        """Make the sample of the at most k records that `smallest` has left of `seen`. Answers that could not
        be embedded are left out."""
        failed = texts.errors()
        records = sorted(records, key=lambda record: record.order)
        keys = [[key for key in map(text_key, r.texts) if key not in failed] for r in records]
        flat = sorted({key for record_keys in keys for key in record_keys})
        positions = {key: i for i, key in enumerate(flat)}
        return cls(
            k,
            seen,
            np.array([r.order[0] for r in records], dtype=np.uint64),
            np.array([r.record_id for r in records], dtype=np.str_),
            np.array([r.group for r in records], dtype=np.str_),
            np.array([r.row for r in records], dtype=np.int64),
            np.array([v for r in records for v in r.log_probabilities], dtype=np.float64),
            np.array([len(r.log_probabilities) for r in records], dtype=np.int64),
            np.array([positions[key] for record_keys in keys for key in record_keys], dtype=np.int64),
            np.array([len(record_keys) for record_keys in keys], dtype=np.int64),
            np.array([key[:KEY_DIGITS] for key in flat], dtype=f"<U{KEY_DIGITS}"),
            texts.rows(flat),
        )

    def merge(self, other: AnswerSample) -> AnswerSample:
        """Return the sample of both sets of records. ValueError where k or the vectors' dimensions differ."""
        if self.k != other.k or self.vectors.shape[1] != other.vectors.shape[1]:
            raise ValueError("cannot merge samples of answers of different k or dimensions")

        def concatenate(name: str) -> NDArray[Any]:
            return np.concatenate([getattr(self, name), getattr(other, name)])

        hashes, ids = concatenate("hashes"), concatenate("ids")
        keep = np.lexsort((ids, hashes))[: self.k]
        log_counts, answer_counts = concatenate("log_counts"), concatenate("answer_counts")
        all_answers = np.concatenate([self.answers, other.answers + len(self.keys)])
        used = all_answers[_positions(answer_counts, keep)]
        keys, first, answers = np.unique(concatenate("keys")[used], return_index=True, return_inverse=True)
        return AnswerSample(
            self.k,
            self.seen + other.seen,
            hashes[keep],
            ids[keep],
            concatenate("groups")[keep],
            concatenate("rows")[keep],
            concatenate("logs")[_positions(log_counts, keep)],
            log_counts[keep],
            answers.astype(np.int64),
            answer_counts[keep],
            keys,
            concatenate("vectors")[used[first]],
        )

    def __len__(self) -> int:
        return len(self.ids)

    def log_probabilities(self) -> list[tuple[str, tuple[float, ...]]]:
        """Return the group and log-probabilities of each record that has any, in the order of the
        window."""
        return [
            (group, tuple(values.tolist())) for group, values in self._by_record(self.logs, self.log_counts)
        ]

    def answer_rows(self) -> Iterable[tuple[str, Int]]:
        """Yield the group and rows of `vectors` of each record that has several answers, in the order of
        the window."""
        return self._by_record(self.answers, self.answer_counts)

    def _by_record(self, values: NDArray[Any], counts: Int) -> Iterable[tuple[str, NDArray[Any]]]:
        ends = np.cumsum(counts)
        for i in np.argsort(self.rows):
            if counts[i]:
                yield str(self.groups[i]), values[ends[i] - counts[i] : ends[i]]

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return plain arrays, for npz (never pickle)."""
        return {name: np.asarray(value) for name, value in vars(self).items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, ArrayLike]) -> AnswerSample:
        """Read what `to_arrays` gave. ValueError or KeyError where arrays are missing or do not fit."""
        ids, keys = (np.asarray(arrays[name], dtype=np.str_) for name in ("ids", "keys"))
        columns = {
            name: np.asarray(arrays[name], dtype=np.int64)
            for name in ("rows", "log_counts", "answers", "answer_counts")
        }
        groups = np.asarray(arrays["groups"], dtype=np.str_)
        hashes = np.asarray(arrays["hashes"], dtype=np.uint64)
        logs = np.asarray(arrays["logs"], dtype=np.float64)
        vectors = np.asarray(arrays["vectors"], dtype=np.float32)
        if vectors.size:
            as_rows(vectors, "vectors")
        k, seen = int(np.asarray(arrays["k"])), int(np.asarray(arrays["seen"]))
        lengths = {
            len(a) for a in (groups, hashes, columns["rows"], columns["log_counts"], columns["answer_counts"])
        }
        fits = (
            lengths == {len(ids)}
            and len(ids) <= min(k, seen)
            and all(
                counts.min(initial=0) >= 0 for counts in (columns["log_counts"], columns["answer_counts"])
            )
            and vectors.ndim == 2
            and len(vectors) == len(keys)
            and columns["log_counts"].sum() == len(logs)
            and columns["answer_counts"].sum() == len(columns["answers"])
            and (
                not len(columns["answers"])
                or 0 <= columns["answers"].min() <= columns["answers"].max() < len(keys)
            )
        )
        if not fits:
            raise ValueError("not a sample of answers: its arrays do not fit together")
        if np.isnan(logs).any():
            raise ValueError("logs: some are no numbers")
        return cls(k, seen, hashes, ids, groups, logs=logs, keys=keys, vectors=vectors, **columns)


def hash_limit(k: int, n: int) -> int:
    """Return the limit below which the k smallest hashes of n records lie, but for once in 10^9 windows
    (which then have some fewer, at random still). The answers to other records need not be embedded: of a
    large window, to most. It changes only where n doubles, so that a window that grows keeps its units until
    then."""
    n = 1 << n.bit_length() - 1 if n else 0
    return 2**64 if n <= k else min(2**64, int(2**64 * (k + 6 * sqrt(k)) / n))


def smallest(records: Iterable[RecordAnswers], k: int, limit: int) -> list[RecordAnswers]:
    """Return the k records with the smallest hashes, all below `limit`: no other can be in the sample of a
    window. O(n log k)."""
    below = (record for record in records if record.order[0] < limit)
    return heapq.nsmallest(k, below, key=lambda record: record.order)


def _positions(counts: Int, keep: NDArray[np.intp]) -> Int:
    """Return where the values of the records `keep` stand, in that order; `counts` (n,) values a record."""
    ends = np.cumsum(counts)
    ranges = [np.arange(ends[i] - counts[i], ends[i], dtype=np.int64) for i in keep]
    return np.concatenate([np.zeros(0, np.int64), *ranges])
