"""This module defines families of tests: which divergences are adjusted together for having been looked at
together."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace

from auditor.measures.divergences import Divergences, Measured, adjust
from auditor.profiles.profile import GroupKey

INPUTS = ("image", "text", "joint")
MODALITIES = (*INPUTS, "response")
DEPENDENCES = ("text_given_image", "response_given_input", "reference_given_input")
"""How one goes with another, whatever either does by itself. The first is of the inputs."""

Family = Callable[[GroupKey, str], Hashable]
"""The family that the test of a group and modality belongs to."""


def over_scenarios(key: GroupKey, modality: str) -> Hashable:
    """Make one family a modality and model. (Every model has the same input divergences: its own family is
    the same one again.)"""
    return modality, key.model


def over_modalities(key: GroupKey, modality: str) -> Hashable:
    """Make one family a window: its modalities."""
    return key


def by_modality(measured: Mapping[str, Measured]) -> Divergences:
    """Collect, for one group and before any adjustment, what was found, and why it or a part of it is
    missing."""
    divergences = Divergences()
    for modality, (value, reason, left) in measured.items():
        divergences.left[modality] = left
        if value is None:
            divergences.missing[f"divergences.{modality}"] = reason or "not computed"
            continue
        divergences.found[modality] = value
        if reason is not None:
            divergences.missing[f"divergences.{modality}.corrected"] = reason
        if value.p_value is None:
            divergences.missing[f"divergences.{modality}.p_value"] = reason or "could not be tested"
    return divergences


def adjusted(divergences: Mapping[GroupKey, Divergences], family: Family) -> dict[GroupKey, Divergences]:
    """Return the divergences of each group with Holm's adjustment over every family."""
    members: dict[Hashable, list[tuple[GroupKey, str]]] = {}
    for key, group in divergences.items():
        for modality in group.found:
            members.setdefault(family(key, modality), []).append((key, modality))
    values = {key: dict(group.found) for key, group in divergences.items()}
    for tests in members.values():
        for (key, modality), value in zip(
            tests, adjust([divergences[key].found[modality] for key, modality in tests]), strict=True
        ):
            if value is not None:
                values[key][modality] = value
    return {key: replace(group, found=values[key]) for key, group in divergences.items()}
