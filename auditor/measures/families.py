"""Measured divergences as tests: of each scenario and model by modality, adjusted over the scenarios."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from auditor.measures import reducer

INPUTS = ("image", "text", "joint")
MODALITIES = (*INPUTS, "response")

Wanted = tuple[str, str | None, str]
"""Scenario, model (None: an input divergence does not depend on it) and modality."""


def wanted(scenario: str, model: str, modality: str) -> Wanted:
    """What is measured once a scenario, and what once a model."""
    return scenario, None if modality in INPUTS else model, modality


def adjusted(
    measured: Mapping[Wanted, reducer.Measured], of: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], reducer.Divergences]:
    """The divergences `of` each (scenario, model), Holm-adjusted over the scenarios: one family a modality,
    and for responses a model."""
    found = {key: _by_modality(measured, *key) for key in of}
    families: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for key, divergences in found.items():
        for modality in divergences.found:
            # Every model has the same input divergences: its own family is the same one again.
            families.setdefault((modality, key[1]), []).append(key)
    for (modality, _), keys in families.items():
        values = reducer.adjust([found[key].found[modality] for key in keys])
        for key, value in zip(keys, values, strict=True):
            if value is not None:
                found[key].found[modality] = value
    return found


def _by_modality(
    measured: Mapping[Wanted, reducer.Measured], scenario: str, model: str
) -> reducer.Divergences:
    of = reducer.Divergences()
    for modality in MODALITIES:
        value, reason, of.left[modality] = measured[wanted(scenario, model, modality)]
        if value is None:
            of.missing[f"divergences.{modality}"] = reason or "not computed"
        else:
            of.found[modality] = value
            if reason is not None:
                of.missing[f"divergences.{modality}.corrected"] = reason
    return of
