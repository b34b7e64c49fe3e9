"""A program or a notebook calls these functions: the same jobs as the command line, with tables and lists for
files.

Every function takes records as `read` does, shows its progress (with `progress=False` it does not), and works
in the folder `out`, where the same call again goes on from where it was; without one, in a temporary folder
that goes with the process. What is wrong is a `BadInput` or an `AuditError` of one line.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import ValidationError

from auditor.errors import BadInput
from auditor.pipeline.settings import explain
from schemas.config import (
    AuditConfig,
    BaselineConfig,
    DriftConfig,
    EncodersConfig,
    JobConfig,
    ScenarioSpec,
    WorkersConfig,
)

if TYPE_CHECKING:
    from auditor.pipeline.bars import Bars
    from auditor.profiles.baseline import Baseline
    from auditor.profiles.profile import Profile
    from auditor.records.collection import Records
    from auditor.report.result import Report
    from schemas import report as schema
    from schemas.report import Verdict

C = TypeVar("C", bound=JobConfig)
ID, TRAFFIC = "id", "traffic"


def read(
    source: Any,
    *,
    format: str | None = None,
    map: Mapping[str, str | Sequence[str] | Mapping[str, str]] | None = None,
    media_root: str | Path | None = None,
    url_allow: Sequence[str] | None = None,
    url_private: bool | None = None,
    max_image_bytes: int | None = None,
    max_image_pixels: int | None = None,
    max_images: int | None = None,
    max_text_chars: int | None = None,
) -> Records:
    """Return the records of `source`: a path, a glob or an address (`s3://...`) of files, or a list of them;
    a pandas DataFrame; a pyarrow Table or RecordBatch; a `datasets.Dataset`; an iterable of dicts or of
    `schemas.record.Record`. Nothing is copied: a table is read where it is, every time.

    Every other function takes such a source, too; this one is for looking at the rows (they are iterated as
    `Record` or `Quarantined`), and for saying what belongs to one source alone:

    format: what the rows of files are, such as `otel` (default: told from the first rows of each file).
    map: field -> JSONPath, for rows of any other format (see docs/formats.md).
    media_root: folder that image paths are relative to, and that they may not leave.
    url_allow: hosts or prefixes that images may be fetched from; url_private: also at private addresses.
    max_image_bytes, max_image_pixels, max_images (of a record), max_text_chars: what is larger is
    quarantined.

    Raises `BadInput` where `source` is nothing that holds records, a file is not there, or a table has no
    column `record_id`.
    """
    from auditor.records.collection import read

    return read(
        source,
        format=format,
        map=map,
        media_root=media_root,
        url_allow=url_allow,
        url_private=url_private,
        max_image_bytes=max_image_bytes,
        max_image_pixels=max_image_pixels,
        max_images=max_images,
        max_text_chars=max_text_chars,
    )


def build_baseline(
    reference: Any,
    *,
    encoders: Mapping[str, Any] | EncodersConfig,
    model: str | None = None,
    media_root: str | Path | None = None,
    out: str | Path | None = None,
    executor: WorkersConfig | None = None,
    seed: int = 0,
    progress: bool = True,
    **settings: Any,
) -> Baseline:
    """Learn a baseline from the reference records: everything that later records are compared with.

    encoders: `{"image": NAME or None, "text": NAME}`, or settings instead of a name.
    model: whose recorded responses are used (default: the only one's).
    settings: further keys of the config of `auditor baseline build`, such as `critic={"seeds": 5}`, or
    `window="1d"`: with ten windows or more, `drift` knows how much they vary without a drift.
    """
    source = read(reference)
    tree = {
        "data": _data([source], media_root, settings) | {"id": source.path or source.label},
        "encoders": encoders,
        "model": model,
        "seed": seed,
    }
    config = _config(BaselineConfig, tree, settings, executor)
    from auditor.pipeline.baseline import build

    with _progress_bars(progress) as bars:
        return build(config, _folder(out, "baseline"), bars, _records_without_path({ID: source}))


def drift(
    baseline: Baseline | str | Path,
    traffic: Any,
    *,
    window: str | None = None,
    window_rows: int | None = None,
    model: str | None = None,
    media_root: str | Path | None = None,
    out: str | Path | None = None,
    executor: WorkersConfig | None = None,
    seed: int = 0,
    progress: bool = True,
    **settings: Any,
) -> Report:
    """Compare traffic with a baseline, window by window: what moved, by how much, and is it chance?

    baseline: what `build_baseline` returned, or its folder.
    window: length of a window of time, such as "1d"; window_rows: rows of a window. Neither: one window.
    settings: further keys of the config of `auditor drift`, such as `thresholds={"p_value": 0.05}`.
    """
    config, source = _drift_config(
        baseline,
        traffic,
        media_root,
        {**settings, "window": window, "window_rows": window_rows, "model": model, "seed": seed},
        executor,
    )
    from auditor.pipeline.drift import drift

    folder = _folder(out, "drift")
    with _progress_bars(progress) as bars:
        return _report(drift(config, folder, bars, _records_without_path({TRAFFIC: source})), folder)


def profile(
    records: Any,
    *,
    baseline: Baseline | str | Path,
    model: str | None = None,
    media_root: str | Path | None = None,
    out: str | Path | None = None,
    executor: WorkersConfig | None = None,
    progress: bool = True,
    **settings: Any,
) -> Profile:
    """Return everything that is kept of a group of records, embedded with the encoders of `baseline` and
    summed with its critics: sums and a row sample, not the records. Profiles that were made with one baseline
    merge: `monday.merge(tuesday)`. They are kept by `Profile.save` and read by `Profile.load`.

    settings: further keys of the config of `auditor drift` (`row_sample`).
    """
    config, source = _drift_config(baseline, records, media_root, {**settings, "model": model}, executor)
    from auditor.pipeline.drift import profile_traffic

    with _progress_bars(progress) as bars:
        return profile_traffic(
            config, _folder(out, "profile"), bars, _records_without_path({TRAFFIC: source})
        )


def audit(
    reference: Any,
    scenarios: Mapping[str, Any],
    *,
    models: Sequence[str | Mapping[str, Any]],
    encoders: Mapping[str, Any] | EncodersConfig,
    media_root: str | Path | None = None,
    out: str | Path | None = None,
    executor: WorkersConfig | None = None,
    seed: int = 0,
    progress: bool = True,
    **settings: Any,
) -> Report:
    """Audit models over scenarios: EMI, EMID, bounds and divergences of each.

    scenarios: name -> records; or name -> settings, such as `{"shifts": [{"shift": "blur", "severity": 3}]}`
        (copies of the reference records, perturbed) or `{"path": RECORDS, "partition": True}`.
    models: names of those whose recorded responses are used, or settings of models that answer here.
    encoders: `{"image": NAME or None, "text": NAME}`, or settings instead of a name.
    settings: further keys of the config of `auditor audit`, such as `thresholds={"emid": 0.2}`.
    """
    sources = {ID: read(reference)}
    specs: dict[str, Any] = {}
    for name, content in _check_named(scenarios).items():
        spec = dict(content) if _is_spec(content) else {"path": content}
        if spec.get("path") is not None:
            sources[name] = read(spec["path"])
            spec["path"] = sources[name].path or sources[name].label
        specs[name] = spec
    tree = {
        "data": _data(list(sources.values()), media_root, settings)
        | {"id": sources[ID].path or sources[ID].label, "scenarios": specs},
        "models": list(models) if isinstance(models, Sequence) and not isinstance(models, str) else models,
        "encoders": encoders,
        "seed": seed,
    }
    config = _config(AuditConfig, tree, settings, executor)
    from auditor.pipeline.audit import audit

    folder = _folder(out, "audit")
    with _progress_bars(progress) as bars:
        return _report(audit(config, folder, bars, _records_without_path(sources)), folder)


def compare(
    report: Report | str | Path,
    new: str,
    *,
    margin: float,
    current: str | None = None,
    scenario: str | None = None,
    level: float = 0.95,
) -> Verdict:
    """Is the new model no worse than the current one by more than `margin` (EMI, nats)? From the report of an
    audit of both, or its folder.

    current: default the report's. scenario: default the mean over all. level: one-sided confidence.
    """
    from auditor.measures import models
    from auditor.report.result import Report

    content = (report if isinstance(report, Report) else Report.load(report)).content
    return models.compare(content, new, current, margin=margin, scenario=scenario, level=level)


def serial(workers: int | Literal["auto"] = "auto", **settings: Any) -> WorkersConfig:
    """Work in this process, at so many units at a time (auto: as many as fit on the cores)."""
    return _workers({"executor": "serial", "cpu": workers, **settings})


def ray(
    address: str | None = None,
    cpu: int | Literal["auto"] = "auto",
    gpu: int | Literal["auto"] = "auto",
    **settings: Any,
) -> WorkersConfig:
    """Work on a Ray cluster: the one at `address`, of RAY_ADDRESS, or one that is started on this machine.
    `settings`: further keys of the section `workers:`, such as `stall_seconds`."""
    return _workers({"executor": "ray", "address": address, "cpu": cpu, "gpu": gpu, **settings})


# Configs: the one place where they are made.


def _config(
    job: type[C], tree: Mapping[str, Any], settings: Mapping[str, Any], workers: WorkersConfig | None
) -> C:
    if workers is not None and not isinstance(workers, WorkersConfig):
        raise BadInput("executor: give auditor.serial(...) or auditor.ray(...)")
    options = {name: value for name, value in settings.items() if name != "data"}
    if workers is not None:
        options["workers"] = workers
    try:
        config = job.model_validate(
            options | {key: value for key, value in tree.items() if value is not None}
        )
    except ValidationError as error:
        raise BadInput(explain(job, error, python=True)) from None
    from auditor.pipeline.names import check_names  # registries: a config of the wrong form needs none

    check_names(config)
    return config


def _drift_config(
    baseline: Baseline | str | Path,
    traffic: Any,
    media_root: str | Path | None,
    settings: Mapping[str, Any],
    executor: WorkersConfig | None,
) -> tuple[DriftConfig, Records]:
    source = read(traffic)
    tree = {
        "data": _data([source], media_root, settings) | {"traffic": source.path or source.label},
        "baseline": str(baseline if isinstance(baseline, str | Path) else baseline.folder),
    }
    return _config(DriftConfig, tree, settings, executor), source


def _workers(tree: Mapping[str, Any]) -> WorkersConfig:
    try:
        return WorkersConfig.model_validate(tree)
    except ValidationError as error:
        raise BadInput(explain(WorkersConfig, error, python=True)) from None


_OF_ONE_SOURCE = frozenset({"format", "map"})
"""Settings of `read` that other sources of a call need not share."""


def _data(
    sources: Sequence[Records], media_root: str | Path | None, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the section `data:` without the records: what the call says, else what the sources say. Raises
    `BadInput` where two of them disagree."""
    agreed: dict[str, Any] = {}
    for source in sources:
        for name, value in source.settings.items():
            if name in _OF_ONE_SOURCE:
                continue
            if agreed.setdefault(name, value) != value:
                raise BadInput(
                    f"{name}: {source.label} has {value!r}, other records of this call {agreed[name]!r}; "
                    "give one for all of them"
                )
    section = settings.get("data", {})
    if not isinstance(section, Mapping):
        raise BadInput("data: give a dict, such as {'url_allow': ['https://images.example.org/']}")
    overrides = {} if media_root is None else {"media_root": str(media_root)}
    return {**agreed, **section, **overrides}


def _check_named(scenarios: Any) -> Mapping[str, Any]:
    if not isinstance(scenarios, Mapping):
        raise BadInput("scenarios: give a dict of name -> records, or name -> {'shifts': [...]}")
    return scenarios


def _is_spec(content: Any) -> bool:
    """Return whether a scenario is given by its settings."""
    return isinstance(content, dict) and bool(content) and set(content) <= set(ScenarioSpec.model_fields)


def _records_without_path(sources: Mapping[str, Records]) -> dict[str, Records]:
    """Return the records that the config does not name: a path is read as the command line reads it, unless
    it was said for this source alone what its rows are."""
    return {
        name: source
        for name, source in sources.items()
        if source.path is None or not _OF_ONE_SOURCE.isdisjoint(source.settings)
    }


# Where the work is done, and what is shown of it.


@contextmanager
def _progress_bars(progress: bool) -> Iterator[Bars]:
    from auditor.pipeline.bars import Bars

    with Bars(quiet=not progress).shown() as bars:
        yield bars


def _report(content: schema.Report, folder: Path) -> Report:
    """Return the report of a job, with the records that it shows."""
    from auditor.report.result import Report
    from auditor.report.store import Store

    return Report(content, Store(folder).load_examples(content.run.run_id))


def _folder(out: str | Path | None, job: str) -> Path:
    if out is not None:
        return Path(out)
    return Path(tempfile.mkdtemp(prefix=f"{job}-", dir=_temporary(os.getpid())))


@cache
def _temporary(process: int) -> Path:
    """Return the folder of this process, which goes with it."""
    folder = Path(tempfile.mkdtemp(prefix="auditor-"))
    atexit.register(_remove, folder, process)
    return folder


def _remove(folder: Path, process: int) -> None:
    if os.getpid() == process:  # not in a copy of the process
        shutil.rmtree(folder, ignore_errors=True)
