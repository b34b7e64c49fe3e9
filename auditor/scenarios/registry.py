"""This module registers readers by name: they say where scenarios come from. A new one is a file beside this
(or in a package of its own) with `@reader(...)`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from auditor.errors import BadInput
from auditor.registry import Registry, Settings, settings_keyword
from schemas.config import DataConfig, JobConfig

if TYPE_CHECKING:
    from auditor.scenarios.scenario import Given, Source
    from auditor.storage.run_dir import RunDir

F = TypeVar("F", bound=Callable[..., "Iterable[Source]"])


@dataclass(frozen=True, slots=True)
class NamedReader:
    """An entry has the function that lists the scenarios of a config, and what it asks of the section
    `data`."""

    read: Callable[..., Iterable[Source]]
    settings: type[Settings] | None
    needs: Mapping[str, str]
    media_root: str | None


READERS: Registry[NamedReader] = Registry(
    "reader", "auditor.scenarios.reader", "shift_auditor.readers", "auditor.scenarios"
)


def reader(
    name: str,
    *,
    settings: type[Settings] | None = None,
    needs: Mapping[str, str] | None = None,
    media_root: str | None = None,
) -> Callable[[F], F]:
    """Register the function below under `name`.

    It is called with the config and the run directory, and with `settings` where a class of settings is given
    (`data.options`, validated). Of an audit it gives a `Source` for each scenario, the reference one
    first; of a baseline (`data` is a `BaselineData`) that one alone; of drift (a `DriftData`) the traffic.
    Nothing is read before a source is asked for its rows. `needs`: keys of `data` that must be given, and
    what they are. `media_root`: the key of `data` whose folder holds the images where `data.media_root` is
    not set.
    """

    def register(read: F) -> F:
        READERS.add(name, NamedReader(read, settings, needs or {}, media_root), read)
        return read

    return register


def sources(config: JobConfig, run: RunDir, record_sets: Given | None = None) -> list[Source]:
    """List the sources of a config: for an audit its scenarios, the reference one first.

    `record_sets`: records by the name of their scenario, used instead of the files that the config names (by
    the reader `records` only). Raises `BadInput` where they cannot be used, or the reader refuses the config.
    """
    settings = dict(check_reader(config.data))
    if record_sets:
        if config.data.reader != "records":
            raise BadInput(f"data.reader: {config.data.reader} reads no records that are handed in")
        settings["record_sets"] = record_sets
    scenarios = list(READERS.find(config.data.reader).read(config, run, **settings))
    for source in scenarios[1:]:
        if source.name == scenarios[0].name:
            raise BadInput(
                f"data.scenarios: {source.name!r} is the name of the in-distribution records; rename it"
            )
    return scenarios


def check_reader(data: DataConfig) -> dict[str, Any]:
    """Return what the reader is called with for its settings. Raises `BadInput` for an unknown reader, a key
    of `data` that it needs, or options that it does not have."""
    entry = READERS.find(data.reader, "data.reader")
    for key, what in entry.needs.items():
        if getattr(data, key, "") is None:
            raise BadInput(f"data.{key} is missing: {what}")
    return settings_keyword(entry.settings, data.options, "data.options")
