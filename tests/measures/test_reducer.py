"""From sketches to measures, against what is known of the rows."""

from __future__ import annotations

from math import log

import numpy as np
import pytest

from auditor.bounds import emid_bound
from auditor.bounds.entropies import Known
from auditor.divergences import rjsd, rjsd_joint
from auditor.estimators import CLUB
from auditor.measures import reducer
from auditor.profiles.profile import Profile, sketch_rows
from auditor.profiles.rows import Rows, joined
from auditor.significance.jackknife import Left, jackknife
from auditor.sketch.blocks import group_shares, hash_blocks
from auditor.storage.embedding_store import normalise
from schemas.report import Divergence

D = 16


def rows(n: int, seed: int, *, move: float = 0.0, base: str = "r", images: bool = True) -> Rows:
    """Rows whose answers are their queries' first half; `move` shifts the text."""
    rng = np.random.default_rng(seed)

    def unit(z: np.ndarray) -> np.ndarray:
        return normalise(z).rows

    text = unit(rng.normal(size=(n, D)) + move)
    image = unit(rng.normal(size=(n, D))) if images else np.zeros((n, 0), np.float32)
    has_image = np.full(n, images)
    everywhere = np.ones(n, dtype=bool)
    return Rows(
        tuple(f"{base}-{seed}-{i}" for i in range(n)),
        tuple(f"{base}-{i}" for i in range(n)),
        image,
        text,
        joined(image, text, has_image, everywhere),
        unit(text + 0.5 * rng.normal(size=(n, D))),
        unit(text + 0.1 * rng.normal(size=(n, D))),
        {"image": has_image, "text": everywhere, "response": everywhere, "reference": everywhere},
    )


@pytest.fixture(scope="module")
def critic() -> CLUB:
    pool = rows(400, 9)
    return CLUB(hidden=16, steps=60, batch=128).fit(pool.x, pool.reference)


def sketched(r: Rows, critic: CLUB, sample: int = 500) -> Profile:
    return sketch_rows(r, np.ones((len(r), 4), np.float32), [critic], sample)


def test_rows_pair_by_base_id_and_only_then(critic: CLUB) -> None:
    p, q = sketched(rows(100, 1), critic), sketched(rows(100, 2), critic)
    sides = reducer.aligned(p.sample, q.sample)
    assert sides.paired
    assert list(p.sample.base_ids[sides.at_p]) == list(q.sample.base_ids[sides.at_q])
    other = sketched(rows(100, 2, base="other"), critic)
    assert not reducer.aligned(p.sample, other.sample).paired


def test_a_divergence_is_that_of_all_rows_and_a_moved_text_is_found(critic: CLUB) -> None:
    p_rows, q_rows = rows(200, 1), rows(200, 2, move=0.4, base="other")
    p, q = sketched(p_rows, critic, 80), sketched(q_rows, critic, 80)
    text, _, _ = reducer.divergence(p, q, "text", seed=0, level=0.9)
    image, _, _ = reducer.divergence(p, q, "image", seed=0, level=0.9)
    assert text is not None and image is not None
    assert text.value == pytest.approx(rjsd(p_rows.text, q_rows.text), abs=1e-6)
    assert (text.n_id, text.n) == (80, 80)
    assert text.p_value is not None and text.p_value < 0.01
    assert image.p_value is not None and image.p_value > 0.05


def test_a_modality_that_is_not_there_has_a_reason(critic: CLUB) -> None:
    p, q = (
        sketched(rows(60, 1, images=False), critic_of(D)),
        sketched(rows(60, 2, images=False), critic_of(D)),
    )
    assert reducer.divergence(p, q, "image", seed=0, level=0.9)[:2] == (None, "no row has an image")
    assert reducer.divergence(p, q, "joint", seed=0, level=0.9)[:2] == (None, "no row has an image")


@pytest.mark.parametrize(("base", "sample"), [("q", 500), ("q", 80), ("r", 500)])
def test_a_reference_fitted_before_changes_no_bit(critic: CLUB, base: str, sample: int) -> None:
    """Unpaired, sampled, and a perturbed copy of P (which is compared within pairs)."""
    p, q = sketched(rows(400, 1), critic, sample), sketched(rows(390, 2, move=0.3, base=base), critic, sample)
    fitted = reducer.Reference.fit(p)
    for reference in (fitted, reducer.Reference.from_arrays(fitted.to_arrays(), p)):
        for modality in ("image", "text", "response", "joint"):
            plain = reducer.divergence(p, q, modality, seed=4, level=0.9)
            assert plain.divergence is not None and plain.divergence.paired == (base == "r")
            assert reducer.divergence(p, q, modality, seed=4, level=0.9, reference=reference) == plain
        plain_x = reducer.input_divergence(p, q, seed=4)
        assert reducer.input_divergence(p, q, seed=4, reference=reference) == plain_x


def test_a_reference_without_images(critic: CLUB) -> None:
    p, q = (sketched(rows(n, n, images=False), critic_of(D), 500) for n in (120, 60))
    reference = reducer.Reference.fit(p)
    assert set(reference.rows) == {"text", "response"} and reference.joint is None
    assert reducer.input_divergence(p, q, seed=0, reference=reference) == reducer.input_divergence(
        p, q, seed=0
    )
    broken = reference.to_arrays() | {"entropy.text": np.array(np.nan)}
    with pytest.raises(ValueError, match="not finite"):
        reducer.Reference.from_arrays(broken, p)


def critic_of(d: int) -> CLUB:
    rng = np.random.default_rng(3)
    return CLUB(hidden=4, steps=2, batch=16).fit(rng.normal(size=(40, d)), rng.normal(size=(40, d)))


def test_relevance_is_the_difference_of_the_critics_estimates(critic: CLUB) -> None:
    p_rows, q_rows = rows(300, 1), rows(300, 2)
    found = reducer.relevance(sketched(p_rows, critic), sketched(q_rows, critic), seed=0, level=0.9)
    assert found is not None
    emi_p = critic.estimate(p_rows.x, p_rows.response) - critic.estimate(p_rows.x, p_rows.reference)
    emi_q = critic.estimate(q_rows.x, q_rows.response) - critic.estimate(q_rows.x, q_rows.reference)
    assert found.emi == pytest.approx(emi_q, abs=1e-9)
    assert found.emid == pytest.approx(emi_p - emi_q, abs=1e-9)
    assert found.emi_interval is not None and found.emi_interval[0] < found.emi < found.emi_interval[1]
    assert found.n == 300


def answered(delta_p: float | None, delta_q: float | None, known: Known | None = None) -> reducer.AnswerTerms:
    gaps = [None if d is None else reducer.Grouped(d, None) for d in (delta_p, delta_q)]
    sides = [reducer.AnswerSide(gap, gap, None, None, None) for gap in gaps]
    return reducer.AnswerTerms(sides[0], sides[1], known or Known())


def test_bounds_say_which_terms_went_in() -> None:
    text, image = Divergence(value=0.04), Divergence(value=0.09)
    whole, missing = reducer.bounds({"text": text, "image": image}, 0.1, answered(0.0016, 0.0081))
    assert whole["partial"].value == pytest.approx(0.3 + 0.2)
    assert whole["scaled"].value == pytest.approx(0.3 + 0.2 + 0.2 + 0.3)
    assert whole["scaled"].complete
    assert whole["sound"].value is None and "no response codebook" in missing["bounds.sound.value"]
    part, missing = reducer.bounds({"text": text}, None, answered(0.0016, None))
    assert part["scaled"].value == pytest.approx(0.2 + 0.2)
    assert (part["scaled"].terms, part["scaled"].complete) == (["d_t", "delta_p"], False)
    assert missing["bounds.scaled"] == "incomplete: without d_v, delta_q"
    none, missing = reducer.bounds({}, None, answered(None, None))
    assert none["partial"].value is None and "bounds.partial.value" in missing


def test_bounds_with_entropies_are_those_of_their_forms() -> None:
    divergences = {
        "text": Divergence(value=0.04),
        "image": Divergence(value=0.09),
        "joint": Divergence(value=0.1),
    }
    known = Known(symbols=8, given_reference=1.0, given_model=0.5)
    found, missing = reducer.bounds(divergences, 0.1, answered(0.0016, 0.0081, known))
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
    found, _ = reducer.bounds(divergences, 0.1, answered(0.0016, 0.0081, known), None, terms)
    pooled = 8 * (0.0016 + 0.0081) ** 0.25
    assert found["theorem_4_6"].value == pytest.approx(1.5 * 2 * (0.3 + 0.2) + 4 * 0.2 + pooled)
    assert found["theorem_4_6"].complete


def test_the_inputs_divergence_is_of_both_modalities_or_of_the_one_there_is(critic: CLUB) -> None:
    p_rows, q_rows = rows(100, 1), rows(80, 2)
    found = reducer.input_divergence(sketched(p_rows, critic), sketched(q_rows, critic), seed=0)
    assert found == pytest.approx(rjsd_joint(p_rows.image, p_rows.text, q_rows.image, q_rows.text), abs=1e-9)
    p_rows, q_rows = rows(100, 1, images=False), rows(80, 2, images=False)
    p, q = sketched(p_rows, critic_of(D)), sketched(q_rows, critic_of(D))
    assert reducer.input_divergence(p, q, seed=0) == pytest.approx(rjsd(p_rows.text, q_rows.text), abs=1e-6)


def test_answers_on_one_codebook(critic: CLUB) -> None:
    p, q = sketched(rows(200, 1), critic), sketched(rows(200, 2), critic)
    book = reducer.answer_codebook([p], 8, seed=0)
    assert book is not None and len(book) == 8
    terms = reducer.answer_terms(reducer.answer_side(p, book), reducer.answer_side(q, book), Known())
    assert terms.known.symbols == 8
    assert terms.p.cells is not None and 0 <= terms.p.cells.value <= log(2)
    assert terms.known.answers_q is not None and terms.known.answers_q.value is not None
    assert 0 < terms.known.answers_q.value <= log(8)
    assert reducer.cell_gap(p, book) == terms.p.cells


def test_the_interval_of_a_bound_of_one_term_is_the_bound_of_its_interval(critic: CLUB) -> None:
    """Deletions recomputed from rows with each group of records gone."""
    every_p, every_q = rows(400, 1), rows(400, 2, move=0.3, base="other")
    p, q = sketched(every_p, critic), sketched(every_q, critic)
    image = reducer.divergence(p, q, "image", seed=0, level=0.9)
    assert image.divergence is not None
    alone = reducer.Divergences({"image": image.divergence}, left={"image": image.left})
    found, _ = reducer.bounds(alone.found, None, answered(None, None), reducer.grouped(p, q, alone, 0.9))
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
    p, q = (sketched(r, critic) for r in (rows(400, 1), rows(400, 2, move=0.3, base="other")))
    measured = {m: reducer.divergence(p, q, m, seed=0, level=0.9) for m in ("image", "text")}
    divergences = {m: d.divergence for m, d in measured.items() if d.divergence is not None}
    every = reducer.Divergences(divergences, left={m: d.left for m, d in measured.items()})
    found, _ = reducer.bounds(divergences, None, answered(None, None), reducer.grouped(p, q, every, 0.9))
    interval = found["partial"].interval
    assert interval is not None
    ends = [d.interval for d in divergences.values() if d.interval is not None]
    assert len(ends) == 2
    assert sum(max(0.0, low) ** 0.5 for low, _ in ends) < interval[0]
    assert interval[0] < interval[1] < sum(high**0.5 for _, high in ends)
    assert found["scaled"].interval is not None  # over the terms that are there


def test_a_bound_of_too_few_rows_has_no_interval_and_says_so(critic: CLUB) -> None:
    p, q = sketched(rows(30, 1), critic), sketched(rows(30, 2, base="other"), critic)
    text = reducer.divergence(p, q, "text", seed=0, level=0.9)
    assert text.divergence is not None and text.left is None
    alone = reducer.Divergences({"text": text.divergence}, left={"text": text.left})
    groups = reducer.grouped(p, q, alone, 0.9)
    found, missing = reducer.bounds({"text": text.divergence}, None, answered(None, None), groups)
    assert found["partial"].interval is None and "too few rows" in missing["bounds.interval"]


def test_holm_over_a_family_leaves_untested_alone() -> None:
    family = [Divergence(p_value=0.01), None, Divergence(value=0.1), Divergence(p_value=0.03)]
    adjusted = reducer.adjust(family)
    assert adjusted[0] is not None and adjusted[0].p_adjusted == pytest.approx(0.02)
    assert adjusted[1] is None
    assert adjusted[2] is not None and adjusted[2].p_adjusted is None
    assert adjusted[3] is not None and adjusted[3].p_adjusted == pytest.approx(0.03)
