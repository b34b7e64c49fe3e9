"""This module turns records into rows: which contents a row is made of, and its vectors once they are
embedded."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from auditor.bounds.entropies import LEAST_CELL_SAMPLES
from auditor.profiles.refusals import refuses
from auditor.profiles.scripts import script
from auditor.storage.embedding_store import Vectors
from auditor.storage.response_store import ResponseStore
from auditor.storage.work_units import (
    ContentItem,
    PromptItem,
    image_item,
    image_key,
    prompt_item,
    prompt_key,
    text_item,
    text_key,
)
from schemas.record import Quarantined, Record
from schemas.response import Answer

SCRIPT = "script_"
"""How the names of facts about scripts begin."""

Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class RowKeys:
    """The keys name the contents of one row under one model. None where the row has no such content."""

    record_id: str
    base_id: str
    group: str
    """The group that the record is in: rows of one are not independent of each other."""
    images: tuple[str, ...]
    text: str | None
    response: str | None
    reference: str | None
    chars: tuple[int, int] = (0, 0)
    """Characters of the answer and of the reference; 0 where there is none."""


@dataclass(frozen=True)
class Rows:
    """These are the embedded rows of one scenario under one model. A row without a content has zeros there,
    and False."""

    ids: tuple[str, ...]
    base_ids: tuple[str, ...]
    groups: tuple[str, ...]
    image: Float32
    """(n, d_image)"""
    text: Float32
    """(n, d_text)"""
    x: Float32
    """(n, d_x) the query: the mean of the modalities present (see `joined`)"""
    response: Float32
    """(n, d_text)"""
    reference: Float32
    """(n, d_text)"""
    has: Mapping[str, Mask]
    """image, text, response, reference -> (n,)"""
    chars: Float32 | None = None
    """(n, 2) characters of the answer and of the reference; None where they are not known."""

    def __len__(self) -> int:
        return len(self.ids)


def prompt(record: Record) -> PromptItem:
    """Return what a model is asked for this record."""
    return prompt_item(record.images, record.query or "", record.history)


def image_items(records: Iterable[Record]) -> Iterator[ContentItem]:
    for record in records:
        yield from map(image_item, record.images)


def input_texts(records: Iterable[Record]) -> Iterator[ContentItem]:
    """Yield the queries (with the turns before them) and references."""
    for record in records:
        for text in (record.input_text(), record.reference):
            if text is not None and text.strip():
                yield text_item(text)


def answers(records: Sequence[Record], model: str, generated: ResponseStore | None) -> list[tuple[str, ...]]:
    """Return the answers of `model` to each record, generated or recorded; () where there is none."""
    if generated is None:
        return [tuple(record.responses.get(model, ())) for record in records]
    return [answer.texts if answer.error is None else () for answer in generated_answers(records, generated)]


def generated_answers(records: Sequence[Record], generated: ResponseStore) -> list[Answer]:
    """Return the answer to each record's prompt, failed ones too."""
    return generated.answers([prompt_key(r.images, r.query or "", r.history) for r in records])


def answer_items(texts: Sequence[str]) -> Iterator[ContentItem]:
    """Yield what is embedded of a record's answers: the first, and where there are enough for an entropy
    all."""
    kept = texts if len(texts) >= LEAST_CELL_SAMPLES else texts[:1]
    return (text_item(text) for text in kept if text.strip())


def row_keys(records: Sequence[Record], responses: Sequence[tuple[str, ...]]) -> list[RowKeys]:
    """Return the keys of each record's contents; of several sampled answers the first stands for the
    response."""
    out = []
    for record, texts in zip(records, responses, strict=True):
        query = record.input_text()
        out.append(
            RowKeys(
                record.record_id,
                record.base_id,
                record.group_id or record.base_id,
                tuple(image_key(i) for i in record.images),
                text_key(query) if query is not None and query.strip() else None,
                text_key(texts[0]) if texts and texts[0].strip() else None,
                text_key(record.reference) if record.reference and record.reference.strip() else None,
                (len(texts[0]) if texts else 0, len(record.reference or "")),
            )
        )
    return out


def usable(
    rows: Sequence[RowKeys],
    images: Vectors | None,
    texts: Vectors,
    scenario: str,
    model: str,
) -> tuple[list[RowKeys], list[Quarantined]]:
    """Return the rows whose contents have vectors, and the quarantined ones. A row whose image or query has
    no vector is quarantined; one whose answer or reference has none loses just that. Each is reported with
    its reason, once for the row's inputs (`model` empty) and once a model for its answer."""
    failed = dict(texts.errors()) | (dict(images.errors()) if images is not None else {})
    if not failed:
        return list(rows), []
    kept: list[RowKeys] = []
    quarantined: list[Quarantined] = []
    for position, row in enumerate(rows):
        inputs = [
            k
            for k in (*(row.images if images is not None else ()), row.text)
            if k is not None and k in failed
        ]
        if inputs:
            failure = failed[inputs[0]]
            quarantined.append(
                Quarantined(scenario, position, failure.reason, failure.detail, row.record_id, scenario)
            )
            continue
        failures = {
            name: failed[key] for name in ("response", "reference") if (key := getattr(row, name)) in failed
        }
        for name, failure in failures.items():
            owner = model if name == "response" else "(reference)"
            quarantined.append(
                Quarantined(
                    scenario, position, failure.reason, failure.detail, row.record_id, scenario, owner
                )
            )
        kept.append(_drop_contents(row, failures) if failures else row)
    return kept, quarantined


def _drop_contents(row: RowKeys, names: Container[str]) -> RowKeys:
    return replace(
        row,
        response=None if "response" in names else row.response,
        reference=None if "reference" in names else row.reference,
    )


def unanswered(
    records: Sequence[Record], generated: ResponseStore, scenario: str, model: str
) -> list[Quarantined]:
    """Return the records that the model gave no answer to, and why."""
    failed = generated.errors()
    quarantined = []
    for position, record in enumerate(records):
        failure = failed.get(prompt_key(record.images, record.query or "", record.history))
        if failure is not None:
            quarantined.append(
                Quarantined(
                    scenario, position, failure.reason, failure.detail, record.record_id, scenario, model
                )
            )
    return quarantined


def embedded(rows: Sequence[RowKeys], images: Vectors | None, texts: Vectors) -> Rows:
    """Return the vectors of rows that are all usable. O(n d)."""
    text, has_text = _lookup([r.text for r in rows], texts)
    response, has_response = _lookup([r.response for r in rows], texts)
    reference, has_reference = _lookup([r.reference for r in rows], texts)
    image, has_image = _mean_vectors([r.images for r in rows], images)
    return Rows(
        tuple(r.record_id for r in rows),
        tuple(r.base_id for r in rows),
        tuple(r.group for r in rows),
        image,
        text,
        joined(image, text, has_image, has_text),
        response,
        reference,
        {"image": has_image, "text": has_text, "response": has_response, "reference": has_reference},
        np.array([r.chars for r in rows], dtype=np.float32).reshape(len(rows), 2),
    )


def joined(image: Float32, text: Float32, has_image: Mask, has_text: Mask) -> Float32:
    """Return z_x: the mean of the modalities present. Where the encoders' dimensions differ a mean is not
    defined; the two then stand side by side (their direct sum), each with the weight it has in the mean."""
    share = 1.0 / np.maximum(1, has_image.astype(np.int64) + has_text).astype(np.float32)
    if image.shape[1] == 0:
        return text
    if image.shape[1] == text.shape[1]:
        return (image + text) * share[:, None]
    return np.concatenate([image, text], axis=1) * share[:, None]


def joined_dim(image: int, text: int) -> int:
    """Return the dimension of z_x (see `joined`); 0: no such modality."""
    return text if image in (0, text) else image + text


def _lookup(keys: Sequence[str | None], store: Vectors) -> tuple[Float32, Mask]:
    has = np.array([k is not None for k in keys], dtype=bool)
    vectors = store.rows([k for k in keys if k is not None])
    out = np.zeros((len(keys), vectors.shape[1]), np.float32)
    out[has] = vectors
    return out, has


def _mean_vectors(keys: Sequence[tuple[str, ...]], store: Vectors | None) -> tuple[Float32, Mask]:
    """Return, for several images, the mean of their unit embeddings, normalised again."""
    if store is None:
        return np.zeros((len(keys), 0), np.float32), np.zeros(len(keys), dtype=bool)
    counts = np.array([len(k) for k in keys], dtype=np.int64)
    vectors = store.rows([key for group in keys for key in group])
    if vectors.shape[1] == 0:
        return np.zeros((len(keys), 0), np.float32), np.zeros(len(keys), dtype=bool)
    out = np.zeros((len(keys), vectors.shape[1]), np.float32)
    owner = np.repeat(np.arange(len(keys)), counts)
    single = counts[owner] == 1
    out[owner[single]] = vectors[single]
    for row in np.flatnonzero(counts > 1):
        mean = vectors[owner == row].mean(axis=0, dtype=np.float64)
        norm = float(np.linalg.norm(mean))
        out[row] = mean / norm if norm > 0 else 0.0
    return out, counts > 0


def descriptors(records: Iterable[Record], responses: Iterable[tuple[str, ...]]) -> dict[str, int]:
    """Sum plain facts of the rows, to be divided by their counts: they say in words what moved. `script_...`:
    queries that are written in a script."""
    sums = {
        "n": 0,
        "query_chars": 0,
        "response_chars": 0,
        "answered": 0,
        "with_image": 0,
        "with_query": 0,
        "with_reference": 0,
        "refused": 0,
        "references_refuse": 0,
    }
    for record, texts in zip(records, responses, strict=True):
        sums["n"] += 1
        sums["query_chars"] += len(record.query or "")
        sums["with_image"] += bool(record.images)
        query = record.input_text()
        sums["with_query"] += query is not None and bool(query.strip())
        if (name := script(record.query or "")) is not None:
            sums[f"{SCRIPT}{name}"] = sums.get(f"{SCRIPT}{name}", 0) + 1
        sums["with_reference"] += record.reference is not None
        sums["references_refuse"] += refuses(record.reference or "")
        if texts:
            sums["answered"] += 1
            sums["response_chars"] += len(texts[0])
            sums["refused"] += refuses(texts[0])
    return sums


def means(facts: Mapping[str, int]) -> dict[str, float | None]:
    """Return the sums of plain facts (see `descriptors`) as means."""
    n, answered = facts.get("n", 0), facts.get("answered", 0)

    def mean(name: str, count: int) -> float | None:
        return facts[name] / count if count and name in facts else None

    return {
        "query_chars": mean("query_chars", n),
        "response_chars": mean("response_chars", answered),
        "with_image": mean("with_image", n),
        "answered": mean("answered", n),
    }
