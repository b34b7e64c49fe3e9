"""A job's Prometheus metrics are a text file: for the textfile collector of node_exporter, or to be read.

A file, not a port: a scheduled audit has ended before anybody scrapes it, and one on a cluster runs on a node
that nobody knows beforehand. It is replaced whole, every few seconds while the job runs and at its end. What
Ray knows of nodes, actors and GPUs it exports by itself.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

from auditor import __version__
from auditor.errors import BadInput
from auditor.pipeline.progress import Tally
from schemas.report import Report, Status

EVERY_SECONDS = 5.0
_STATUSES: tuple[Status, ...] = ("pass", "warn", "fail", "undecided")

log = logging.getLogger(__name__)


class Metrics:
    """This `Progress` keeps gauges of one job (labels `job` and `out`) in the file `path`.

    Raises `BadInput` where the folder of a `path` that was asked for is not there.
    """

    def __init__(self, job: str, out: Path, path: Path | None = None) -> None:
        if path is not None and not path.absolute().parent.is_dir():
            raise BadInput(f"--metrics {path}: there is no folder {path.absolute().parent}; create it")
        self._labels = {"job": job, "out": str(out)}
        self._path = path or out / "metrics.prom"
        self._registry = CollectorRegistry()
        self._began, self._moved = time.time(), time.monotonic()
        self._written = -EVERY_SECONDS
        self._stage = ""
        self._rows = self._gauge("stage_rows_done", "Rows of a stage done in this run.", "stage")
        self._total = self._gauge("stage_rows", "Rows of a stage to do in this run.", "stage")
        self._errors = self._gauge("stage_row_errors", "Rows of a stage without a result.", "stage")
        self._rate = self._gauge("stage_rows_per_second", "Rows a second since the stage began.", "stage")
        self._stalled = self._gauge(
            "stage_stall_seconds", "Seconds in which a stage got nothing done and said so.", "stage"
        )
        self._running = self._gauge("running", "Whether the job runs.")
        self._started = self._gauge("start_timestamp_seconds", "When the job began.")
        self._ended = self._gauge("end_timestamp_seconds", "When the job ended.")
        self._code = self._gauge(
            "exit_code", "Of the last run: 0 pass or warn, 1 fail, 2 bad input, 3 failed, 4 undecided."
        )
        self._verdict = self._gauge("verdict", "1 at the verdict of the last run.", "status")
        self._scenarios = self._gauge("results", "Scenarios or windows by their verdict.", "status")
        self._quarantined = self._gauge("quarantined_rows", "Rows set aside, by reason.", "reason")
        self._gauge("info", "Version of the program.", "version").labels(
            **self._labels, version=__version__
        ).set(1)
        self._running.labels(**self._labels).set(1)
        self._started.labels(**self._labels).set(self._began)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"auditor_{name}", text, ("job", "out", *labels), registry=self._registry)

    def update(self, tally: Tally) -> None:
        labels = {**self._labels, "stage": tally.stage}
        self._rows.labels(**labels).set(tally.done)
        self._total.labels(**labels).set(tally.total)
        self._errors.labels(**labels).set(tally.errors)
        self._rate.labels(**labels).set(tally.rate)
        self._stalled.labels(**labels).inc(0)
        self._stage, self._moved = tally.stage, time.monotonic()
        self._write()

    def waiting(self, message: str) -> None:
        now = time.monotonic()
        self._stalled.labels(**self._labels, stage=self._stage).inc(now - self._moved)
        self._moved = now
        self._write()

    def ended(self, code: int, report: Report | None = None) -> None:
        """Write the job's exit code and, where it has one, its report."""
        self._running.labels(**self._labels).set(0)
        self._ended.labels(**self._labels).set(time.time())
        self._code.labels(**self._labels).set(code)
        if report is not None:
            results = [row.verdict.status for row in (*report.scenarios, *report.windows)]
            for status in _STATUSES:
                labels = {**self._labels, "status": status}
                self._verdict.labels(**labels).set(report.verdict.status == status)
                self._scenarios.labels(**labels).set(results.count(status))
            for reason, count in report.quarantine.items():
                self._quarantined.labels(**self._labels, reason=reason).set(count)
        self._write(always=True)

    def _write(self, always: bool = False) -> None:
        now = time.monotonic()
        if not self._path.parent.is_dir() or not (always or now - self._written >= EVERY_SECONDS):
            return
        self._written = now
        try:
            write_to_textfile(str(self._path), self._registry)
        except OSError as error:  # metrics stop no job
            log.warning("%s: cannot be written (%s)", self._path, error.strerror or error)
