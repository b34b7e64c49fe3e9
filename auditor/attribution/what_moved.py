"""Slices are made of the divergences that are more than chance, from the rows and tags of their groups."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from auditor.attribution.slices import Tags, moved
from auditor.measures.divergences import Divergences
from auditor.measures.families import INPUTS
from auditor.profiles.profile import GroupKey
from auditor.scenarios import Scenario
from auditor.scenarios.row_ranges import Part, part_tags

TagSource = Scenario | Part
"""Where the tags of a group's records stand."""


def tags_of(source: TagSource, ids: Collection[str]) -> Tags:
    """Return the tags of the records with these ids, those without any left out; one pass over ids and
    tags."""
    return source.tags(ids) if isinstance(source, Scenario) else part_tags(source, ids)


class Moved(NamedTuple):
    """`Moved` is a divergence that is more than chance."""

    key: GroupKey
    """A group that has it; of the images and queries, which all models share, that of the first model."""
    model: str | None
    """None: it is of the inputs."""
    modality: str


def what_moved(by_group: Mapping[GroupKey, Divergences], p_value: float) -> Iterator[Moved]:
    """Return the divergences (but for the joint one) whose adjusted p-value is at most `p_value`: each once,
    in the order of the groups."""
    seen: set[tuple[str, str | None, str]] = set()
    for key, divergences in by_group.items():
        for modality in moved(divergences.found, p_value):
            model = None if modality in INPUTS else key.model
            if (key.scenario, model, modality) not in seen:
                seen.add((key.scenario, model, modality))
                yield Moved(key, model, modality)
