"""This module is the reader `records`: one file of records a scenario, or perturbed copies of the
in-distribution ones."""

from __future__ import annotations

from collections.abc import Iterator

from auditor.errors import BadInput
from auditor.records import Records, read
from auditor.records.sources import expand, shown
from auditor.scenarios.perturbed import perturbed_source
from auditor.scenarios.registry import reader
from auditor.scenarios.scenario import ID, TRAFFIC, Given, Source
from auditor.storage.run_dir import RunDir
from schemas.config import AuditData, BaselineData, DriftData, JobConfig, Partitioning, ScenarioSpec


@reader("records", needs={"id": "the file of the in-distribution records"})
def files(config: JobConfig, run: RunDir, record_sets: Given | None = None) -> Iterator[Source]:
    """Yield `data.id`, then each of `data.scenarios` from its `path` or by its `shifts`; or `data.traffic`.
    `record_sets`: records by name, used instead of the files that the config names."""

    data = config.data

    def records(name: str, path: str) -> Records:
        if record_sets and name in record_sets:
            return record_sets[name]
        return read(path, format=data.format, map=data.map, media_root=data.media_root)

    if isinstance(config.data, DriftData):
        yield records_source(TRAFFIC, "window", records(TRAFFIC, config.data.traffic))
        return
    assert isinstance(config.data, BaselineData)
    first = records_source(ID, "id", records(ID, str(config.data.id)))
    yield first
    for name, spec in config.data.scenarios.items() if isinstance(config.data, AuditData) else ():
        _refuse(name, spec, "language", "pool", "n")
        if spec.path is not None:
            if spec.shifts:
                raise BadInput(f"data.scenarios.{name}: give path or shifts, not both")
            yield records_source(name, spec.family or "natural", records(name, spec.path), spec.partition)
        elif spec.shifts:
            yield perturbed_source(name, spec, first, config, run)
        else:
            raise BadInput(f"data.scenarios.{name}: give a path, or shifts of the in-distribution records")


def file_source(name: str, family: str, path: str, partition: Partitioning | None = None) -> Source:
    """Return the source of the records of a JSONL or Parquet file, or of a glob. Raises `BadInput` where
    there is none."""
    return records_source(name, family, read(path), partition)


def records_source(name: str, family: str, records: Records, partition: Partitioning | None = None) -> Source:
    """Return the source of records from wherever they come."""

    def listed() -> list[str]:
        return [shown(path) for path in expand(records.files)] if records.files else []

    return Source(name, family, records.fingerprint, records.rows, partition, listed)


def _refuse(name: str, spec: ScenarioSpec, *keys: str) -> None:
    for key in keys:
        if getattr(spec, key) is not None:
            raise BadInput(f"data.scenarios.{name}.{key}: only the lab has it (data.reader: lab)")
