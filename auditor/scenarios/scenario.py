"""From the config to scenarios: named sets of admitted records, kept in the run directory.

A scenario is gathered once: a fingerprint of all that its rows depend on (files with their size and time,
perturbation, seed, limits) stands beside its records, and a second run with the same fingerprint reads them.
"""

from __future__ import annotations

import heapq
import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from auditor import __version__
from auditor.errors import BadInput, RowError
from auditor.lab.world import POOLS, lab_items
from auditor.records import (
    Limits,
    LlavaBench,
    MediaPolicy,
    Quarantine,
    RecordWriter,
    admit,
    load_image,
    read_many,
    read_run_columns,
    read_run_records,
    read_run_rows,
    read_run_tags,
    records_from_table,
)
from auditor.records.sources import fingerprint
from auditor.scenarios.windows import timed
from auditor.shifts import apply_shift, find_shift
from auditor.sketch.blocks import hash64
from auditor.storage.run_dir import RunDir, digest, write_bytes
from schemas.config import (
    AuditConfig,
    BaselineData,
    DataConfig,
    DriftData,
    Partitioning,
    ScenarioSpec,
)
from schemas.record import Image, Quarantined, Record

Rows = Iterable[Record | Quarantined]
ID = "id"
MOST_ADMITTING = 16
"""Threads that verify images: each may hold one of the largest size that is allowed."""
_LANGUAGES = ("Arabic", "Chinese", "German", "Greek", "Hindi", "Korean")


@dataclass(frozen=True, slots=True)
class Source:
    """Where a scenario's rows come from; nothing is read yet."""

    name: str
    family: str
    """id, visual, text, joint, natural or mix."""
    fingerprint: str
    rows: Callable[[], Rows]
    partition: Partitioning | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """Admitted records under `path`, and how many rows were set aside on the way."""

    name: str
    family: str
    path: Path
    n: int
    naive_timestamps: int
    partition: Partitioning | None = None
    notes: tuple[str, ...] = ()
    """What the report says beside it."""

    def batches(self) -> Iterator[list[Record]]:
        """The records, in lists of bounded length."""
        return read_run_records(self.path)

    def tags(self, ids: Collection[str]) -> dict[str, tuple[str, ...]]:
        """Tags of the records with these ids, those without any left out; one pass over ids and tags."""
        return {i: tuple(tags) for i, tags in read_run_tags(self.path) if tags and i in ids}

    def quarantine(self) -> Quarantine:
        return Quarantine.read(_beside(self.path, "quarantine"))


def records_of(scenarios: Iterable[Scenario]) -> Iterator[Record]:
    """The admitted records of all of them, one by one."""
    for scenario in scenarios:
        for batch in scenario.batches():
            yield from batch


def check_recorded(models: Sequence[str], scenarios: Iterable[Scenario]) -> None:
    """Raises `BadInput` where the records have no response of one of these models, which has no generator."""
    found: set[str] = set()
    for scenario in scenarios if models else ():
        for batch in scenario.batches():
            found.update(name for record in batch for name in record.responses)
        if found.issuperset(models):
            return
    if lost := [name for name in models if name not in found]:
        raise BadInput(
            f"models: no recorded responses of {', '.join(lost)}; the records have "
            f"{', '.join(sorted(found)) or 'none'} (or give the model a generator)"
        )


def media_policy(data: DataConfig) -> MediaPolicy:
    """What may be opened for images."""
    root = data.media_root
    if root is None and data.reader == "llavabench":
        root = data.root
    return MediaPolicy(root, data.max_image_bytes, data.max_image_pixels, data.url_allow, data.url_private)


def limits(data: DataConfig) -> Limits:
    return Limits(text_chars=data.max_text_chars)


def sources(config: AuditConfig, run: RunDir) -> list[Source]:
    """The scenarios of the config, the in-distribution one first. Raises `BadInput` for what cannot be."""
    named = {"records": _records, "llavabench": _llavabench, "lab": _lab}[config.data.reader]
    found = list(named(config, run))
    for source in found[1:]:
        if source.name == found[0].name:
            raise BadInput(
                f"data.scenarios: {source.name!r} is the name of the in-distribution records; rename it"
            )
    return found


def reference_source(name: str, data: BaselineData, seed: int) -> Source:
    """The in-distribution records, under this name: the file `data.id`, or those of the reader."""
    if data.reader == "lab":
        return _lab_source(name, "id", ScenarioSpec(), data.n, seed, "data")
    if data.reader == "llavabench":
        assert data.root is not None  # validated with the config
        bench = LlavaBench(data.root)
        return _published(bench, data.root, bench.scenarios()[0], name, "id")
    assert data.id is not None  # validated with the config
    return _file(name, "id", data.id)


def traffic_source(name: str, data: DriftData, seed: int, timed_only: bool = False) -> Source:
    """The records that drift compares, under this name; `timed_only`: those without a timestamp are set
    aside. Raises `BadInput` for what the reader has not."""
    if data.reader == "lab":
        kind = "pool" if data.traffic in POOLS else "language"
        spec = ScenarioSpec.model_validate({kind: data.traffic})
        return _lab_source(name, "window", spec, data.n, seed, "data.traffic")
    if data.reader == "llavabench":
        assert data.root is not None  # validated with the config
        bench = LlavaBench(data.root)
        if data.traffic not in bench.scenarios():
            raise BadInput(
                f"data.traffic: no scenario {data.traffic!r} under {data.root}; there is "
                f"{', '.join(bench.scenarios()[:3])}, ..."
            )
        return _published(bench, data.root, data.traffic, name, "window")
    of = _file(name, "window", data.traffic)
    if not timed_only:
        return of
    return replace(of, fingerprint=f"timed {of.fingerprint}", rows=lambda: timed(read_many(data.traffic)))


def gather(source: Source, run: RunDir, data: DataConfig) -> Scenario:
    """Read, admit and keep the records of `source`, unless that was done. Its bad rows are quarantined."""
    path = run.records(source.name)
    print_ = digest(
        json.dumps(
            [source.fingerprint, data.max_text_chars, asdict(media_policy(data)), __version__], default=str
        )
    )
    stamp = _beside(path, "meta")
    if stamp.exists() and path.exists():
        meta = json.loads(stamp.read_text(encoding="utf-8"))
        if meta["fingerprint"] == print_:
            return Scenario(source.name, source.family, path, meta["n"], meta["naive"], source.partition)
    stamp.unlink(missing_ok=True)
    quarantine, rows = Quarantine(), source.rows()
    with ThreadPoolExecutor(_threads()) as threads, RecordWriter(path) as writer:
        for record in quarantine.sift(admit(rows, media_policy(data), limits(data), source.name, threads)):
            writer.write(record)
    quarantine.write(_beside(path, "quarantine"))
    progress = getattr(rows, "progress", None)
    naive = progress.naive_timestamps if progress is not None else 0
    write_bytes(stamp, json.dumps({"fingerprint": print_, "n": writer.count, "naive": naive}).encode())
    return Scenario(source.name, source.family, path, writer.count, naive, source.partition)


def _threads() -> int:
    """Images are decoded outside the interpreter's lock, so that every core of the driver's machine helps."""
    return min(MOST_ADMITTING, len(os.sched_getaffinity(0)))


def sampled(scenario: Scenario, run: RunDir, rows: int, seed: int) -> Scenario:
    """At most `rows` of the records, by a hash of seed and id: the same ones in whatever order they stand."""
    hashes = (
        (hash64(f"{seed}:{record_id}", b"pool"), position)
        for batch, start in _numbered(read_run_columns(scenario.path, ["record_id"]))
        for position, record_id in enumerate(batch["record_id"].to_pylist(), start)
    )
    chosen = np.array(sorted(at for _, at in heapq.nsmallest(rows, hashes)), dtype=np.int64)
    path = run.records(f"{scenario.name} (sample)")
    with RecordWriter(path) as writer:
        for table in read_run_rows(scenario.path, chosen):
            for record in records_from_table(table):
                writer.write(record)
    Quarantine().write(_beside(path, "quarantine"))
    return replace(scenario, path=path, n=writer.count)


def _numbered(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[pa.RecordBatch, int]]:
    """Each batch, and how many rows came before it."""
    start = 0
    for batch in batches:
        yield batch, start
        start += batch.num_rows


def _beside(path: Path, what: str) -> Path:
    return path.with_name(f"{path.stem}.{what}.{'json' if what == 'meta' else 'parquet'}")


# Files of records.


def _records(config: AuditConfig, run: RunDir) -> Iterator[Source]:
    data = config.data
    first = reference_source(ID, data, config.seed)
    yield first
    for name, spec in data.scenarios.items():
        _refuse(name, spec, "language", "pool", "n")
        if spec.path is not None:
            if spec.shifts:
                raise BadInput(f"data.scenarios.{name}: give path or shifts, not both")
            yield _file(name, spec.family or "natural", spec.path, spec.partition)
        elif spec.shifts:
            yield _perturbed(name, spec, first, config, run)
        else:
            raise BadInput(f"data.scenarios.{name}: give a path, or shifts of the in-distribution records")


def _file(name: str, family: str, path: str, partition: Partitioning | None = None) -> Source:
    return Source(name, family, f"file {fingerprint(path)}", lambda: read_many(path), partition)


def _refuse(name: str, spec: ScenarioSpec, *keys: str) -> None:
    for key in keys:
        if getattr(spec, key) is not None:
            raise BadInput(f"data.scenarios.{name}.{key}: only the lab has it (data.reader: lab)")


# Perturbed copies of the in-distribution records.


def _perturbed(name: str, spec: ScenarioSpec, of: Source, config: AuditConfig, run: RunDir) -> Source:
    """The admitted ID records, perturbed: their own fingerprint and seed make the copy's."""
    steps = [(p.shift, p.severity) for p in spec.shifts]
    families = {find_shift(shift, severity).family for shift, severity in steps}
    family = spec.family or (str(families.pop()) if len(families) == 1 else "joint")

    def rows() -> Rows:
        scenario = gather(of, run, config.data)
        yield from apply_shift(_with_bytes(scenario, media_policy(config.data)), steps, config.seed)

    return Source(name, family, f"shift {steps} seed {config.seed} of {of.fingerprint}", rows, spec.partition)


def _with_bytes(scenario: Scenario, policy: MediaPolicy) -> Iterator[Record]:
    """The records with their images' bytes; one whose image went away since is left out."""
    for batch in scenario.batches():
        for record in batch:
            try:
                images = tuple(replace(i, data=load_image(i, policy), path=None) for i in record.images)
            except RowError:
                continue
            yield replace(record, images=images)


# The published LLaVA-Bench layout.


def _llavabench(config: AuditConfig, run: RunDir) -> Iterator[Source]:
    data = config.data
    assert data.root is not None  # validated with the config
    bench = LlavaBench(data.root)
    known = bench.scenarios()
    if data.scenarios:
        for name, spec in data.scenarios.items():
            if name not in known:
                raise BadInput(
                    f"data.scenarios: no scenario {name!r} under {data.root}; there is {known[0]}, ..."
                )
            if spec != ScenarioSpec(family=spec.family):
                raise BadInput(f"data.scenarios.{name}: only `family` can be set for a published scenario")
        chosen = [known[0], *(name for name in known[1:] if name in data.scenarios)]
    else:  # those that have references: the shifted copies and the six languages of the COCO set
        chosen = [name for name in known if name.startswith(known[0]) and not name.endswith("_English")]
    for name in chosen:
        given = data.scenarios.get(name)
        family = (given.family if given else None) or _published_family(name, known[0])
        yield _published(bench, data.root, name, name, family)


def _published(bench: LlavaBench, root: str, published: str, name: str, family: str) -> Source:
    """One published scenario, under a name of ours."""
    files = fingerprint(f"{root}/responses/*.jsonl")
    return Source(name, family, f"llavabench {published} {files}", partial(bench.records, published))


def _published_family(name: str, first: str) -> str:
    if name == first:
        return "id"
    if any(name.endswith(f"_{language}") for language in _LANGUAGES):
        return "text" if name.startswith(first) else "joint"
    visual = "frost" in name or "defocus" in name
    text = "_sr_" in name or "Keyboard" in name
    return "joint" if visual and text else "visual" if visual else "text" if text else "natural"


# The lab.


def _lab(config: AuditConfig, run: RunDir) -> Iterator[Source]:
    data = config.data
    first = reference_source(ID, data, config.seed)
    yield first
    for name, spec in data.scenarios.items():
        if spec.path is not None:
            yield _file(name, spec.family or "natural", spec.path, spec.partition)
        elif spec.shifts:
            _refuse_both(name, spec)
            yield _perturbed(name, spec, first, config, run)
        elif spec.language or spec.pool:
            where, n = f"data.scenarios.{name}", spec.n or data.n
            yield _lab_source(name, spec.family or _lab_family(spec), spec, n, config.seed, where)
        else:
            raise BadInput(f"data.scenarios.{name}: give a language, a pool, shifts or a path")


def _refuse_both(name: str, spec: ScenarioSpec) -> None:
    if spec.language or spec.pool:
        raise BadInput(
            f"data.scenarios.{name}: shifts perturb the in-distribution records; no language or pool"
        )


def _lab_family(spec: ScenarioSpec) -> str:
    if spec.pool is None:
        return "text"
    return {"new-mix": "mix"}.get(spec.pool, "natural")


def _lab_source(name: str, family: str, spec: ScenarioSpec, n: int, seed: int, where: str) -> Source:
    """`where`: the key of the config that errors name."""
    language, pool = spec.language or "en", spec.pool or "id"
    if pool not in POOLS:
        raise BadInput(f"{where}.pool: {pool!r} is none of {', '.join(POOLS)}")

    def rows() -> Rows:
        try:
            for item in lab_items(n, seed, language, pool=pool):
                yield Record(
                    item.record_id,
                    item.base_id,
                    images=(Image(data=item.image),),
                    query=item.query,
                    reference=item.reference,
                    tags=tuple(item.tags),
                )
        except ValueError as error:
            raise BadInput(f"{where}: {error}") from error

    return Source(name, family, f"lab {n} {seed} {language} {pool}", rows, spec.partition)
