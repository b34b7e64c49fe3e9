"""What of Q is covered by P: rows outside, rows that moved, weights of a new mix."""

from __future__ import annotations

import numpy as np
import pytest

from auditor.neighbours.codebook import learn_codebook, nearest_cell
from auditor.risk import Support, measure_overlap
from auditor.risk.ratio import density_ratio
from auditor.sketch import Floats

D = 8


def kinds(n: int, mix: list[float], rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Rows around len(mix) far centres, and their kinds."""
    kind = rng.choice(len(mix), size=n, p=mix)
    centre = 4 * np.eye(len(mix), D)
    return centre[kind] + rng.normal(size=(n, D)) * 0.3, kind


def test_nothing_is_seen_without_a_shift() -> None:
    rng = np.random.default_rng(0)
    p, q = kinds(1000, [0.25] * 4, rng)[0], kinds(500, [0.25] * 4, rng)[0]
    o = measure_overlap(p, q)
    assert o.outside < 0.02 and abs(o.moved - 0.5) < 0.04 and abs(o.auc - 0.5) < 0.06
    assert o.overlap > 0.9 and o.weights.mean() == pytest.approx(1)


def test_a_new_mix_moves_the_weights_and_nothing_else() -> None:
    rng = np.random.default_rng(1)
    (p, kind), (q, _) = kinds(2000, [0.25] * 4, rng), kinds(600, [0.7, 0.1, 0.1, 0.1], rng)
    o = measure_overlap(p, q)
    assert o.outside < 0.02 and abs(o.moved - 0.5) < 0.04 and o.auc > 0.65
    for k, true in enumerate([2.8, 0.4, 0.4, 0.4]):
        assert o.weights[kind == k].mean() == pytest.approx(true, abs=0.2)
    # ESS / n = 1 / E_P w² of the true ratio.
    assert o.overlap == pytest.approx(1 / np.mean([2.8**2, 0.4**2, 0.4**2, 0.4**2]), rel=0.2)


def test_a_small_displacement_of_all_rows_is_seen_before_they_are_outside() -> None:
    rng = np.random.default_rng(2)
    p, q = kinds(1000, [0.25] * 4, rng)[0], kinds(500, [0.25] * 4, rng)[0]
    o = measure_overlap(p, q + 0.3)
    assert o.outside < 0.2 and o.moved > 0.6
    assert measure_overlap(p, q + 3).outside == 1.0


def test_copies_of_reference_rows_are_inside() -> None:
    """FAISS's fp32 distances between equal rows are not zero; a radius of zero must hold all the same."""
    rng = np.random.default_rng(3)
    points = rng.normal(size=(5, 64))
    o = measure_overlap(points[rng.integers(5, size=400)], points[rng.integers(5, size=200)])
    assert o.radius == 0 and o.outside == 0 and o.moved == 0.5
    own = o.neighbours_p == np.arange(400)[:, None]
    assert not own.any()


def test_the_ratio_of_rows_that_are_all_equal_is_one() -> None:
    got = density_ratio(np.ones((50, 3)), np.ones((30, 3)))
    assert np.allclose(got.weights, 1) and got.auc == 0.5 and got.effective == pytest.approx(50)


def test_codebook_and_cells() -> None:
    rng = np.random.default_rng(4)
    rows = rng.normal(size=(200, 3))
    book = learn_codebook(rows, 6, seed=1)
    assert book.shape == (6, 3) and np.array_equal(book, learn_codebook(rows, 6, seed=1))
    brute = np.square(rows[:, None] - book[None]).sum(axis=2).argmin(axis=1)
    assert np.array_equal(nearest_cell(rows, book), brute)
    assert len(learn_codebook(np.repeat(rows[:3], 20, axis=0), 6)) == 3
    with pytest.raises(ValueError, match="no codebook of 0 cells"):
        learn_codebook(rows, 0)
    with pytest.raises(ValueError, match="dimension 3, its codebook 2"):
        nearest_cell(rows, np.ones((2, 2)))


@pytest.mark.parametrize(
    ("p", "q", "said"),
    [
        (np.ones((29, 2)), np.ones((50, 2)), "x_p has 29 rows: at least 30"),
        (np.ones((50, 2)), np.ones((9, 2)), "x_q has 9 rows: at least 10"),
        (np.ones((50, 2)), np.ones((50, 3)), "x_p has dimension 2, x_q has 3"),
        (np.full((50, 2), np.nan), np.ones((50, 2)), "x_p: row 0 is not finite"),
    ],
)
def test_errors_say_which_argument(p: Floats, q: Floats, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        measure_overlap(p, q)


def test_a_support_fitted_before_changes_no_bit() -> None:
    rng = np.random.default_rng(8)
    p, q = kinds(300, [0.25] * 4, rng)[0], kinds(60, [0.7, 0.1, 0.1, 0.1], rng)[0] + 0.2
    p[7] = p[9]  # a copy
    plain = measure_overlap(p, q, seed=4)
    fitted = Support.fit(p)
    for support in (fitted, Support.from_arrays(fitted.to_arrays(), p)):
        found = measure_overlap(support, q, seed=4)
        for name, value in vars(plain).items():
            assert np.array_equal(getattr(found, name), value), name


def test_arrays_that_are_not_of_the_rows_are_refused() -> None:
    p = kinds(60, [1.0], np.random.default_rng(9))[0]
    arrays = Support.fit(p).to_arrays()
    for broken in (
        arrays | {"neighbours": arrays["neighbours"] + 60},
        arrays | {"neighbours": arrays["neighbours"][:, 1:]},
        arrays | {"own": arrays["own"] * np.nan},
        arrays | {"local": arrays["local"][1:]},
    ):
        with pytest.raises(ValueError, match="not the support"):
            Support.from_arrays(broken, p)
    with pytest.raises(ValueError, match="not the support"):
        Support.from_arrays(arrays, p[1:])


def test_the_support_is_measured_between_groups() -> None:
    """Every picture three times in P: within a group the nearest row would be its own copy."""
    rng = np.random.default_rng(11)
    pictures, new = rng.normal(size=(200, D)), rng.normal(size=(100, D))
    p, groups = np.repeat(pictures, 3, axis=0), np.repeat(np.arange(200), 3)
    assert measure_overlap(p, new).outside > 0.9
    o = measure_overlap(p, new, 0, groups)
    alone = measure_overlap(pictures, new)
    assert o.outside == alone.outside < 0.05 and o.radius == pytest.approx(alone.radius)
    assert o.moved == pytest.approx(alone.moved, abs=0.02)
    assert not (groups[o.neighbours_p] == groups[:, None]).any()
    again = Support.from_arrays(Support.fit(p, groups).to_arrays(), p)
    kept = measure_overlap(again, new)
    assert np.array_equal(kept.neighbours_p, o.neighbours_p) and np.array_equal(kept.weights, o.weights)


def test_a_classifier_has_seen_no_row_of_the_group() -> None:
    """Each side has its own points, many times each: a classifier that has seen a copy knows the side."""
    rng = np.random.default_rng(12)
    p, q = (np.repeat(rng.normal(size=(60, 32)), 10, axis=0) for _ in range(2))
    groups = np.repeat(np.arange(60), 10)
    assert density_ratio(p, q).auc > 0.8
    assert density_ratio(p, q, labels_p=groups, labels_q=groups).auc < 0.65


def test_labels_that_are_their_own_rows_change_no_bit() -> None:
    rng = np.random.default_rng(13)
    p, q = kinds(200, [0.5, 0.5], rng)[0], kinds(90, [0.2, 0.8], rng)[0]
    p[:20] = p[20:40]  # copies
    names = [f"r{i}" for i in range(200)]
    a, b = measure_overlap(p, q, 3), measure_overlap(p, q, 3, names, range(90))
    for name in ("neighbours_p", "neighbours_q", "weights", "outside_p", "outside_q"):
        assert (getattr(a, name) == getattr(b, name)).all()
    assert (a.moved, a.auc) == (b.moved, b.auc)


def test_too_few_groups() -> None:
    rng = np.random.default_rng(14)
    p, q = rng.normal(size=(60, D)), rng.normal(size=(40, D))
    with pytest.raises(ValueError, match="groups_p has 6 groups: at least 10 are needed"):
        measure_overlap(p, q, 0, np.arange(60) // 10)
    with pytest.raises(ValueError, match="groups_q has 4 groups: at least 10 are needed"):
        measure_overlap(p, q, 0, None, np.arange(40) // 10)
    with pytest.raises(ValueError, match="all but 14 of 60 rows of x_p are of one group"):
        measure_overlap(p, q, 0, np.maximum(np.arange(60) - 45, 0))
    with pytest.raises(ValueError, match="groups_q has 3 labels for 40 rows"):
        measure_overlap(p, q, 0, None, [1, 2, 3])
