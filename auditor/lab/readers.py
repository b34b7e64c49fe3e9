"""This module is the reader `lab`: scenarios of the rendered world, by their language or pool."""

from __future__ import annotations

from collections.abc import Iterator

from auditor.errors import BadInput
from auditor.lab.world import POOLS, lab_items
from auditor.scenarios import ID, TRAFFIC, Rows, Source, file_source, perturbed_source, reader
from auditor.storage.run_dir import RunDir
from schemas.config import AuditData, DriftData, JobConfig, ScenarioSpec
from schemas.record import Image, Record


@reader("lab")
def lab(config: JobConfig, run: RunDir) -> Iterator[Source]:
    """Yield `data.n` drawn records, and each of `data.scenarios` by its language or pool, shifts or path; of
    drift the pool or the language that `data.traffic` names."""
    data = config.data
    if isinstance(data, DriftData):
        kind = "pool" if data.traffic in POOLS else "language"
        spec = ScenarioSpec.model_validate({kind: data.traffic})
        yield _drawn_source(TRAFFIC, "window", spec, config, "data.traffic")
        return
    first = _drawn_source(ID, "id", ScenarioSpec(), config, "data")
    yield first
    for name, spec in data.scenarios.items() if isinstance(data, AuditData) else ():
        if spec.path is not None:
            yield file_source(name, spec.family or "natural", spec.path, spec.partition)
        elif spec.shifts:
            if spec.language or spec.pool:
                raise BadInput(
                    f"data.scenarios.{name}: shifts perturb the in-distribution records; no language or pool"
                )
            yield perturbed_source(name, spec, first, config, run)
        elif spec.language or spec.pool:
            key = f"data.scenarios.{name}"
            yield _drawn_source(name, spec.family or _family(spec), spec, config, key)
        else:
            raise BadInput(f"data.scenarios.{name}: give a language, a pool, shifts or a path")


def _family(spec: ScenarioSpec) -> str:
    if spec.pool is None:
        return "text"
    return {"new-mix": "mix"}.get(spec.pool, "natural")


def _drawn_source(name: str, family: str, spec: ScenarioSpec, config: JobConfig, key: str) -> Source:
    """Return a source of drawn records. `key`: the key of the config that errors name."""
    n, language, pool = spec.n or config.data.n, spec.language or "en", spec.pool or "id"
    if pool not in POOLS:
        raise BadInput(f"{key}.pool: {pool!r} is none of {', '.join(POOLS)}")

    def rows() -> Rows:
        try:
            for item in lab_items(n, config.seed, language, pool=pool):
                yield Record(
                    item.record_id,
                    item.base_id,
                    images=(Image(data=item.image),),
                    query=item.query,
                    reference=item.reference,
                    tags=tuple(item.tags),
                )
        except ValueError as error:
            raise BadInput(f"{key}: {error}") from error

    return Source(name, family, f"lab {n} {config.seed} {language} {pool}", rows, spec.partition)
