"""This module makes perturbed copies of the in-distribution records, for any reader."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from auditor.errors import RowError
from auditor.records import MediaPolicy, load_image
from auditor.scenarios.scenario import Rows, Scenario, Source, gather, media_policy
from auditor.shifts import Step, apply_shift, find_shift, source_mark
from auditor.storage.run_dir import RunDir
from schemas.config import JobConfig, ScenarioSpec
from schemas.record import Record


def perturbed_source(name: str, spec: ScenarioSpec, source: Source, config: JobConfig, run: RunDir) -> Source:
    """Return the source of the admitted records of `source` after the shifts of `spec`: their own fingerprint
    and seed make the copy's. Raises `BadInput` for an unknown shift."""
    steps: list[Step] = [
        (p.shift, p.severity, p.options) if p.options else (p.shift, p.severity) for p in spec.shifts
    ]
    families = {find_shift(*step).family for step in steps}
    family = spec.family or (str(families.pop()) if len(families) == 1 else "joint")

    def rows() -> Rows:
        scenario = gather(source, run, config.data)
        yield from apply_shift(_with_bytes(scenario, media_policy(config.data)), steps, config.seed)

    code = "".join(f" {mark}" for step in steps if (mark := source_mark(step[0])))
    print_ = f"shift {steps}{code} seed {config.seed} of {source.fingerprint}"
    return Source(name, family, print_, rows, spec.partition)


def _with_bytes(scenario: Scenario, policy: MediaPolicy) -> Iterator[Record]:
    """Yield the records with their images' bytes; one whose image went away since is left out."""
    for batch in scenario.batches():
        for record in batch:
            try:
                images = tuple(replace(i, data=load_image(i, policy), path=None) for i in record.images)
            except RowError:
                continue
            yield replace(record, images=images)
