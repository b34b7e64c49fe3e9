"""Entropies of bounds against exact discrete laws, and which of them a form takes."""

from __future__ import annotations

from math import log

import numpy as np
import pytest

from auditor.bounds import FORMS, emid_bound, missing_terms
from auditor.bounds.discrete_entropy import entropy
from auditor.bounds.entropies import (
    Entropy,
    EntropyShift,
    Known,
    QueryEntropies,
    answer_entropy,
    choose,
    codebook_entropy,
    entropy_shift,
    from_log_probabilities,
    from_sampled_cells,
    given_entropy,
    upper_entropy,
)
from auditor.sketch import Float


def laws(n: int, k: int, rng: np.random.Generator, width: float | None = None) -> Float:
    """(n, k) laws of answers given a query, of one width or of all."""
    sharp = 10 ** rng.uniform(-2, 0.5, size=n) if width is None else np.full(n, width)
    return np.array([rng.dirichlet(np.full(k, s)) for s in sharp])


def draw(p: Float, m: int, rng: np.random.Generator) -> list[list[int]]:
    return [list(rng.choice(len(row), size=m, p=row)) for row in p]


def log_probabilities(p: Float, drawn: list[list[int]]) -> list[list[float]]:
    return [list(np.log(row[cells])) for row, cells in zip(p, drawn, strict=True)]


def names(n: int, prefix: str = "r") -> list[str]:
    return [f"{prefix}{i}" for i in range(n)]


# From log-probabilities.


@pytest.mark.parametrize("m", [1, 4])
def test_log_probabilities_are_unbiased_and_their_noise_is_known(m: int) -> None:
    rng = np.random.default_rng(0)
    p = laws(3000, 50, rng)
    truth = entropy(p)
    got = from_log_probabilities(log_probabilities(p, draw(p, m, rng)), names(3000), 1.0)
    error = got.values - truth
    assert abs(error.mean()) < 4 * error.std() / np.sqrt(3000)
    assert got.source == "log_probabilities" and got.samples == m and got.reason is None
    if m == 1:
        assert got.noise is None
    else:
        assert got.noise == pytest.approx(error.var(), rel=0.1)


@pytest.mark.parametrize("width", [None, 0.3])
def test_the_upper_quantile_is_near_the_true_one_where_the_largest_estimate_is_not(
    width: float | None,
) -> None:
    rng = np.random.default_rng(1)
    p = laws(1500, 50, rng, width)
    truth = entropy(p)
    upper = {}
    for m in (1, 2, 4, 10):
        of = from_log_probabilities(log_probabilities(p, draw(p, m, rng)), names(1500), 1.0)
        upper[m] = upper_entropy(of)
        assert upper[m].highest == of.values.max() > 1.1 * truth.max()
    value = {m: u.value for m, u in upper.items() if u.value is not None}
    true = float(np.quantile(truth, 0.95))
    assert value[1] > 1.1 * true and "noise is still in it" in (upper[1].note or "")
    assert all(0.98 * true < value[m] < 1.08 * true for m in (2, 4, 10))
    for u in upper.values():  # what the quantile lacks, never told too small
        assert u.value is not None and u.excess is not None
        assert u.excess >= np.maximum(truth - u.value, 0).mean()


def test_a_quantile_and_its_excess_bound_the_change_of_entropy() -> None:
    """|E_P H - E_Q H| <= c T + the larger E (H - c)₊, for any c."""
    rng = np.random.default_rng(2)
    for _ in range(300):
        n = int(rng.integers(2, 30))
        h, c = rng.exponential(size=n), rng.uniform(0, 3)
        p, q = rng.dirichlet(np.full(n, 0.3), size=2)
        t = np.abs(p - q).sum() / 2
        over = np.maximum(h - c, 0)
        assert abs((p - q) @ h) <= c * t + max(p @ over, q @ over) + 1e-12


def test_greedy_answers_do_not_give_it() -> None:
    got = from_log_probabilities([[-0.1]] * 50, names(50), 0.0)
    assert len(got) == 0 and "greedy" in (got.reason or "")
    assert upper_entropy(got).value is None and "greedy" in (upper_entropy(got).reason or "")
    shift = entropy_shift(got, got)
    assert shift.value is None and "greedy" in (shift.reason or "")
    warm = from_log_probabilities([[-0.1]] * 50, names(50), 0.7)
    assert "temperature 0.7" in (upper_entropy(warm).note or "")


def test_queries_without_answers_are_left_out() -> None:
    got = from_log_probabilities([[], [-1.0, -3.0], [-2.0]], ["a", "b", "c"], 1.0)
    assert list(got.values) == [2, 2] and list(got.base_ids) == ["b", "c"]
    assert got.noise == pytest.approx((1 + 2) / 2)  # of the single sample: as of a sample of the others
    assert "no answer" in (from_log_probabilities([[]], ["a"], 1.0).reason or "")
    assert "fewer than the 20" in (upper_entropy(got).reason or "")
    assert upper_entropy(got, quantile=1).value == 2
    with pytest.raises(ValueError, match="not above 0"):
        from_log_probabilities([[0.5]], ["a"], 1.0)
    with pytest.raises(ValueError, match="2 base ids for 1"):
        from_log_probabilities([[-1.0]], ["a", "b"], 1.0)


# On cells.


@pytest.mark.parametrize("m", [4, 10])
def test_the_jackknife_takes_most_of_the_bias_off(m: int) -> None:
    rng = np.random.default_rng(3)
    p = laws(2000, 8, rng)
    drawn = draw(p, m, rng)
    truth = entropy(p).mean()
    raw = np.mean([entropy(np.bincount(cells, minlength=8).astype(float)) for cells in drawn])
    got = from_sampled_cells(drawn, 8, names(2000))
    assert abs(got.values.mean() - truth) < 0.45 * abs(raw - truth)
    assert abs(got.values.mean() - truth) < {4: 0.15, 10: 0.04}[m]
    assert got.limit == log(8)
    upper = upper_entropy(got)
    assert upper.value is not None and upper.value <= log(8)
    assert upper.value == pytest.approx(np.quantile(entropy(p), 0.95), rel=0.08)


def test_the_jackknife_is_that_of_deleted_answers() -> None:
    cells = [0, 0, 1, 3, 3, 3, 2]
    whole = entropy(np.bincount(cells, minlength=5).astype(float))
    without = [
        entropy(np.bincount(cells[:i] + cells[i + 1 :], minlength=5).astype(float)) for i in range(len(cells))
    ]
    m = len(cells)
    got = from_sampled_cells([cells], 5, ["a"])
    assert got.values[0] == pytest.approx(m * whole - (m - 1) * np.mean(without))
    assert got.noise == pytest.approx((m - 1) * np.var(without))


def test_too_few_sampled_answers() -> None:
    got = from_sampled_cells([[0], [1, 2, 1]], 3, ["a", "b"])
    assert len(got) == 0 and "4 sampled answers" in (got.reason or "")
    with pytest.raises(ValueError, match=r"0\.\.2"):
        from_sampled_cells([[0, 1, 2, 3]], 3, ["a"])


@pytest.mark.parametrize(("m", "n"), [(1, 150), (5, 60)])
def test_entropy_of_answers_without_its_bias(m: int, n: int) -> None:
    rng = np.random.default_rng(4)
    found, raw = [], []
    kinds = laws(400, 8, rng, 0.5) * np.geomspace(1, 0.1, 8)  # far from uniform: no cap at log K
    kinds /= kinds.sum(axis=1, keepdims=True)
    truth = float(entropy(kinds.mean(axis=0)))
    for _ in range(300):
        drawn = draw(kinds[rng.integers(400, size=n)], m, rng)
        got = answer_entropy(drawn, 8, names(n))
        assert got.value is not None and got.value <= log(8)
        found.append(got.value)
        raw.append(entropy(np.bincount(np.ravel(drawn), minlength=8).astype(float)))
    standard_error = np.std(found) / np.sqrt(300)
    assert np.mean(raw) < truth - 5 * standard_error
    assert np.mean(found) == pytest.approx(truth, abs=4 * standard_error)


def test_answers_of_one_base_id_count_as_one() -> None:
    rng = np.random.default_rng(5)
    once = draw(laws(60, 6, rng, 0.5), 1, rng)
    single = answer_entropy(once, 6, names(60))
    five = answer_entropy(once * 5, 6, names(60) * 5)
    assert five.value == pytest.approx(single.value)
    apart = answer_entropy(once * 5, 6, names(300))
    assert apart.value is not None and single.value is not None and apart.value < single.value
    assert "one base id" in (answer_entropy(once, 6, ["a"] * 60).reason or "")
    assert answer_entropy([[], []], 6, ["a", "b"]).value is None


def test_miller_and_madow_is_the_case_of_one_answer() -> None:
    cells = [[0]] * 10 + [[1]] * 20 + [[2]] * 10
    got = answer_entropy(cells, 5, names(40))
    assert got.value == pytest.approx(entropy(np.array([10.0, 20.0, 10.0])) + 2 / (2 * 39))


# (B).


def test_shift_of_entropy_against_the_truth() -> None:
    rng = np.random.default_rng(6)
    p = laws(2000, 20, rng, 0.5)
    flat = 0.7 * p + 0.3 / 20
    truth = float((entropy(flat) - entropy(p)).mean())
    ids = names(2000)
    for draws, make in (
        (1, lambda law: from_log_probabilities(log_probabilities(law, draw(law, 1, rng)), ids, 1.0)),
        (12, lambda law: from_sampled_cells(draw(law, 12, rng), 20, ids)),
    ):
        got = entropy_shift(make(p), make(flat), draws=300)
        assert got.value is not None and got.low is not None and got.high is not None and got.paired
        assert got.low < got.value < got.high
        tolerance = 0.1 if draws == 1 else 0.25  # cells: what is left of the bias pulls (B) towards 0
        assert got.value == pytest.approx(truth, rel=tolerance)


@pytest.mark.parametrize("paired", [True, False])
def test_its_interval_covers(paired: bool) -> None:
    rng = np.random.default_rng(7)
    covered, runs, n = 0, 200, 60
    for seed in range(runs):
        base = rng.exponential(size=n)
        other = base if paired else rng.exponential(size=n)
        p = of_values(base + rng.normal(size=n) * 0.3, names(n))
        q = of_values(other + 0.2 + rng.normal(size=n) * 0.3, names(n, "r" if paired else "s"))
        got = entropy_shift(p, q, draws=300, seed=seed)
        assert got.paired == paired and got.low is not None and got.high is not None
        covered += got.low <= 0.2 <= got.high
    assert 0.84 <= covered / runs <= 0.96  # nominal 90%


def of_values(values: Float, ids: list[str]) -> QueryEntropies:
    return QueryEntropies(values, None, np.array(ids), "log_probabilities", 1.0)


def test_rows_of_one_base_id_are_drawn_together() -> None:
    rng = np.random.default_rng(8)
    values = rng.normal(size=40)
    p = of_values(np.zeros(40), names(40, "p"))
    apart = entropy_shift(p, of_values(np.tile(values, 4), names(160, "q")), draws=400)
    together = entropy_shift(p, of_values(np.tile(values, 4), names(40, "q") * 4), draws=400)
    assert together.std is not None and apart.std is not None and together.std > 1.7 * apart.std


def test_shift_is_seeded_and_checked() -> None:
    rng = np.random.default_rng(9)
    p, q = (of_values(rng.normal(size=30), names(30, s)) for s in "pq")
    assert entropy_shift(p, q, seed=1) == entropy_shift(p, q, seed=1) != entropy_shift(p, q, seed=2)
    few = entropy_shift(p, of_values(np.ones(5), names(5)))
    assert few.value is not None and few.low is None and "no interval" in (few.reason or "")
    with pytest.raises(ValueError, match="cannot be subtracted"):
        entropy_shift(p, from_sampled_cells([[0, 1, 0, 1]], 2, ["a"]))


# The codebook.


# Which a form takes.


def shift_of(value: float, source: str) -> EntropyShift:
    return EntropyShift(value, source)  # type: ignore[arg-type]


EVERYTHING = Known(
    symbols=8,
    given_reference=1.2,
    text=Entropy(9.0, "log_probabilities"),
    cells=Entropy(0.7, "sampled_cells"),
    text_shift=shift_of(0.4, "log_probabilities"),
    cells_shift=shift_of(0.1, "sampled_cells"),
    answers_p=Entropy(1.5, "answer_cells"),
    answers_q=Entropy(1.1, "answer_cells"),
)


@pytest.mark.parametrize("known", [EVERYTHING, Known(symbols=8), Known()])
@pytest.mark.parametrize("form", FORMS)
def test_what_is_chosen_is_what_the_bound_takes(form: str, known: Known) -> None:
    """With the divergences, either the bound is complete or there is a reason."""
    divergences = dict.fromkeys(
        (
            "d_v",
            "d_t",
            "d_x",
            "delta_p",
            "delta_q",
            "d_t_given_v",
            "d_v_given_t",
            "d_y_quarter",
            "tv_p",
            "tv_q",
        ),
        0.01,
    )
    got = choose(form, known)
    if got.reason is None:
        assert missing_terms(form, {**divergences, **got.terms}) == ()
        assert np.isfinite(emid_bound(form, **divergences, **got.terms))
    else:
        assert missing_terms(form, {**divergences, **got.terms}) != ()
        assert got.entropy is None
    assert known is not EVERYTHING or got.reason is None


def test_all_are_of_one_variable() -> None:
    text = choose("joint", EVERYTHING)
    assert text.terms == {"entropy_y": 1.2, "entropy_model": 9.0} and text.entropy == 10.2
    assert "log-probabilities" in (text.source or "")
    measured = choose("measured", EVERYTHING)
    assert measured.terms == {"entropy_y": 1.2, "entropy_shift": 0.4} and measured.entropy == 1.2
    sound = choose("sound", EVERYTHING)
    assert sound.terms == {"symbols": 8, "entropy_y": 1.2, "entropy_shift": 0.1}
    assert "quantised" in (sound.source or "")
    without = Known(symbols=8, text=EVERYTHING.text, text_shift=EVERYTHING.text_shift)
    joint = choose("joint", without)  # H of references is known of cells only: then the model's is, too
    assert joint.entropy == pytest.approx(2 * log(8)) and "codebook" in (joint.source or "")
    assert choose("measured", without).reason is not None  # log-probabilities are of the text
    assert choose("sound", without).terms["entropy_model"] == pytest.approx(log(8))
    assert choose("sound_label_free", without).reason is not None
    assert choose("partial", Known()) == ({}, None, None, None)


def test_entropies_passed_in_are_checked() -> None:
    assert given_entropy(2).value == 2 and codebook_entropy(8).value == log(8)
    with pytest.raises(ValueError, match="not below 0"):
        given_entropy(-1)
    with pytest.raises(ValueError, match="unknown bound"):
        choose("x", Known())
