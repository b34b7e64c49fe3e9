"""A job's log is structured: one JSON object a line in OUT/run/log.jsonl, and on standard error if wanted."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from enum import StrEnum
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from auditor.pipeline.progress import Tally

OURS = ("schemas", "auditor", "actors", "jobs")
"""Packages whose loggers are heard. Libraries log what they like, paths and texts among it."""
MAX_BYTES = 16 * 2**20
KEPT_FILES = 2
EVERY_SECONDS = 5.0
"""A stage's progress is logged no more often than this (its begin and its end always)."""
_BEFORE = 1_000
"""Lines kept until the run directory is there."""
_SECRET = re.compile(
    r"(?P<keep>://)[^/@\s]+@"  # credentials and
    r"|(?P<url>://[^\s?]+)\?\S+"  # signatures of addresses
    r"|(?P<name>\b(?:bearer\s+|(?:api[_-]?key|token|password|secret)[\"']?\s*[=:]\s*[\"']?))[^\s,;\"']+",
    re.IGNORECASE,
)

log = logging.getLogger(__name__)


class LogFormat(StrEnum):
    """Standard error shows this format while a job runs."""

    TEXT = "text"
    JSON = "json"


def redacted(text: str) -> str:
    """Return `text` without the credentials that addresses, headers and settings carry."""
    return _SECRET.sub(lambda m: (m["keep"] or m["url"] or m["name"] or "") + "***", text)


class JsonLines(logging.Formatter):
    """A line has time, level, logger, event, message; a stage's stage, rows, total, errors, seconds and rate;
    an exception's type (its text may quote a record, so it stays out)."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": "message",
            "message": redacted(record.getMessage()),
        }
        line.update(getattr(record, "fields", {}))
        if record.exc_info and record.exc_info[0]:
            line["exception"] = record.exc_info[0].__name__
        return json.dumps(line, ensure_ascii=False, default=str)


class _RunFile(logging.Handler):
    """This handler writes to `path` once its folder is there: whether a job has a run directory shows when it
    begins. A log that cannot be written stops no job."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._file: RotatingFileHandler | None = None
        self._before: deque[logging.LogRecord] = deque(maxlen=_BEFORE)

    def emit(self, record: logging.LogRecord) -> None:
        self._before.append(record)
        if not self._path.parent.is_dir():
            return
        try:
            if self._file is None:
                self._file = RotatingFileHandler(
                    self._path, maxBytes=MAX_BYTES, backupCount=KEPT_FILES, encoding="utf-8"
                )
                self._file.setFormatter(self.formatter)
                self._file.handleError = self.handleError  # type: ignore[method-assign]
            while self._before:
                self._file.emit(self._before.popleft())
        except OSError:
            self._before.clear()

    def handleError(self, record: logging.LogRecord) -> None:
        """Do nothing: a full disk is reported by what cannot be kept because of it."""

    def close(self) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
        super().close()


@contextmanager
def logged(out: Path, stderr: LogFormat) -> Iterator[None]:
    """Write what our packages log to OUT/run/log.jsonl while the block runs; on standard error all of it as
    JSON, or warnings as text."""
    file, stream = _RunFile(out / "run" / "log.jsonl"), logging.StreamHandler(sys.stderr)
    file.setFormatter(JsonLines())
    if stderr is LogFormat.JSON:
        stream.setFormatter(JsonLines())
    else:
        stream.setLevel(logging.WARNING)
        stream.addFilter(lambda record: not hasattr(record, "fields"))  # bars and the last line say these
        stream.setFormatter(logging.Formatter("%(message)s"))
    loggers = [logging.getLogger(name) for name in OURS]
    before = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.INFO)
        logger.propagate = False
        logger.addHandler(file)
        logger.addHandler(stream)
    try:
        yield
    finally:
        for logger, (level, propagate) in zip(loggers, before, strict=True):
            logger.removeHandler(file)
            logger.removeHandler(stream)
            logger.setLevel(level)
            logger.propagate = propagate
        file.close()


def event(name: str, message: str, level: int = logging.INFO, **fields: Any) -> None:
    """Log one event of a job with its fields."""
    log.log(level, "%s", message, extra={"fields": {"event": name, **fields}})


class LoggedProgress:
    """This `Progress` logs."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}
        self._waiting = -EVERY_SECONDS

    def update(self, tally: Tally) -> None:
        now = time.monotonic()
        whole = tally.done >= tally.total
        if not whole and now - self._last.get(tally.stage, -EVERY_SECONDS) < EVERY_SECONDS:
            return
        self._last[tally.stage] = now
        event(
            "stage_done" if whole else "stage",
            f"{tally.stage}: {tally.done} of {tally.total}",
            stage=tally.stage,
            rows=tally.done,
            total=tally.total,
            errors=tally.errors,
            seconds=round(tally.seconds, 3),
            rate=round(tally.rate, 3),
        )

    def waiting(self, message: str) -> None:
        now = time.monotonic()
        if now - self._waiting >= EVERY_SECONDS:
            self._waiting = now
            event("waiting", redacted(message), logging.INFO)
