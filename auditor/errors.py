"""The one family of exceptions that a user meets, and the exit code of each.

A message is one line and says what is wrong, where (file, row, key), and the way out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from schemas.record import Reason


class AuditError(Exception):
    """Something failed, or stopped before every scenario was done."""

    exit_code = 3


class ClusterLost(AuditError):
    """The cluster that the work ran on does not answer any more."""


class BadInput(AuditError):
    """Bad input or usage: nothing could be audited."""

    exit_code = 2


class RowError(AuditError):
    """One row cannot be used. Caught where rows are read; the row is quarantined with `reason`."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(detail or reason.value)
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[RowError], tuple[Reason, str]]:
        return RowError, (self.reason, self.detail)


def one_line(error: Exception) -> str:
    """What an exception of somebody else's code says, on one line."""
    lines = str(error).strip().splitlines()
    name = type(error).__name__
    return f"{name}: {lines[0]}" if lines else name
