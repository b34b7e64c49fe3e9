"""Where the drift of an audit is: slices of what moved, scenario by scenario."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from auditor.attribution.slices import Tags, leading, moved, side, slices, table
from auditor.measures.families import wanted
from auditor.measures.reducer import Divergences
from auditor.profiles.sketching import SketchSet
from auditor.scenarios import Scenario
from auditor.sketch import RowSample


@dataclass(frozen=True, eq=False)
class Moved:
    """What moved in one scenario: its images and queries once, the responses for each model."""

    scenario: Scenario
    samples: Mapping[tuple[str | None, str], tuple[RowSample, RowSample]]
    """(model, modality) -> sampled rows of P and of Q; no model for images and queries."""
    tags_p: Tags

    def lines(self, seed: int) -> list[dict[str, Any]]:
        """Rows of the report's table `WHERE`; reads the scenario's tags once."""
        tags_q = self.scenario.tags({i for _, q in self.samples.values() for i in q.ids.tolist()})
        lines: list[dict[str, Any]] = []
        for (whose, modality), (p, q) in self.samples.items():
            of = slices(side(p, modality, self.tags_p), side(q, modality, tags_q), seed=seed)
            lines += table(self.scenario.name, whose, modality, leading(of))
        return lines


def what_moved(
    scenarios: Sequence[Scenario],
    sets: Mapping[tuple[str, str], SketchSet],
    found: Mapping[tuple[str, str], Divergences],
    p_value: float,
) -> list[Moved]:
    """The scenarios of which some modality's adjusted p-value is at most `p_value`. `sets` and `found`:
    (scenario, model) -> sums, and their divergences from the first scenario's."""
    first = scenarios[0]
    every: dict[str, dict[tuple[str | None, str], tuple[RowSample, RowSample]]] = {}
    for (name, model), divergences in found.items():
        for modality in moved(divergences.found, p_value):
            _, whose, _ = wanted(name, model, modality)
            samples = sets[first.name, model].sample, sets[name, model].sample
            every.setdefault(name, {}).setdefault((whose, modality), samples)
    if not every:
        return []
    of_p = (p for samples in every.values() for p, _ in samples.values())
    tags_p = first.tags({i for p in of_p for i in p.ids.tolist()})
    return [Moved(s, every[s.name], tags_p) for s in scenarios if s.name in every]
