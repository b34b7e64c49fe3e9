"""This module is the contract of a reader."""

from __future__ import annotations

from pathlib import Path

from auditor.scenarios import Scenario, Source, gather, sources
from auditor.scenarios.registry import READERS
from auditor.storage.run_dir import RunDir
from auditor.testing.contracts import require
from schemas.config import AuditConfig
from schemas.record import Quarantined, Record


def check_reader(config: AuditConfig, out: Path) -> None:
    """Check that the reader of `config.data.reader` can be used in an audit of `config`: scenarios with names
    of their own, the in-distribution one first; fingerprints that say what the rows depend on and nothing
    else; rows that are records or quarantined ones (none is raised), the same at every reading; and records
    that can be admitted. `out` (empty) is used for a run directory.

    Raises:
        AssertionError: a contract is broken; the message says which.
    """
    name = config.data.reader
    who = f"reader {name}"
    READERS.find(name, "data.reader")
    run = RunDir(out)
    run.open()
    first, second = sources(config, run), sources(config, run)
    require(bool(first), f"{who}: no scenarios")
    require(all(isinstance(s, Source) for s in first), f"{who}: gives something that is no Source")
    names = [source.name for source in first]
    require(len(set(names)) == len(names), f"{who}: two scenarios have the same name ({', '.join(names)})")
    require(first[0].family == "id", f"{who}: the first scenario's family is {first[0].family!r}, not 'id'")
    descriptions = [(s.name, s.family, s.fingerprint, s.partition) for s in first]
    require(
        descriptions == [(s.name, s.family, s.fingerprint, s.partition) for s in second],
        f"{who}: scenarios or fingerprints of the same config differ from one look to the next",
    )
    prints = [source.fingerprint for source in first]
    require(len(set(prints)) == len(prints), f"{who}: two scenarios have the same fingerprint")
    for source, repeated in zip(first, second, strict=True):
        rows, again = _rows(source, who), _rows(repeated, who)
        require(rows == again, f"{who}: the rows of {source.name} differ from one reading to the next")
        ids = [row.record_id for row in rows if isinstance(row, Record)]
        require(bool(ids), f"{who}: {source.name} has no record")
        require(all(ids), f"{who}: a record of {source.name} has no record_id")
        scenario = gather(source, run, config.data)
        require(scenario.n > 0, f"{who}: no record of {source.name} can be admitted ({_reasons(scenario)})")


def _rows(source: Source, who: str) -> list[Record | Quarantined]:
    try:
        rows = list(source.rows())
    except Exception as error:
        raise AssertionError(f"{who}: reading {source.name} raises ({error!r})") from error
    for row in rows:
        if not isinstance(row, Record | Quarantined):
            raise AssertionError(
                f"{who}: {source.name} gives a {type(row).__name__}, no Record or Quarantined"
            )
    return rows


def _reasons(scenario: Scenario) -> str:
    return ", ".join(f"{reason} {n}" for reason, n in scenario.quarantine().counts().items())
