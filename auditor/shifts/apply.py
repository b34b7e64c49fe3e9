"""This module makes shifted copies of records."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from auditor.records import MediaPolicy, load_image
from auditor.shifts.registry import NamedShift, find_shift, image_through
from schemas.record import Image, Record

Step = tuple[str, int] | tuple[str, int, Mapping[str, Any]]
"""Name and severity of a shift, and its options where it has some."""


def apply_shift(
    records: Iterable[Record],
    shifts: Sequence[Step],
    seed: int,
    policy: MediaPolicy | None = None,
) -> Iterator[Record]:
    """Put each record through all `shifts` (see `shifter`). Raises `BadInput` before the first record is
    read."""
    return map(shifter(shifts, seed, policy), records)


def shifter(
    shifts: Sequence[Step], seed: int, policy: MediaPolicy | None = None
) -> Callable[[Record], Record]:
    """Return what puts a record through all `shifts`, pairs of (name, severity) or with a mapping of options
    as a third, in their order; several make a joint shift.

    What is drawn for a record depends on the seed, the shift's name and the record's `base_id` only, so
    neither on the order of records nor on who does the work, and is the same at every severity. The copy
    keeps its
    `base_id`, has `~name-severity` after its `record_id`, PNG bytes without digests for images, and no
    responses: they were not answers to this input. History stays as it is. `policy` says which image paths
    may be opened (none by default: bytes only).

    Raises `BadInput` for an unknown shift, severity or option. What is returned raises `RowError` for an
    image that cannot be opened, or does not decode.
    """
    steps = [(find_shift(*step), step[1]) for step in shifts]
    allowed = policy or MediaPolicy()
    return lambda record: _shift_record(record, steps, seed, allowed)


def _shift_record(
    record: Record, steps: Sequence[tuple[NamedShift, int]], seed: int, policy: MediaPolicy
) -> Record:
    query = record.query
    images: list[bytes] | None = None
    for shift, severity in steps:
        if shift.family == "visual":
            images = [load_image(image, policy) for image in record.images] if images is None else images
            images = [
                image_through(shift, data, severity, _rng(seed, shift.name, record.base_id, i))
                for i, data in enumerate(images)
            ]
        elif query is not None:
            query = str(shift.function(query, severity, _rng(seed, shift.name, record.base_id, 0)))
    return replace(
        record,
        record_id=record.record_id + "".join(f"~{shift.name}-{severity}" for shift, severity in steps),
        images=record.images if images is None else tuple(Image(data=data) for data in images),
        query=query,
        responses={},
        scores={},
    )


def _rng(seed: int, name: str, base_id: str, image: int) -> np.random.Generator:
    digest = hashlib.sha256(f"{seed}\0{name}\0{base_id}\0{image}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))
