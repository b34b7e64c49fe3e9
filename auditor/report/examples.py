"""The HTML report shows these records, with a thumbnail and the models' answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

from auditor.profiles.rows import answers
from auditor.records import MediaPolicy, thumbnail
from auditor.scenarios import Scenario, records_of
from auditor.storage.response_store import ResponseStore
from schemas.record import Record
from schemas.report import Example


def example(scenario: str, record: Record, responses: Mapping[str, str], policy: MediaPolicy) -> Example:
    """Return one record as an example. `responses` maps a model's name to its answer."""
    return Example(
        scenario=scenario,
        record_id=record.record_id,
        query=record.input_text(),
        reference=record.reference,
        responses=dict(responses),
        thumbnail=thumbnail(record, policy),
    )


def examples(
    scenarios: Sequence[Scenario], stores: Mapping[str, ResponseStore | None], n: int, policy: MediaPolicy
) -> list[Example]:
    """Return the first `n` records of each scenario with every model's answer; `stores` holds the answers of
    those that the records have none of."""
    chosen = []
    for scenario in scenarios if n else ():
        records = list(islice(records_of([scenario]), n))
        responses = {model: answers(records, model, store) for model, store in stores.items()}
        for i, record in enumerate(records):
            first = {model: texts[i][0] for model, texts in responses.items() if texts[i]}
            chosen.append(example(scenario.name, record, first, policy))
    return chosen
