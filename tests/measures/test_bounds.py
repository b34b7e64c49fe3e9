"""Every bound over the terms that are known, and its interval."""

from __future__ import annotations

import numpy as np
import pytest

from auditor.bounds import emid_bound
from auditor.bounds.entropies import Known
from auditor.divergences import rjsd
from auditor.estimators import CLUB
from auditor.measures.answers import AnswerSide, AnswerTerms, Grouped, answer_codebook
from auditor.measures.bounds import bounds, ceiling, grouped
from auditor.measures.divergences import Divergences, divergence
from auditor.significance.jackknife import Left, jackknife
from auditor.sketch.blocks import group_shares, hash_blocks
from schemas.report import Bound, Divergence
from tests.measures.conftest import profiled, rows


def answered(delta_p: float | None, delta_q: float | None, known: Known | None = None) -> AnswerTerms:
    gaps = [None if d is None else Grouped(d, None) for d in (delta_p, delta_q)]
    sides = [AnswerSide(gap, gap, None, None, None) for gap in gaps]
    return AnswerTerms(sides[0], sides[1], known or Known())


def test_bounds_say_which_terms_went_in() -> None:
    text, image = Divergence(value=0.04), Divergence(value=0.09)
    whole, missing = bounds({"text": text, "image": image}, 0.1, answered(0.0016, 0.0081))
    assert whole["partial"].value == pytest.approx(0.3 + 0.2)
    assert whole["scaled"].value == pytest.approx(0.3 + 0.2 + 0.2 + 0.3)
    assert whole["scaled"].complete
    assert whole["sound"].value is None and "no response codebook" in missing["bounds.sound.value"]
    part, missing = bounds({"text": text}, None, answered(0.0016, None))
    assert part["scaled"].value == pytest.approx(0.2 + 0.2)
    assert (part["scaled"].terms, part["scaled"].complete) == (["d_t", "delta_p"], False)
    assert missing["bounds.scaled"] == "incomplete: without d_v, delta_q"
    none, missing = bounds({}, None, answered(None, None))
    assert none["partial"].value is None and "bounds.partial.value" in missing


def test_bounds_with_entropies_are_those_of_their_forms() -> None:
    divergences = {
        "text": Divergence(value=0.04),
        "image": Divergence(value=0.09),
        "joint": Divergence(value=0.1),
    }
    known = Known(symbols=8, given_reference=1.0, given_model=0.5)
    found, missing = bounds(divergences, 0.1, answered(0.0016, 0.0081, known))
    assert found["theorem_4_5_split"].value == pytest.approx(1.5 * (0.3 + 0.2) + 4 * (0.2 + 0.3))
    assert found["theorem_4_5_split"].entropy == pytest.approx(1.5)
    assert found["theorem_4_5_split"].entropy_source == "references: given; model: given"
    assert found["joint"].value == pytest.approx(1.5 * 0.2**0.5 + 4 * (0.2 + 0.3))
    sound = emid_bound(
        "sound", delta_p=0.0016, delta_q=0.0081, d_x=0.1, entropy_y=1.0, entropy_model=0.5, symbols=8
    )
    assert found["sound"].value == pytest.approx(sound)
    assert found["measured"].value is None and "bounds.measured.value" in missing
    assert "theorem_4_6" not in found
    terms = {"d_t_given_v": 0.04, "d_v_given_t": 0.09, "d_y_quarter": 0.2}
    found, _ = bounds(divergences, 0.1, answered(0.0016, 0.0081, known), None, terms)
    pooled = 8 * (0.0016 + 0.0081) ** 0.25
    assert found["theorem_4_6"].value == pytest.approx(1.5 * 2 * (0.3 + 0.2) + 4 * 0.2 + pooled)
    assert found["theorem_4_6"].complete


def test_the_interval_of_a_bound_of_one_term_is_the_bound_of_its_interval(critic: CLUB) -> None:
    """Deletions recomputed from rows with each group of records gone."""
    every_p, every_q = rows(400, 1), rows(400, 2, move=0.3, base="other")
    p, q = profiled(every_p, critic), profiled(every_q, critic)
    image = divergence(p, q, "image", seed=0, level=0.9)
    assert image.divergence is not None
    alone = Divergences({"image": image.divergence}, left={"image": image.left})
    found, _ = bounds(alone.found, None, answered(None, None), grouped(p, q, alone, 0.9))
    interval = found["partial"].interval
    assert interval is not None

    def image_rjsd(keep_p: np.ndarray, keep_q: np.ndarray) -> float:
        return rjsd(every_p.image[keep_p], every_q.image[keep_q])

    labels = [hash_blocks(r.base_ids) % 20 for r in (every_p, every_q)]
    everything = np.ones(400, bool)
    without = {("p", g): image_rjsd(labels[0] != g, everything) for g in range(20)}
    without |= {("q", g): image_rjsd(everything, labels[1] != g) for g in range(20)}
    whole = image_rjsd(everything, everything)
    assert image.left is not None
    left = Left(whole, without, image.left.quadratic)
    wanted = jackknife(left, group_shares(labels[0], labels[1], paired=False), 0.9)
    ends = [max(0.0, end) ** 0.5 for end in (wanted.low, wanted.high)]
    assert interval == pytest.approx(ends, abs=0.02 * (ends[1] - ends[0]))


def test_the_interval_of_a_bound_of_several_terms_lies_within_their_intervals(critic: CLUB) -> None:
    p, q = (profiled(r, critic) for r in (rows(400, 1), rows(400, 2, move=0.3, base="other")))
    measured = {m: divergence(p, q, m, seed=0, level=0.9) for m in ("image", "text")}
    divergences = {m: d.divergence for m, d in measured.items() if d.divergence is not None}
    every = Divergences(divergences, left={m: d.left for m, d in measured.items()})
    found, _ = bounds(divergences, None, answered(None, None), grouped(p, q, every, 0.9))
    interval = found["partial"].interval
    assert interval is not None
    ends = [d.interval for d in divergences.values() if d.interval is not None]
    assert len(ends) == 2
    assert sum(max(0.0, low) ** 0.5 for low, _ in ends) < interval[0]
    assert interval[0] < interval[1] < sum(high**0.5 for _, high in ends)
    assert found["scaled"].interval is not None  # over the terms that are there


def test_a_bound_of_too_few_rows_has_no_interval_and_says_so(critic: CLUB) -> None:
    p, q = profiled(rows(30, 1), critic), profiled(rows(30, 2, base="other"), critic)
    text = divergence(p, q, "text", seed=0, level=0.9)
    assert text.divergence is not None and text.left is None
    alone = Divergences({"text": text.divergence}, left={"text": text.left})
    groups = grouped(p, q, alone, 0.9)
    found, missing = bounds({"text": text.divergence}, None, answered(None, None), groups)
    assert found["partial"].interval is None and "too few rows" in missing["bounds.interval"]


def test_a_ceiling_is_a_whole_sound_bound() -> None:
    answers = answered(0.1, 0.1, Known(symbols=8))
    whole = Bound(value=1.5, terms=["d_x"], complete=True)
    found = ceiling({"sound_label_free": whole}, answers)
    assert found is not None and (found.value, found.symbols) == (1.5, 8)
    assert ceiling({}, answers) is None
    assert ceiling({"sound_label_free": whole.model_copy(update={"complete": False})}, answers) is None
    assert ceiling({"sound_label_free": whole.model_copy(update={"value": None})}, answers) is None
    assert ceiling({"sound_label_free": whole}, answered(0.1, 0.1)) is None


def test_a_bound_of_cells_ends_at_the_range_of_emid() -> None:
    found, _ = bounds({}, 0.6, answered(0.6, 0.6, Known(symbols=4)))
    assert emid_bound(
        "sound", delta_p=0.6, delta_q=0.6, d_x=0.6, entropy_y=9.0, entropy_model=9.0, symbols=4
    ) > 2 * np.log(4)
    assert found["sound"].value == pytest.approx(2 * np.log(4))


def test_a_null_centred_form_lies_below_its_plain_one() -> None:
    from auditor.bounds import NULL_CENTRED
    from auditor.measures.assessment import Current, Reference, Settings, assess
    from auditor.measures.divergences import divergence
    from auditor.measures.families import MODALITIES, by_modality
    from schemas.config import BoundsConfig

    p, q = profiled(rows(120, 1)), profiled(rows(120, 2, move=0.6))
    measured = by_modality({m: divergence(p, q, m, seed=0, level=0.9) for m in MODALITIES})
    found = assess(
        Reference.of(p, [], answer_codebook([p], 4, 0)),
        Current(q, measured),
        Settings(0.9, BoundsConfig()),
        seed=0,
        seed_of_inputs=0,
    ).measures.bounds
    plain = {form: bound for form, bound in found.items() if not form.endswith(NULL_CENTRED)}
    centred = {form: found[form + NULL_CENTRED] for form in plain if form + NULL_CENTRED in found}
    assert {"scaled", "partial", "sound", "theorem_4_5_split"} <= centred.keys()
    for form, bound in centred.items():
        value, raw = bound.value, plain[form].value
        assert value is not None and raw is not None and value < raw and bound.interval is None
        assert bound.terms == plain[form].terms and bound.entropy == plain[form].entropy
    moved, raw = found["partial_null_centred"].value, found["partial"].value
    assert moved is not None and raw is not None and 0 < moved < raw
