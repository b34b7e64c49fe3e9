"""The first step of a baseline and of drift reads records, checks them, and cuts them into windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from auditor.pipeline.checks import check_records, responding_model
from auditor.records import Progress, Rows
from auditor.scenarios import (
    TRAFFIC,
    Given,
    Grouping,
    Scenario,
    Source,
    gather,
    group_records,
    records_of,
    sources,
)
from auditor.scenarios.row_ranges import Part, Survey, in_order, survey
from auditor.scenarios.windows import (
    Splitter,
    Window,
    by_rows,
    by_time,
    cut,
    one_window,
    placer,
    timed,
)
from auditor.storage.run_dir import RunDir
from schemas.config import BaselineConfig, DriftConfig, WindowedConfig
from schemas.record import Quarantined

REFERENCE = "baseline"
"""Name of the reference records in a run directory."""


SetAside = Mapping[Window | None, Sequence[Quarantined]]
"""The window that quarantined rows would have been in (None where nobody knows) -> these rows."""


@dataclass(frozen=True)
class Reference:
    """A baseline is learned from these records."""

    origin: str
    """What messages call them: their file, or their reader."""
    scenario: Scenario
    grouping: Grouping
    model: str | None
    """Whose recorded responses are used; None where there are none."""
    split: Splitter | None
    """What cuts them into windows; None where they are not cut."""
    set_aside: SetAside


@dataclass(frozen=True)
class Traffic:
    """These records are compared with a baseline, in windows."""

    origin: str
    scenario: Scenario
    grouping: Grouping
    survey: Survey
    parts: tuple[Part, ...]
    """The windows in their order: by time, or as the rows come."""
    model: str | None
    set_aside: SetAside


def gather_reference(config: BaselineConfig, run: RunDir, records: Given | None = None) -> Reference:
    """Read the reference records. Raises `BadInput` where no record is usable, or whose responses are meant
    is not clear."""
    origin = config.data.id or f"data.reader: {config.data.reader}"
    source = replace(sources(config, run, records)[0], name=REFERENCE)
    scenario = gather(_timed(source) if config.window else source, run, config.data)
    check_records(origin, scenario)
    grouping = group_records([scenario], config.data)
    models = sorted({name for record in records_of([scenario]) for name in record.responses})
    model = responding_model(origin, models, config.model)
    split, set_aside = splitter(config, scenario.n), _set_aside(config, scenario)
    return Reference(origin, scenario, grouping, model, split, set_aside)


def gather_traffic(config: DriftConfig, run: RunDir, unit: int, records: Given | None = None) -> Traffic:
    """Read the traffic and cut it into windows; `unit` is the rows of a unit of work. Raises `BadInput` where
    no record is usable, or whose responses are meant is not clear."""
    origin = config.data.traffic
    (source,) = sources(config, run, records)
    scenario = gather(_timed(source) if config.window else source, run, config.data)
    check_records(origin, scenario, "nothing to compare")
    grouping = group_records([scenario], config.data, splitter(config, scenario.n))
    split = splitter(config, scenario.n) or one_window()
    overview = survey(scenario.path, split, run.windows(TRAFFIC), unit)
    parts = tuple(in_order(overview.parts))
    model = responding_model(origin, overview.models, config.model)
    return Traffic(origin, scenario, grouping, overview, parts, model, _set_aside(config, scenario))


def splitter(config: WindowedConfig, rows: int) -> Splitter | None:
    """Return what cuts so many rows into the windows of a config; None where it names none."""
    clock, size = cut(config)
    if clock is not None:
        return by_time(clock)
    return by_rows(size, rows) if size else None


def _set_aside(config: WindowedConfig, scenario: Scenario) -> SetAside:
    window_of = placer(*cut(config), scenario.n)
    by_window: dict[Window | None, list[Quarantined]] = {}
    for row in scenario.quarantine():
        by_window.setdefault(window_of(row), []).append(row)
    return by_window


def _timed(source: Source) -> Source:
    """Keep the records that have a timestamp; the others are quarantined."""

    def rows() -> Rows:
        source_rows = source.rows()
        return timed(source_rows if isinstance(source_rows, Rows) else Rows(iter(source_rows), Progress()))

    return replace(source, fingerprint=f"timed {source.fingerprint}", rows=rows)
