"""A raw row is what a container holds of one row, before anybody asks what its fields mean."""

from __future__ import annotations

from typing import Any, NamedTuple

from auditor.errors import RowError
from auditor.records.screen import Place


class Failed(NamedTuple):
    """A `Failed` is a model that gave no answer to a row, and why. The row stays: its inputs were traffic."""

    model: str
    why: str


class Raw(NamedTuple):
    """A `Raw` is one row of a file: where it stood, and its fields by name, or why it cannot be read.

    Values are what the container has: JSON's values (a float keeps its digits, see `lines.Written`), and from
    Parquet also `bytes`, `datetime`, `Decimal` and lists of pairs (Arrow maps). A single value that cannot be
    read is a `fields.Unreadable`.
    """

    place: Place
    fields: dict[str, Any] | RowError
    failed: tuple[Failed, ...] = ()
