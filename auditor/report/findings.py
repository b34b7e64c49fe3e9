"""This module gathers what is missing or spoilt from the parts of a report, each sentence once."""

from __future__ import annotations

from collections.abc import Iterable

from schemas.report import Finding, Report, Row


def once(found: Iterable[Finding]) -> list[Finding]:
    """Return the findings, each sentence once: the rows of several models share some."""
    return list({finding.because: finding for finding in found}.values())


def all_findings(report: Report, rows: Iterable[Row]) -> list[Finding]:
    """Return what is missing of the whole feed, then of these rows of the report."""
    return once([*report.feed, *(finding for row in rows for finding in row.findings)])
