"""Only records that are unique, within limits, and whose images can be read are admitted."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import replace

from auditor.errors import RowError
from auditor.records.limits import DEFAULT_LIMITS, Limits
from auditor.records.media import MediaPolicy, load_image
from auditor.records.rows import Rows
from auditor.records.screen import Place, screen
from auditor.records.seen import Seen, record_digest
from schemas.record import Image, Quarantined, Reason, Record

_LOOK_AHEAD = 64


def admit(
    rows: Iterable[Record | Quarantined],
    policy: MediaPolicy,
    limits: Limits = DEFAULT_LIMITS,
    scenario: str = "",
    executor: Executor | None = None,
) -> Iterator[Record | Quarantined]:
    """Yield the rows of one scenario, in order, each record checked: texts within `limits`, its id not seen
    before (the first row of an id stands for it; one that comes again is told apart by its contents), every
    image allowed, whole and decodable; then each image has its digest. What fails comes out as `Quarantined`;
    rows that are so already pass, with the scenario.

    With an `executor` (of threads) images are verified in it, at most 64 rows ahead of the consumer.
    Memory: the inline images of the rows ahead; ids are remembered outside (see `Seen`).
    Where `rows` is no `Rows`, a failed row's place is its position among the records, in a source named by
    the scenario.
    """
    pending: deque[Record | Quarantined | tuple[Place, Record, Future[Record]]] = deque()
    try:
        for item in _unique(rows, limits, scenario):
            if isinstance(item, Quarantined):
                pending.append(item)
            else:
                place, record = item
                if executor is None or not record.images:
                    pending.append(_verified(place, record, policy, scenario))
                else:
                    pending.append((place, record, executor.submit(_verify, record, policy)))
            while len(pending) > (_LOOK_AHEAD if executor else 0):
                yield _settle(pending.popleft(), scenario)
        while pending:
            yield _settle(pending.popleft(), scenario)
    finally:  # the consumer may stop early
        for waiting in pending:
            if isinstance(waiting, tuple):
                waiting[2].cancel()


def _unique(
    rows: Iterable[Record | Quarantined], limits: Limits, scenario: str
) -> Iterator[Quarantined | tuple[Place, Record]]:
    position, seen = -1, Seen()
    for row in rows:
        if isinstance(row, Quarantined):
            yield replace(row, scenario=scenario)
            continue
        position += 1
        place = Place(scenario, position)
        if isinstance(rows, Rows):
            place = Place(rows.progress.source, rows.progress.row)
        for item in screen(row, limits, place, scenario):
            if isinstance(item, Quarantined):
                yield item
                continue
            before = seen.add(item.record_id, record_digest(item))
            if before != "new":
                error = RowError(Reason.DUPLICATE_ID, "a row before has this record_id and these contents")
                if before == "other":
                    error = RowError(Reason.CONFLICTING_ID, "a row before has this record_id, and others")
                yield place.quarantined(error, item.record_id, scenario, timestamp=item.timestamp)
                continue
            yield place, item


def _settle(
    item: Record | Quarantined | tuple[Place, Record, Future[Record]], scenario: str
) -> Record | Quarantined:
    if not isinstance(item, tuple):
        return item
    place, record, future = item
    try:
        return future.result()
    except RowError as error:
        return place.quarantined(error, record.record_id, scenario, timestamp=record.timestamp)


def _verified(place: Place, record: Record, policy: MediaPolicy, scenario: str) -> Record | Quarantined:
    try:
        return _verify(record, policy)
    except RowError as error:
        return place.quarantined(error, record.record_id, scenario, timestamp=record.timestamp)


def _verify(record: Record, policy: MediaPolicy) -> Record:
    """The record with the digests of its images. Raises `RowError`, for its first bad image."""
    if not record.images:
        return record
    return replace(record, images=tuple(_digested(image, policy) for image in record.images))


def _digested(image: Image, policy: MediaPolicy) -> Image:
    return replace(image, digest=hashlib.sha256(load_image(image, policy)).hexdigest())
