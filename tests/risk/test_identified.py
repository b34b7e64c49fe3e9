"""The identified interval on a discrete world whose truth is exact: eight points, three answers."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest

from auditor.risk import IdentifiedInterval, identified_interval, measure_overlap
from auditor.risk.tables import mutual_information
from auditor.sketch import Float, Floats

POINTS = np.random.default_rng(7).normal(size=(8, 6))
ANSWERS = np.eye(3)
CELLS = np.arange(8) // 2
"""Two points share a cell: Y given the cell moves with the mix."""
_LAWS = np.random.default_rng(8)
Y_GIVEN = _LAWS.dirichlet(np.full(3, 0.3), size=8)
MODEL_GIVEN = _LAWS.dirichlet(np.full(3, 0.6), size=8)
UNIFORM = np.full(8, 1 / 8)
BOOKS = POINTS, ANSWERS


class Rows(NamedTuple):
    x: Floats
    y: Floats
    yhat: Floats


def draw(n: int, mix: Float, rng: np.random.Generator, jitter: float = 0.02) -> Rows:
    """y and ŷ are drawn apart given x: only their laws given x matter here."""
    kind = rng.choice(8, size=n, p=mix)
    y, yhat = (np.array([rng.choice(3, p=law[k]) for k in kind]) for law in (Y_GIVEN, MODEL_GIVEN))
    return Rows(POINTS[kind] + jitter * rng.normal(size=(n, 6)), ANSWERS[y], ANSWERS[yhat])


def information(mix: Float, given: Float, cells: np.ndarray | None = None) -> float:
    table = mix[:, None] * given
    if cells is not None:
        table = np.stack([table[cells == c].sum(axis=0) for c in np.unique(cells)])
    return float(mutual_information(table))


def emid(mix: Float, cells: np.ndarray | None = None) -> float:
    p, q = (information(m, MODEL_GIVEN, cells) - information(m, Y_GIVEN, cells) for m in (UNIFORM, mix))
    return p - q


def interval(
    p: Rows, q: Rows, books: tuple[Float, Float] | None = BOOKS, **more: object
) -> IdentifiedInterval:
    return identified_interval(p.x, p.y, p.yhat, q.x, q.yhat, books, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("jitter", [0.0, 0.02])
def test_it_covers_the_exact_truth_of_new_mixes(jitter: float) -> None:
    hits, errors = 0, []
    for seed in range(16):
        rng = np.random.default_rng(seed)
        mix = rng.dirichlet(np.full(8, 0.7))
        got = interval(draw(800, UNIFORM, rng, jitter), draw(300, mix, rng, jitter))
        hits += got.low <= emid(mix) <= got.high
        errors.append(got.i_in - information(mix, Y_GIVEN))
        assert got.low <= got.estimate <= got.high
    assert hits >= 12
    assert np.sqrt(np.mean(np.square(errors))) < 0.05


def test_rows_not_cells_tell_where_the_mix_moved_inside_the_cells() -> None:
    """The pairs of points are told apart inside a cell: Q(cell) P(y|cell) would miss I_Q by far."""
    rng = np.random.default_rng(3)
    mix = np.array([0.23, 0.02, 0.23, 0.02, 0.02, 0.23, 0.23, 0.02])
    centres = np.stack([POINTS[c == CELLS].mean(axis=0) for c in range(4)])
    apart = POINTS.copy()
    apart[:] = centres[CELLS] * 20 + np.tile([[0.5], [-0.5]], (4, 1))
    p, q = draw(3000, UNIFORM, rng), draw(2000, mix, rng)
    moved = [replaced(r, apart) for r in (p, q)]
    got = interval(*moved, books=(centres * 20, ANSWERS))
    truth = information(mix, Y_GIVEN, CELLS)
    held = np.stack([Y_GIVEN[c == CELLS].mean(axis=0) for c in range(4)])
    naive = information(np.full(4, 0.25), held)
    assert abs(naive - truth) > 0.1
    assert got.i_in == pytest.approx(truth, abs=0.05)
    assert got.low <= emid(mix, CELLS) <= got.high


def replaced(rows: Rows, points: Float) -> Rows:
    """The same rows with each point elsewhere."""
    kind = np.square(rows.x[:, None] - POINTS[None]).sum(axis=2).argmin(axis=1)
    return rows._replace(x=points[kind] + rows.x - POINTS[kind])


def test_it_widens_with_the_share_outside_and_still_holds_the_truth() -> None:
    rng = np.random.default_rng(5)
    p = draw(1500, UNIFORM, rng)
    widths = []
    for u in (0.0, 0.05, 0.15, 0.8):
        q = draw(600, UNIFORM, rng)
        away = rng.random(600) < u
        x = np.where(away[:, None], q.x + 50, q.x)
        got = interval(p, q._replace(x=x))
        widths.append(got.width)
        assert got.outside == pytest.approx(u, abs=0.05)
        # Outside, y may be anything: here a function of the cell, or nothing but noise.
        cell = np.square(x[:, None] - POINTS[None]).sum(axis=2).argmin(axis=1)
        for y in (cell % 3, rng.integers(3, size=600)):
            y = np.where(away, y, np.argmax(q.y, axis=1))
            table, model = np.zeros((2, 16, 3))
            np.add.at(table, (cell + 8 * away, y), 1)
            np.add.at(model, (cell + 8 * away, np.argmax(q.yhat, axis=1)), 1)
            i_q = mutual_information(table) - mutual_information(model)
            assert (
                got.low - 0.03
                <= emid(UNIFORM)
                + information(UNIFORM, MODEL_GIVEN)
                - (information(UNIFORM, Y_GIVEN))
                + float(i_q)
                <= got.high + 0.03
            )
        assert got.reported == (u < 0.2)
    assert widths == sorted(widths) and widths[-1] > 0.5


@pytest.mark.parametrize("shift", [3.0, 0.03])
def test_off_the_support_it_says_that_it_cannot_speak(shift: float) -> None:
    """Also where hardly a row is outside, as all moved by little."""
    rng = np.random.default_rng(6)
    p, q = draw(1000, UNIFORM, rng), draw(400, UNIFORM, rng)
    assert interval(p, q).reason is None
    got = interval(p, q._replace(x=q.x + shift))
    assert not got.reported and got.reason is not None and "is not reported" in got.reason


def test_one_seed_one_result_with_learned_codebooks() -> None:
    rng = np.random.default_rng(9)
    p, q = draw(600, UNIFORM, rng), draw(200, UNIFORM, rng)
    got = interval(p, q, None, seed=4)
    assert got == interval(p, q, None, seed=4)
    assert got != interval(p, q, None, seed=5)
    assert (got.k_x, got.k_y, got.n_p, got.n_q) == (16, 3, 600, 200)
    wide, shared = interval(p, q, None, level=0.99, seed=4), measure_overlap(p.x, q.x, 4)
    assert wide.low < got.low and wide.high > got.high
    assert got == interval(p, q, None, seed=4, overlap=shared)


def test_errors_are_one_line_and_name_the_argument() -> None:
    rng = np.random.default_rng(10)
    p, q = draw(100, UNIFORM, rng), draw(50, UNIFORM, rng)
    for wrong, said in (
        (lambda: interval(p._replace(y=p.y[:-1]), q), "y_p has 99 rows for 100 inputs"),
        (lambda: interval(p, q._replace(yhat=q.yhat[:, :2])), "yhat_q has dimension 2, y_p has 3"),
        (lambda: interval(p, q._replace(x=q.x[:, :2])), "x_p has dimension 6, x_q has 2"),
        (lambda: interval(p, q._replace(x=q.x[:5], yhat=q.yhat[:5])), "x_q has 5 rows"),
        (lambda: interval(p, q, (POINTS[:, :2], ANSWERS)), "x_p has dimension 6, its codebook 2"),
        (lambda: interval(p, q, (POINTS, ANSWERS[:0])), "at least one centroid"),
        (lambda: interval(p, q, level=1.0), "level 1.0 must lie in"),
        (lambda: interval(p, q, overlap=measure_overlap(p.x[:50], q.x)), "measured on other rows"),
    ):
        with pytest.raises(ValueError, match=said) as error:
            wrong()
        assert "\n" not in str(error.value)


def test_the_result_is_a_value() -> None:
    rng = np.random.default_rng(11)
    got = interval(draw(100, UNIFORM, rng), draw(50, UNIFORM, rng))
    assert replace(got, seed=1) != got


def of_nothing(n: int, rng: np.random.Generator) -> Rows:
    """Neither answer depends on the input."""
    answers = np.eye(8)
    return Rows(rng.normal(size=(n, 6)), answers[rng.integers(8, size=n)], answers[rng.integers(8, size=n)])


@pytest.mark.parametrize("size", [1, 3])
def test_where_nothing_depends_on_anything_a_small_window_loses_nothing(size: int) -> None:
    """On 16 x 8 cells the model's information on 60 rows was told 0.3 nats and more too high."""
    errors, hits = [], 0
    for seed in range(20):
        rng = np.random.default_rng([20, seed])
        p, q = of_nothing(300 * size, rng), of_nothing(60 * size, rng)
        groups = {name: np.arange(n * size) // size for name, n in (("groups_p", 300), ("groups_q", 60))}
        got = interval(p, q, (rng.normal(size=(16, 6)), np.eye(8)), **groups)
        assert (got.k_x, got.k_y) == (6, 3) and len(got.unions_x) == 16 and set(got.unions_y) == {0, 1, 2}
        assert got.reported
        errors.append(got.estimate)
        hits += got.low <= 0 <= got.high
        assert got.low - 0.1 < 0 < got.high + 0.1
    assert abs(np.mean(errors)) < 0.03
    assert hits >= 15


def test_cells_of_a_small_window_are_unions_and_hold_their_own_truth() -> None:
    hits = 0
    for seed in range(12):
        rng = np.random.default_rng([21, seed])
        mix = rng.dirichlet(np.full(8, 2.0))
        got = interval(draw(600, UNIFORM, rng), draw(60, mix, rng))
        assert (got.k_x, got.k_y) == (7, 3)
        hits += got.low <= emid(mix, np.array(got.unions_x)) <= got.high
    assert hits >= 9


def test_few_rows_or_groups_are_not_spoken_of() -> None:
    rng = np.random.default_rng(22)
    p, q = draw(400, UNIFORM, rng), draw(120, UNIFORM, rng)
    assert interval(p, q).reported
    for got, said in (
        (interval(p, Rows(*(a[:49] for a in q))), "the window has 49 rows"),
        (interval(Rows(*(a[:99] for a in p)), q), "the reference has 99 rows"),
        (interval(p, q, groups_q=np.arange(120) // 3), "the window has 40 rows, or groups of rows"),
    ):
        assert not got.reported and said in str(got.reason)


def test_no_end_lies_beyond_what_emid_can_be() -> None:
    rng = np.random.default_rng(23)
    q = draw(50, UNIFORM, rng)
    far = q._replace(x=q.x + 50)
    got = interval(draw(100, UNIFORM, rng), far, level=1 - 1e-12)
    most = 2 * np.log(got.k_y)
    assert -most <= got.low <= got.estimate <= got.high <= most


def in_groups(groups: int, size: int, mix: Float, rng: np.random.Generator) -> tuple[Rows, np.ndarray]:
    """Rows of a group are of one kind and, mostly, of one answer: copies with little of their own."""
    one = draw(groups, mix, rng, 0.0)
    labels = np.repeat(np.arange(groups), size)
    return Rows(
        one.x[labels] + 0.02 * rng.normal(size=(len(labels), 6)), one.y[labels], one.yhat[labels]
    ), labels


def test_groups_are_what_varies() -> None:
    """Six copies of each row: the interval is about that of the rows themselves, and covers as it does."""
    hits, widths = np.zeros(2), []
    for seed in range(16):
        rng = np.random.default_rng([7, seed])
        mix = rng.dirichlet(np.full(8, 2.0))
        (p, groups_p), (q, groups_q) = in_groups(300, 6, UNIFORM, rng), in_groups(150, 6, mix, rng)
        blind = interval(p, q)
        got = interval(p, q, groups_p=groups_p, groups_q=groups_q)
        hits += [e.low <= emid(mix) <= e.high for e in (got, blind)]
        widths.append((got.high - got.low) / (blind.high - blind.low))
    assert hits[0] >= 12 and hits[0] >= hits[1] and np.median(widths) > 1.8


def test_groups_of_one_row_change_little() -> None:
    rng = np.random.default_rng(8)
    p, q = draw(200, UNIFORM, rng), draw(120, UNIFORM, rng)
    assert interval(p, q, groups_p=np.arange(200), groups_q=[f"r{i}" for i in range(120)]) == interval(p, q)
    with pytest.raises(ValueError, match="groups_p has 3 labels for 200 rows"):
        interval(p, q, groups_p=[1, 2, 3])
