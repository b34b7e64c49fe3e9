"""Families of tests: one a modality over the scenarios, and for responses one a model."""

from __future__ import annotations

import pytest

from auditor.measures.divergences import Measured
from auditor.measures.families import INPUTS, MODALITIES, adjusted, wanted
from schemas.report import Divergence

KEYS = [(scenario, model) for scenario in ("a", "b") for model in ("m", "k")]


def measured(p_values: dict[tuple[str, str], float]) -> dict[tuple[str, str | None, str], Measured]:
    """Images by scenario and responses by model have a p-value; of texts there is no row, and the joint one
    has no corrected value."""
    found: dict[tuple[str, str | None, str], Measured] = {}
    for scenario, model in KEYS:
        for modality in MODALITIES:
            key = wanted(scenario, model, modality)
            if modality == "text":
                found[key] = Measured(None, "no row has a text")
            elif modality == "joint":
                found[key] = Measured(Divergence(value=0.1), "too few rows")
            else:
                of = p_values[scenario, modality if model == "m" or modality == "image" else "other"]
                found[key] = Measured(Divergence(value=0.2, p_value=of), None)
    return found


def test_inputs_are_measured_once_a_scenario_and_responses_once_a_model() -> None:
    assert {wanted("a", "m", name) == wanted("a", "k", name) for name in INPUTS} == {True}
    assert wanted("a", "m", "response") == ("a", "m", "response") != wanted("a", "k", "response")


def test_a_family_is_a_modality_over_the_scenarios() -> None:
    given = {
        ("a", "image"): 0.01,
        ("b", "image"): 0.5,
        ("a", "response"): 0.02,
        ("b", "response"): 0.03,
        ("a", "other"): 0.4,
        ("b", "other"): 0.001,
    }
    found = adjusted(measured(given), KEYS)
    assert list(found) == KEYS

    def p_values(modality: str, model: str) -> list[float | None]:
        return [found[s, model].found[modality].p_adjusted for s in ("a", "b")]

    assert p_values("image", "m") == p_values("image", "k") == pytest.approx([0.02, 0.5])
    assert p_values("response", "m") == pytest.approx([0.04, 0.04])
    assert p_values("response", "k") == pytest.approx([0.4, 0.002])
    assert p_values("joint", "m") == [None, None]


def test_what_is_missing_says_why() -> None:
    given = {(s, m): 0.5 for s in ("a", "b") for m in ("image", "response", "other")}
    of = adjusted(measured(given), KEYS[:1])["a", "m"]
    assert of.missing == {
        "divergences.text": "no row has a text",
        "divergences.joint.corrected": "too few rows",
    }
    assert list(of.found) == ["image", "joint", "response"] and of.left["text"] is None
