"""This module finds the rows of scenarios that can be used, whose contents have vectors, and those that are
quarantined."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from auditor.profiles.profile import GroupKey
from auditor.profiles.rows import RowKeys, answers, row_keys, usable
from auditor.records import Quarantine
from auditor.scenarios import Scenario
from auditor.storage.embedding_store import Vectors
from auditor.storage.response_store import ResponseStore
from schemas.record import Quarantined


def usable_rows(
    scenarios: Sequence[Scenario],
    stores: Mapping[str, ResponseStore | None],
    images: Vectors | None,
    texts: Vectors,
) -> tuple[dict[GroupKey, list[RowKeys]], Quarantine]:
    """Return the usable rows of every scenario and model, in their order, and all quarantined rows so far.
    `stores` hold the answers of each model, None where the records have them. O(rows) memory: these are the
    rows that critics are trained on."""
    quarantine = Quarantine(row for s in scenarios for row in s.quarantine())
    rows_by_group: dict[GroupKey, list[RowKeys]] = {}
    for scenario in scenarios:
        for number, (model, store) in enumerate(stores.items()):
            rows = rows_by_group[GroupKey(scenario.name, model)] = []
            for batch in scenario.batches():
                responses = answers(batch, model, store)
                kept, quarantined = usable(row_keys(batch, responses), images, texts, scenario.name, model)
                rows += kept
                add_set_aside(quarantine, quarantined, model if number else None)
    return rows_by_group, quarantine


def add_set_aside(quarantine: Quarantine, rows: Iterable[Quarantined], only: str | None) -> None:
    """Add quarantined rows: all, or those of `only` one model where the others are there already (a row whose
    inputs are not usable is counted once, whatever the number of models)."""
    for row in rows:
        if only is None or row.model == only:
            quarantine.add(row)
