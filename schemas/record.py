"""The record: one query to a multimodal model, with what is known about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Image:
    """One image of a record, by `path` (a path or URI under the media root) or by its bytes (`data`).

    `digest` is the SHA-256 (hex) of the encoded bytes; it is set once the image has been admitted
    (found, of a format that is read, within its limits), and never before.
    """

    path: str | None = None
    data: bytes | None = None
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """One earlier turn of a chat."""

    role: str
    text: str


INSTRUCTING = ("system", "developer")
"""Roles of turns that instruct a model and are no part of the conversation."""

TRUTH_TAG = "truth:"
"""A tag that begins so tells a grader the right answer. It is never shown as a slice of the records: it would
give the answers away, and it says nothing of what they have in common."""


@dataclass(frozen=True, slots=True)
class Record:
    """One query and what belongs to it. Only `record_id` and one of `images` / `query` are always there.

    `base_id` is the record that this one is a perturbed copy of (its own id by default): rows that share
    it are paired in tests and fall into the same hash block. `responses` maps a model's name to its answers
    (several where several were sampled), `scores` to the grade of its (first) answer, from 0 to 1, where the
    records came with one. `timestamp` is aware and in UTC.

    `group` holds the keys that tie the record to others, such as a user and a day; `conversation_id` is the
    chat that it is a turn of. Rows that share one of these are not independent of each other. A run decides
    which keys count, and writes the group that the record is in to `group_id` (empty: the rows of its base_id
    alone).

    `other_references` are right answers beside `reference`: graders take the best of all, and whatever else
    needs a right answer takes `reference`.
    """

    record_id: str
    base_id: str
    images: tuple[Image, ...] = ()
    query: str | None = None
    history: tuple[Turn, ...] = ()
    responses: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    reference: str | None = None
    timestamp: datetime | None = None
    tags: tuple[str, ...] = ()
    scores: Mapping[str, float] = field(default_factory=dict)
    group: tuple[str, ...] = ()
    conversation_id: str | None = None
    group_id: str = ""
    other_references: tuple[str, ...] = ()

    def input_text(self) -> str | None:
        """The text that is embedded: earlier turns, then the query.

        Instructions to the model (turns of `INSTRUCTING`) are left out. They are the same in many rows and
        often long: the questions would drown in them, or be cut off. A model that answers here is given them,
        so that other instructions show as other answers to the same inputs.
        """
        parts = [turn.text for turn in self.history if turn.role not in INSTRUCTING]
        if self.query is not None:
            parts.append(self.query)
        return "\n".join(parts) if parts else None


class Reason(StrEnum):
    """Why a row was quarantined. The names are public: they are keys of `report.json`."""

    UNREADABLE_LINE = "unreadable_line"
    NOT_AN_OBJECT = "not_an_object"
    MISSING_ID = "missing_id"
    DUPLICATE_ID = "duplicate_id"
    CONFLICTING_ID = "conflicting_id"
    MISSING_INPUT = "missing_input"
    CONTENT_WITHHELD = "content_withheld"
    IMAGE_MISSING = "image_missing"
    IMAGE_OUTSIDE_ROOT = "image_outside_root"
    IMAGE_FORMAT_NOT_READ = "image_format_not_read"
    IMAGE_TRUNCATED = "image_truncated"
    IMAGE_CORRUPT = "image_corrupt"
    IMAGE_CHANGED = "image_changed"
    IMAGE_TOO_LARGE = "image_too_large"
    URL_NOT_ALLOWED = "url_not_allowed"
    TEXT_TOO_LONG = "text_too_long"
    EMPTY_RESPONSE = "empty_response"
    BAD_TIMESTAMP = "bad_timestamp"
    NON_FINITE_EMBEDDING = "non_finite_embedding"
    MODEL_FAILED = "model_failed"


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A row that was set aside, where it stood, and why. Nothing that was read disappears."""

    source: str
    """File (or data set) that the row came from."""
    row: int
    """Line (JSONL, from 1) or row (Parquet, from 0) in the source."""
    reason: Reason
    detail: str = ""
    record_id: str | None = None
    scenario: str = ""
    model: str = ""
    timestamp: datetime | None = None
    """Its moment where that could be read, else that of the row before it in its file (or the first one)."""
    position: int = 0
    """Records of its scenario that had been admitted before it."""


IMAGE_TYPE = pa.struct([("path", pa.string()), ("data", pa.binary()), ("digest", pa.string())])
TURN_TYPE = pa.struct([("role", pa.string()), ("text", pa.string())])

RECORDS = pa.schema(
    [
        pa.field("record_id", pa.string(), nullable=False),
        pa.field("base_id", pa.string(), nullable=False),
        ("images", pa.list_(IMAGE_TYPE)),
        ("query", pa.string()),
        ("history", pa.list_(TURN_TYPE)),
        ("responses", pa.map_(pa.string(), pa.list_(pa.string()))),
        ("reference", pa.string()),
        ("timestamp", pa.timestamp("us", tz="UTC")),
        ("tags", pa.list_(pa.string())),
        ("scores", pa.map_(pa.string(), pa.float64())),
        ("group", pa.list_(pa.string())),
        ("conversation_id", pa.string()),
        ("group_id", pa.string()),
        ("other_references", pa.list_(pa.string())),
    ]
)
"""Records as they are kept in a run directory: admitted, so every image has its digest."""

QUARANTINE = pa.schema(
    [
        ("source", pa.string()),
        ("row", pa.int64()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("record_id", pa.string()),
        ("scenario", pa.string()),
        ("model", pa.string()),
        ("timestamp", pa.timestamp("us", tz="UTC")),
        ("position", pa.int64()),
    ]
)
