"""Families of tests: in an audit a modality over the scenarios (for responses one a model), in drift a
window's modalities."""

from __future__ import annotations

import pytest

from auditor.measures.divergences import Divergences, Measured
from auditor.measures.families import MODALITIES, adjusted, by_modality, over_modalities, over_scenarios
from auditor.profiles.profile import GroupKey
from schemas.report import Divergence

KEYS = [GroupKey(scenario, model) for scenario in ("a", "b") for model in ("m", "k")]


def measured(p_values: dict[tuple[str, str], float]) -> dict[GroupKey, Divergences]:
    """Images by scenario and responses by model have a p-value; of texts there is no row, and the joint one
    has no corrected value."""
    found: dict[GroupKey, Divergences] = {}
    for key in KEYS:
        of: dict[str, Measured] = {}
        for modality in MODALITIES:
            if modality == "text":
                of[modality] = Measured(None, "no row has a text")
            elif modality == "joint":
                of[modality] = Measured(Divergence(value=0.1), "too few rows")
            else:
                name = modality if key.model == "m" or modality == "image" else "other"
                of[modality] = Measured(Divergence(value=0.2, p_value=p_values[key.scenario, name]), None)
        found[key] = by_modality(of)
    return found


GIVEN = {
    ("a", "image"): 0.01,
    ("b", "image"): 0.5,
    ("a", "response"): 0.02,
    ("b", "response"): 0.03,
    ("a", "other"): 0.4,
    ("b", "other"): 0.001,
}


def test_a_family_of_an_audit_is_a_modality_over_the_scenarios() -> None:
    found = adjusted(measured(GIVEN), over_scenarios)
    assert list(found) == KEYS

    def p_values(modality: str, model: str) -> list[float | None]:
        return [found[GroupKey(s, model)].found[modality].p_adjusted for s in ("a", "b")]

    # Inputs are the same under every model, and so are their adjusted values.
    assert p_values("image", "m") == p_values("image", "k") == pytest.approx([0.02, 0.5])
    assert p_values("response", "m") == pytest.approx([0.04, 0.04])
    assert p_values("response", "k") == pytest.approx([0.4, 0.002])
    assert p_values("joint", "m") == [None, None]


def test_a_family_of_a_window_is_its_modalities() -> None:
    found = adjusted(measured(GIVEN), over_modalities)

    def p_values(scenario: str, model: str) -> list[float | None]:
        return [found[GroupKey(scenario, model)].found[m].p_adjusted for m in ("image", "response", "joint")]

    assert p_values("a", "m") == [pytest.approx(0.02), pytest.approx(0.02), None]
    assert p_values("b", "k") == [pytest.approx(0.5), pytest.approx(0.002), None]
    alone = adjusted({KEYS[0]: measured(GIVEN)[KEYS[0]]}, over_modalities)
    assert alone[KEYS[0]] == found[KEYS[0]]  # whatever other windows there are


def test_what_is_missing_says_why() -> None:
    of = adjusted(measured(GIVEN), over_scenarios)[KEYS[0]]
    assert of.missing == {
        "divergences.text": "no row has a text",
        "divergences.joint.corrected": "too few rows",
        "divergences.joint.p_value": "too few rows",
    }
    assert list(of.found) == ["image", "joint", "response"] and of.left["text"] is None
