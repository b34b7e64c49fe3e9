"""This module says what differs between the jobs in how rows are judged: the seeds, the families of tests,
the verdict's rule."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Protocol

from auditor.measures.census import Rules
from auditor.measures.families import DEPENDENCES, MODALITIES, Family, over_modalities, over_scenarios
from auditor.measures.verdict import LossRule, scenario_verdict, window_verdict, with_findings, with_loss
from schemas.config import AuditThresholds, DriftThresholds
from schemas.report import Divergence, Finding, Measures, Variation, Verdict


class Rule(Protocol):
    """The verdict of rows from their measures, their adjusted divergences, what is missing of them, and of
    a window how far it lies from others."""

    def __call__(
        self,
        measures: Measures,
        divergences: Mapping[str, Divergence],
        findings: Sequence[Finding],
        variation: Variation | None = None,
    ) -> Verdict: ...


@dataclass(frozen=True)
class Judgement:
    """A judgement says how the rows of a job are judged."""

    seed: Callable[[str, str], int]
    """The seed of a measure: of rows (by their scenario or window) and of what is measured."""
    tests: tuple[str, ...]
    """What is tested of each group of rows."""
    family: Family
    rule: Rule
    missing: Rules
    """By what it is found what is missing."""


def of_scenarios(thresholds: AuditThresholds, seed: int) -> Judgement:
    """Return the judgement of an audit: one seed for all, Holm's adjustment over the scenarios, the rule of
    EMID. Other languages are what scenarios are made of, and no sign of something missing."""

    def rule(
        measures: Measures,
        divergences: Mapping[str, Divergence],
        findings: Sequence[Finding],
        variation: Variation | None = None,
    ) -> Verdict:
        partial = measures.bounds["partial"].value if "partial" in measures.bounds else None
        unreliable = measures.missing.get("reliable") if measures.reliable is False else None
        emid, interval = measures.emid, measures.intervals.emid
        verdict = scenario_verdict(measures.n, emid, interval, partial, thresholds, measures.rows, unreliable)
        return with_findings(verdict, findings)

    missing = Rules(thresholds.p_value, thresholds.max_left_out, thresholds.min_rows, scripts=False)
    return Judgement(lambda scenario, what: seed, MODALITIES, over_scenarios, rule, missing)


def of_windows(thresholds: DriftThresholds, seed: int, loss: LossRule) -> Judgement:
    """Return the judgement of traffic: a seed of its own for each window and measure, whatever other windows
    there are; tests of how pairs go together beside those of the modalities, Holm's adjustment over all, the
    rule of p-values, of the service's variation and of EMID (`loss`)."""

    def seed_of(window: str, what: str) -> int:
        text = json.dumps([seed, window, what])
        return int.from_bytes(blake2b(text.encode(), digest_size=4).digest(), "big")

    def rule(
        measures: Measures,
        divergences: Mapping[str, Divergence],
        findings: Sequence[Finding],
        variation: Variation | None = None,
    ) -> Verdict:
        verdict = window_verdict(measures.n, divergences, thresholds, measures.rows, variation)
        return with_findings(with_loss(verdict, measures, thresholds, loss), findings)

    missing = Rules(thresholds.p_value, thresholds.max_left_out, thresholds.min_rows)
    return Judgement(seed_of, (*MODALITIES, *DEPENDENCES), over_modalities, rule, missing)
