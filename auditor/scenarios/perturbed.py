"""This module makes perturbed copies of the in-distribution records, for any reader."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from auditor.errors import RowError
from auditor.records import MediaPolicy, load_image
from auditor.scenarios.scenario import Rows, Scenario, Source, gather, media_policy, records_of
from auditor.shifts import Step, find_shift, shifter, source_mark
from auditor.storage.run_dir import RunDir
from schemas.config import JobConfig, ScenarioSpec
from schemas.record import Quarantined, Record


def perturbed_source(name: str, spec: ScenarioSpec, source: Source, config: JobConfig, run: RunDir) -> Source:
    """Return the source of the admitted records of `source` after the shifts of `spec`: their own fingerprint
    and seed make the copy's. Raises `BadInput` for an unknown shift."""
    steps: list[Step] = [
        (p.shift, p.severity, p.options) if p.options else (p.shift, p.severity) for p in spec.shifts
    ]
    families = {find_shift(*step).family for step in steps}
    family = spec.family or (str(families.pop()) if len(families) == 1 else "joint")

    def rows() -> Rows:
        return _shifted(
            name, gather(source, run, config.data), media_policy(config.data), shifter(steps, config.seed)
        )

    code = "".join(f" {mark}" for step in steps if (mark := source_mark(step[0])))
    print_ = f"shift {steps}{code} seed {config.seed} of {source.fingerprint}"
    return Source(name, family, print_, rows, spec.partition)


def _shifted(
    name: str, scenario: Scenario, policy: MediaPolicy, shifted: Callable[[Record], Record]
) -> Iterator[Record | Quarantined]:
    """Yield the copies of the records, with their images' bytes. One whose image went away since, or does not
    decode, is quarantined."""
    for place, record in enumerate(records_of([scenario])):
        try:
            images = tuple(replace(i, data=load_image(i, policy), path=None) for i in record.images)
            yield shifted(replace(record, images=images))
        except RowError as error:
            yield Quarantined(name, place, error.reason, error.detail, record.record_id, name)
