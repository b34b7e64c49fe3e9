"""Divergences of profiles, against what is known of the rows; and as files."""

from __future__ import annotations

from pathlib import Path

import pytest

from auditor.divergences import rjsd, rjsd_joint
from auditor.errors import AuditError
from auditor.estimators import CLUB
from auditor.measures.divergences import (
    Measured,
    adjust,
    check_comparable,
    divergence,
    input_divergence,
    read_measured,
    write_measured,
)
from auditor.profiles.profile import Profile
from auditor.sketch import Sketch
from schemas.report import Divergence
from tests.measures.conftest import D, profiled, rows


def test_a_divergence_is_that_of_all_rows_and_a_moved_text_is_found(critic: CLUB) -> None:
    p_rows, q_rows = rows(200, 1), rows(200, 2, move=0.4, base="other")
    p, q = profiled(p_rows, critic, 80), profiled(q_rows, critic, 80)
    text, _, _ = divergence(p, q, "text", seed=0, level=0.9)
    image, _, _ = divergence(p, q, "image", seed=0, level=0.9)
    assert text is not None and image is not None
    assert text.value == pytest.approx(rjsd(p_rows.text, q_rows.text), abs=1e-6)
    assert (text.n_id, text.n) == (80, 80)
    assert text.p_value is not None and text.p_value < 0.01
    assert image.p_value is not None and image.p_value > 0.05


def test_a_modality_that_is_not_there_has_a_reason(critic: CLUB) -> None:
    p, q = (
        profiled(rows(60, 1, images=False), None),
        profiled(rows(60, 2, images=False), None),
    )
    assert divergence(p, q, "image", seed=0, level=0.9)[:2] == (None, "no row has an image")
    assert divergence(p, q, "joint", seed=0, level=0.9)[:2] == (None, "no row has an image")


def test_the_inputs_divergence_is_of_both_modalities_or_of_the_one_there_is(critic: CLUB) -> None:
    p_rows, q_rows = rows(100, 1), rows(80, 2)
    found = input_divergence(profiled(p_rows, critic), profiled(q_rows, critic), seed=0)
    assert found == pytest.approx(rjsd_joint(p_rows.image, p_rows.text, q_rows.image, q_rows.text), abs=1e-9)
    p_rows, q_rows = rows(100, 1, images=False), rows(80, 2, images=False)
    p, q = profiled(p_rows, None), profiled(q_rows, None)
    assert input_divergence(p, q, seed=0) == pytest.approx(rjsd(p_rows.text, q_rows.text), abs=1e-6)


def test_holm_over_a_family_leaves_untested_alone() -> None:
    family = [Divergence(p_value=0.01), None, Divergence(value=0.1), Divergence(p_value=0.03)]
    adjusted = adjust(family)
    assert adjusted[0] is not None and adjusted[0].p_adjusted == pytest.approx(0.02)
    assert adjusted[1] is None
    assert adjusted[2] is not None and adjusted[2].p_adjusted is None
    assert adjusted[3] is not None and adjusted[3].p_adjusted == pytest.approx(0.03)


def test_profiles_of_other_encoders_are_refused() -> None:
    def of(**dims: int) -> Profile:
        return Profile({name: Sketch.empty(dim) for name, dim in dims.items()})

    check_comparable(of(text=D, image=0), of(text=D, image=4))  # without images there is nothing to compare
    with pytest.raises(AuditError, match=f"image: rows of 4 numbers cannot be compared with rows of {D}"):
        check_comparable(of(text=D, image=D), of(text=D, image=4))


@pytest.mark.parametrize("n", [300, 20])
def test_what_was_measured_comes_back_to_the_bit(tmp_path: Path, n: int) -> None:
    p, q = profiled(rows(n, 1)), profiled(rows(n, 2, move=0.2, base="other"))
    for modality in ("image", "text", "joint", "response"):
        found = divergence(p, q, modality, seed=3, level=0.9)
        assert (found.left is None) == (n == 20)
        write_measured(tmp_path / "a.json", found)
        assert read_measured(tmp_path / "a.json") == found
    write_measured(tmp_path / "a.json", Measured(None, "why"))
    assert read_measured(tmp_path / "a.json") == Measured(None, "why")


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    write_measured(tmp_path / "x.json", Measured(None, "why"))
    (tmp_path / "x.json").write_text('{"divergence": 3')
    with pytest.raises(AuditError, match=r"x\.json: not readable .*; delete it and run again"):
        read_measured(tmp_path / "x.json")
