"""The store holds the results of every run in one DuckDB file, `audit.duckdb`.

DuckDB lets no reader of another process in while a writer has the file open. So the one writer opens it for
a transaction and closes it, and readers open it read-only and close it; either waits some seconds for the
other. A transaction is written whole or not at all: a run killed in the middle of one leaves a good store.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import duckdb
import pyarrow as pa
from pydantic import BaseModel

from auditor import __version__
from auditor.errors import AuditError, BadInput
from auditor.storage.disk import is_full, no_space
from schemas.report import (
    Bound,
    Census,
    Correlation,
    Credibility,
    Divergence,
    EmiForms,
    Example,
    Finding,
    Interval,
    Intervals,
    LabelFree,
    Report,
    Row,
    RowCounts,
    Run,
    Status,
    Style,
    Variation,
    Verdict,
)

log = logging.getLogger(__name__)

FORMAT = 5
"""Version of the tables in `schemas/store.sql`."""

WAIT_SECONDS = 15.0
"""How long a reader waits for a writer; a transaction takes well under a second."""
WRITE_WAIT_SECONDS = 120.0
"""How long a writer waits for readers: a notebook may keep the file open, and hours of work are at stake."""

TELL_SECONDS = 5.0
"""After which it is said what is waited for."""

Kind = Literal["scenario", "window"]
_Connection = duckdb.DuckDBPyConnection
_Values = dict[str, Any]
_Batch = defaultdict[str, list[_Values]]
"""Rows to insert, by table: one insert a table, however many results are written."""

_OF_RESULT = (
    "results",
    "intervals",
    "bounds",
    "divergences",
    "label_free",
    "credibility",
    "emi_forms",
    "style",
    "descriptors",
    "missing",
    "notes",
)
_PARTS: dict[str, type[BaseModel]] = {
    "label_free": LabelFree,
    "credibility": Credibility,
    "emi_forms": EmiForms,
    "style": Style,
}
"""Tables with at most one row a result."""
_OF_RUN = (*_OF_RESULT, "findings", "quarantine", "tables", "correlations", "examples")
_RUN_JSON = ("config", "versions", "encoders", "models", "grader", "thresholds", "seconds")
_ROW_SCALARS = tuple(
    name
    for name in Row.model_fields
    if name not in {*_OF_RESULT, "rows", "variation", "census", "findings", "verdict"}
)


@dataclass(frozen=True, slots=True)
class RunInfo:
    """This is one line of the list of runs."""

    run_id: str
    job: str
    created: str
    complete: bool
    status: Status


class Store:
    """The store is at `path`: a `.duckdb` file, or the folder that holds `audit.duckdb`."""

    def __init__(
        self,
        path: Path | str,
        wait_seconds: float = WAIT_SECONDS,
        write_wait_seconds: float = WRITE_WAIT_SECONDS,
    ) -> None:
        path = Path(path)
        self.path = path if path.suffix == ".duckdb" else path / "audit.duckdb"
        self.wait_seconds = wait_seconds
        self.write_wait_seconds = write_wait_seconds

    # Writing. Only one process writes.

    def write_run(self, report: Report, examples: Sequence[Example] = ()) -> None:
        """Write a whole run in one transaction; a run of the same id is replaced."""
        batch = _batch()
        for row in report.scenarios:
            _add_row(batch, report.run.run_id, "scenario", row)
        for row in report.windows:
            _add_row(batch, report.run.run_id, "window", row)
        for position, result in enumerate(batch.get("results", [])):
            result["pos"] = position
        _add_outcome(batch, report, examples)
        with self._writing() as con:
            _delete(con, _OF_RUN, report.run.run_id)
            _put_run(con, report)
            _insert(con, batch)

    # Reading

    def runs(self) -> list[RunInfo]:
        """Return all runs, the latest first."""
        with self._reading() as con:
            return _runs(con)

    def load_report(self, run_id: str | None = None) -> Report:
        """Return the report of a run (default: the latest), equal to the one that was written."""
        with self._reading() as con:
            run_id = self._known(con, run_id)
            head = _select(con, "runs", run_id)[0]
            rows = _load_rows(con, run_id)
            whole = {t: _select(con, t, run_id) for t in ("quarantine", "tables", "correlations")}
            feed = _select(con, "findings", run_id, kind="run")
            missing = _select(con, "missing", run_id, kind="run")
            notes = _select(con, "notes", run_id, kind="run")
        tables: dict[str, list[_Values]] = {}
        for entry in whole["tables"]:
            rows_of = tables.setdefault(entry["name"], [])
            if entry["row"] is not None:
                rows_of.append(json.loads(entry["row"]))
        run = {name: head[name] for name in Run.model_fields}
        run.update({name: json.loads(head[name]) for name in _RUN_JSON})
        return Report(
            schema_version=head["schema_version"],
            run=Run(**run),
            scenarios=rows["scenario"],
            windows=rows["window"],
            tables=tables,
            correlations=[Correlation(**_fields(Correlation, c)) for c in whole["correlations"]],
            feed=[_finding(f) for f in feed],
            quarantine={q["reason"]: q["count"] for q in whole["quarantine"]},
            missing={m["path"]: m["reason"] for m in missing},
            verdict=Verdict(status=head["status"], because=head["because"]),
            notes=[n["note"] for n in notes],
        )

    def load_examples(self, run_id: str | None = None) -> list[Example]:
        """Return the example records of a run (default: the latest)."""
        with self._reading() as con:
            rows = _select(con, "examples", self._known(con, run_id))
        return [Example(**_fields(Example, e) | {"responses": json.loads(e["responses"])}) for e in rows]

    # Opening

    @contextmanager
    def _writing(self) -> Iterator[_Connection]:
        """Open the file for one transaction; it is made if it does not exist."""
        if not self.path.exists():
            _create(self.path)
        con = self._connect(read_only=False)
        try:
            con.execute("BEGIN")
            yield con
            con.execute("COMMIT")
        except duckdb.Error as error:
            if is_full(error):
                raise AuditError(no_space(self.path)) from error
            raise AuditError(f"{self.path}: cannot write the results: {_first_line(error)}") from error
        finally:
            con.close()  # rolls back what was not committed

    @contextmanager
    def _reading(self) -> Iterator[_Connection]:
        if not self.path.is_file():
            raise BadInput(
                f"{self.path}: no such store; give the folder that an audit wrote its results into"
            )
        con = self._connect(read_only=True)
        try:
            yield con
        except duckdb.Error as error:
            raise BadInput(f"{self.path}: the store is damaged: {_first_line(error)}") from error
        finally:
            con.close()

    def _connect(self, read_only: bool) -> _Connection:
        seconds = self.wait_seconds if read_only else self.write_wait_seconds
        began, announced = time.monotonic(), False
        while True:
            try:
                con = _open(self.path, read_only)
                break
            except duckdb.Error as error:
                if is_full(error):
                    raise AuditError(no_space(self.path)) from error
                if not _is_busy(error):
                    raise BadInput(f"{self.path}: not a readable store: {_first_line(error)}") from error
                waited = time.monotonic() - began
                if waited > seconds:
                    raise AuditError(
                        f"{self.path}: {_holder(error)} kept the store open for {seconds:g} s; close it (a "
                        "DuckDB shell, a notebook, another run) and run the same command again"
                    ) from error
                if waited > TELL_SECONDS and not announced:
                    announced = True
                    log.warning("%s: waiting for %s, which has the store open", self.path, _holder(error))
                time.sleep(0.05)
        try:
            self._check_format(con)
        except BaseException:
            con.close()
            raise
        return con

    def _check_format(self, con: _Connection) -> None:
        try:
            stamp = _fetch_one(con, "SELECT version, written_by FROM store_format")
        except duckdb.Error:
            stamp = None
        if stamp is None:
            raise BadInput(f"{self.path}: a DuckDB file, but not one that this program wrote")
        version, program = stamp
        if version != FORMAT:
            age = "newer" if version > FORMAT else "older"
            raise BadInput(
                f"{self.path}: store format {version} ({age}), written by auditor {program}; auditor "
                f"{__version__} reads format {FORMAT}: use {program}, or write to another folder"
            )

    def _known(self, con: _Connection, run_id: str | None) -> str:
        """Return the run that is meant: the latest if none is named."""
        known = [run.run_id for run in _runs(con)]
        if not known:
            raise BadInput(f"{self.path}: the store holds no run yet")
        if run_id is None:
            return known[0]
        if run_id not in known:
            raise BadInput(f"{self.path}: no run {run_id}; it holds {', '.join(known[:5])}")
        return run_id


def _open(path: Path, read_only: bool) -> _Connection:
    settings: dict[str, str | bool | int | float | list[str]] = {
        "enable_external_access": "false",
        "lock_configuration": "true",
        "threads": "1",
    }
    return duckdb.connect(str(path), read_only=read_only, config=settings)


def _create(path: Path) -> None:
    """Make an empty store beside `path` and move it there, so that a half-made one is never found."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    log = temporary.with_name(f"{temporary.name}.wal")  # a dead process of this number may have left one
    temporary.unlink(missing_ok=True)
    log.unlink(missing_ok=True)
    try:
        with _open(temporary, read_only=False) as con:
            con.execute((files("schemas") / "store.sql").read_text(encoding="utf-8"))
            con.execute("INSERT INTO store_format VALUES (?, ?)", (FORMAT, __version__))
        with suppress(FileExistsError):  # another run was first: use its file
            os.link(temporary, path)
    except (duckdb.Error, OSError) as error:
        if is_full(error):
            raise AuditError(no_space(path)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)
        log.unlink(missing_ok=True)


def _is_busy(error: duckdb.Error) -> bool:
    """Return whether another process has the file, or this one has it open in the other mode."""
    text = str(error)
    return "lock on file" in text or "different configuration" in text


def _holder(error: duckdb.Error) -> str:
    """Say who has the file, as far as DuckDB knows."""
    match = re.search(r"PID (\d+)", str(error))
    return f"another process ({match[1]})" if match else "another process"


def _first_line(error: duckdb.Error) -> str:
    return str(error).partition("\n")[0]


# From a report to rows of tables


def _batch() -> _Batch:
    return defaultdict(list)


def _add_row(batch: _Batch, run_id: str, kind: Kind, row: Row) -> None:
    key: _Values = {"run_id": run_id, "kind": kind, "scenario": row.scenario, "model": row.model}
    scalars = {name: getattr(row, name) for name in _ROW_SCALARS}
    counts = {name: getattr(row.rows, name, None) for name in ("groups", "effective_n")}
    whole = {
        name: None if part is None else part.model_dump_json()
        for name, part in (("variation", row.variation), ("census", row.census))
    }
    batch["results"].append(key | scalars | counts | whole | row.verdict.model_dump())
    _add_findings(batch, key, row.findings)
    for measure, interval in row.intervals:
        if interval is not None:
            batch["intervals"].append(key | {"measure": measure} | _limits(interval))
    for pos, (form, bound) in enumerate(row.bounds.items()):
        values = bound.model_dump(exclude={"interval"})
        batch["bounds"].append(key | {"pos": pos, "form": form} | values | _limits(bound.interval))
    for pos, (modality, divergence) in enumerate(row.divergences.items()):
        values = divergence.model_dump(exclude={"interval"})
        batch["divergences"].append(
            key | {"pos": pos, "modality": modality} | values | _limits(divergence.interval)
        )
    for table in _PARTS:
        if (part := getattr(row, table)) is not None:
            batch[table].append(key | part.model_dump())
    for pos, (name, value) in enumerate(row.descriptors.items()):
        batch["descriptors"].append(key | {"pos": pos, "name": name, "value": value})
    _add_remarks(batch, key, row.missing, row.notes)


def _add_findings(batch: _Batch, key: _Values, findings: Sequence[Finding]) -> None:
    for pos, finding in enumerate(findings):
        values = finding.model_dump()
        about = {"about": values.pop("kind"), "place": values.pop("where")}
        batch["findings"].append(key | {"pos": pos} | about | values)


def _add_remarks(batch: _Batch, key: _Values, missing: Mapping[str, str], notes: Sequence[str]) -> None:
    for pos, (path, reason) in enumerate(missing.items()):
        batch["missing"].append(key | {"pos": pos, "path": path, "reason": reason})
    for pos, note in enumerate(notes):
        batch["notes"].append(key | {"pos": pos, "note": note})


def _add_outcome(batch: _Batch, report: Report, examples: Sequence[Example]) -> None:
    """Add what belongs to the run and to no single result."""
    key: _Values = {"run_id": report.run.run_id}
    of_run: _Values = key | {"kind": "run", "scenario": None, "model": None}
    _add_remarks(batch, of_run, report.missing, report.notes)
    _add_findings(batch, of_run, report.feed)
    for pos, (reason, count) in enumerate(report.quarantine.items()):
        batch["quarantine"].append(key | {"pos": pos, "reason": reason, "count": count})
    position = 0
    for name, rows in report.tables.items():
        texts: list[str | None] = [_json(row) for row in rows]
        for row in texts or [None]:
            batch["tables"].append(key | {"name": name, "pos": position, "row": row})
            position += 1
    for pos, correlation in enumerate(report.correlations):
        batch["correlations"].append(key | {"pos": pos} | correlation.model_dump())
    for pos, example in enumerate(examples):
        values = example.model_dump() | {"responses": _json(example.responses)}
        batch["examples"].append(key | {"pos": pos} | values)


def _put_run(con: _Connection, report: Report) -> None:
    values = report.run.model_dump()
    values.update({name: _json(values[name]) for name in _RUN_JSON})
    code_version = report.run.versions.get("shift-auditor", __version__)
    head = values | report.verdict.model_dump()
    head |= {"schema_version": report.schema_version, "code_version": code_version}
    _delete(con, ("runs",), report.run.run_id)
    _insert(con, {"runs": [head]})


def _limits(interval: Interval | None) -> _Values:
    low, high = (None, None) if interval is None else interval
    return {"low": low, "high": high}


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _insert(con: _Connection, batch: Mapping[str, list[_Values]]) -> None:
    for table, rows in batch.items():
        con.register("incoming", pa.Table.from_pylist(rows))
        con.execute(f"INSERT INTO {table} BY NAME SELECT * FROM incoming")
        con.unregister("incoming")


def _delete(con: _Connection, tables: Sequence[str], run_id: str) -> None:
    for table in tables:
        con.execute(f"DELETE FROM {table} WHERE run_id = ?", (run_id,))


# From rows of tables to a report


def _fetch_one(con: _Connection, sql: str, *values: object) -> tuple[Any, ...] | None:
    return con.execute(sql, values).fetchone()


def _dicts(con: _Connection, sql: str, values: Sequence[object] = ()) -> list[_Values]:
    cursor = con.execute(sql, values)
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _select(con: _Connection, table: str, run_id: str, kind: str | None = None) -> list[_Values]:
    """Return the rows of a run in a table, in their order."""
    condition, values = ("run_id = ? AND kind = ?", (run_id, kind)) if kind else ("run_id = ?", (run_id,))
    order = "" if table in {"runs", "intervals", *_PARTS} else " ORDER BY pos"
    return _dicts(con, f"SELECT * FROM {table} WHERE {condition}{order}", values)


def _runs(con: _Connection) -> list[RunInfo]:
    columns = ", ".join(RunInfo.__dataclass_fields__)
    rows = _dicts(con, f"SELECT {columns} FROM runs ORDER BY created DESC, rowid DESC")
    return [RunInfo(**values) for values in rows]


def _load_rows(con: _Connection, run_id: str) -> dict[str, list[Row]]:
    """Return the results of a run by kind."""
    parts: dict[tuple[object, ...], dict[str, list[_Values]]] = defaultdict(lambda: defaultdict(list))
    for table in (*_OF_RESULT, "findings"):
        for values in _select(con, table, run_id):
            parts[_key(values)][table].append(values)
    rows: dict[str, list[Row]] = {"scenario": [], "window": []}
    for result in _select(con, "results", run_id):
        rows[result["kind"]].append(_row(result, parts[_key(result)]))
    return rows


def _row(result: _Values, parts: Mapping[str, list[_Values]]) -> Row:
    def rows(table: str) -> list[_Values]:
        return parts.get(table, [])

    values = {name: result[name] for name in _ROW_SCALARS}
    counts = {name: result[name] for name in ("groups", "effective_n")}
    variation, census = result["variation"], result["census"]
    for table, kind in _PARTS.items():
        values[table] = next((kind(**_fields(kind, v)) for v in rows(table)), None)
    return Row(
        **values,
        rows=None if counts["groups"] is None else RowCounts(used=result["n"], **counts),
        variation=None if variation is None else Variation.model_validate_json(variation),
        census=None if census is None else Census.model_validate_json(census),
        findings=[_finding(v) for v in rows("findings")],
        intervals=Intervals(**{v["measure"]: _interval(v) for v in rows("intervals")}),
        bounds={v["form"]: Bound(**_fields(Bound, v)) for v in rows("bounds")},
        divergences={v["modality"]: Divergence(**_fields(Divergence, v)) for v in rows("divergences")},
        descriptors={v["name"]: v["value"] for v in rows("descriptors")},
        verdict=Verdict(status=result["status"], because=result["because"]),
        missing={v["path"]: v["reason"] for v in rows("missing")},
        notes=[v["note"] for v in rows("notes")],
    )


def _finding(values: _Values) -> Finding:
    named = {"where": values["place"], "kind": values["about"]}
    return Finding(**named, status=values["status"], because=values["because"])


def _key(values: _Values) -> tuple[object, ...]:
    return values["kind"], values["scenario"], values["model"]


def _interval(values: _Values) -> Interval | None:
    return None if values["low"] is None else (values["low"], values["high"])


def _fields(model: Callable[..., object], values: _Values) -> _Values:
    """Return the columns that are fields of a model; `low` and `high` are its interval, if it has one."""
    names: Mapping[str, object] = model.model_fields  # type: ignore[attr-defined]
    fields = {name: values[name] for name in names if name in values}
    return fields | ({"interval": _interval(values)} if "interval" in names else {})
