"""Bounds, Lemma 4.3 and Theorem 4.4 against exact discrete laws: what holds always, and what does not.

The worlds are made many at a time. In a `copy world` of N + 1 symbols everything is a closed form of N, so
that alphabets no computer could hold (N = 1e40) are exact too.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from math import log, sqrt
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from auditor.bounds import emid_bound, entropy_change_bound
from auditor.bounds.theory import (
    effective_information,
    entropy,
    lemma_4_3,
    lemma_4_3_sound,
    log_win_rate,
    model_error,
    mutual_information,
    preference,
    theorem_4_4,
    theorem_4_4_delta,
    theorem_4_4_sound,
    training_error,
)
from auditor.sketch import Float

Worlds = dict[str, NDArray[Any]]
"""Name of a term (and `emid`) -> (B,) exact values of B worlds."""
LOG2 = log(2)


def jsd(p: Float, q: Float) -> Float:
    """D_JS along the last axis, to full relative precision: √D of nearly equal laws must not vanish."""
    total = p + q
    u = np.abs(p - q) / np.where(total > 0, total, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        exact = ((1 + u) * np.log1p(u) + np.where(u < 1, (1 - u) * np.log1p(-u), 0)) / 2
    series = u**2 / 2 + u**4 / 12 + u**6 / 30
    return np.asarray((total / 2 * np.where(u < 1e-2, series, exact)).sum(axis=-1))


def binary(a: Float) -> Float:
    return entropy(np.stack([a, 1 - a], axis=-1))


def laws(rng: np.random.Generator, sharp: Float, shape: tuple[int, ...]) -> Float:
    """Dirichlet laws along the last axis, one sharpness a world: mass on one symbol to nearly uniform."""
    g = rng.standard_gamma(np.broadcast_to(sharp.reshape(-1, *[1] * (len(shape) - 1)), shape)) + 1e-300
    return g / g.sum(axis=-1, keepdims=True)


def mean(x: Float, f: Float) -> Float:
    """(B,) means of f (B, n) under x (B, n)."""
    return np.asarray(np.einsum("bx,bx->b", x, f))


def answers(p: Float, q: Float, y: Float, model: Float) -> Worlds:
    """EMID and the exact terms without modalities: p, q (B, n), y and model (B, n, K), Y|X unchanged."""
    h_y, h_model = entropy(y), entropy(model)
    p_y, p_m, q_y, q_m = (np.einsum("bx,bxk->bk", x, law) for x in (p, q) for law in (y, model))
    emi_p = entropy(p_m) - mean(p, h_model) - entropy(p_y) + mean(p, h_y)
    emi_q = entropy(q_m) - mean(q, h_model) - entropy(q_y) + mean(q, h_y)
    tv = np.abs(y - model).sum(axis=2)
    return {
        "emid": emi_p - emi_q,
        "d_x": jsd(p, q),
        "delta_p": jsd(p_m, p_y),
        "delta_q": jsd(q_m, q_y),
        "entropy_y": h_y.max(axis=1),
        "entropy_model": h_model.max(axis=1),
        "entropy_shift": mean(q - p, h_model),
        "d_y_quarter": np.zeros(len(p)),
        "tv_p": mean(p, tv),
        "tv_q": mean(q, tv),
        "symbols": np.full(len(p), float(y.shape[2])),
        "h_model_p": entropy(p_m),
        "h_model_q": entropy(q_m),
        "entropy_gap": np.abs(entropy(q_m) - entropy(q_y)),
    }


def modalities(p: Float, q: Float) -> Worlds:
    """The divergences of images, texts and their conditionals: p, q (B, n_v, n_t)."""
    bars = []
    for s, t in ((p, q), (p.transpose(0, 2, 1), q.transpose(0, 2, 1))):
        margin_s, margin_t = s.sum(axis=2), t.sum(axis=2)
        rows = [r / np.where(m > 0, m, 1)[:, :, None] for r, m in ((s, margin_s), (t, margin_t))]
        bars.append(mean(margin_s + margin_t, jsd(*rows)))
    d_v, d_t = (jsd(p.sum(axis=axis), q.sum(axis=axis)) for axis in (2, 1))
    return {"d_v": d_v, "d_t": d_t, "d_t_given_v": bars[0], "d_v_given_t": bars[1]}


def tied(d: Float) -> Worlds:
    """The same where image and text are one variable: Assumption D.10 holds."""
    return {"d_v": d, "d_t": d, "d_t_given_v": np.zeros(len(d)), "d_v_given_t": np.zeros(len(d))}


def random_worlds(rng: np.random.Generator, b: int, n_v: int, n_t: int, k: int) -> Worlds:
    """Laws of every sharpness, Q between P and a law of its own, the model between answers and its own."""
    sharp = lambda: 10 ** rng.uniform(-2, 1, size=b)  # noqa: E731
    between = lambda: rng.uniform(size=(b, 1, 1)) ** rng.choice([0, 1, 4], size=(b, 1, 1))  # noqa: E731
    same = sharp()
    p, q = (laws(rng, same, (b, n_v * n_t)).reshape(b, n_v, n_t) for _ in range(2))
    w = between()
    q = w * q + (1 - w) * p
    y, own = laws(rng, sharp(), (b, n_v * n_t, k)), laws(rng, sharp(), (b, n_v * n_t, k))
    w = between()
    model = w * own + (1 - w) * y
    return answers(p.reshape(b, -1), q.reshape(b, -1), y, model) | modalities(p, q)


def wide_worlds(rng: np.random.Generator, b: int, n: int) -> Worlds:
    """n inputs, n answers, image and text the same. P mostly on one input, Q spread; x is answered by x, and
    the model mostly says the one answer: what breaks Lemma D.4."""
    eye = np.eye(n)
    one = np.zeros(n)
    one[0] = 1.0
    a, c = rng.uniform(0, 0.3, size=(b, 1)), rng.uniform(0.5, 1, size=(b, 1))
    spread = laws(rng, 10 ** rng.uniform(-0.5, 2, size=b), (b, n))
    p, q = ((1 - s) * one + s * spread for s in (a, c))
    swap = rng.uniform(size=(b, 1)) < 0.2
    p, q = np.where(swap, q, p), np.where(swap, p, q)
    noise, copied = rng.uniform(0, 0.1, size=(b, 1, 1)), rng.uniform(0, 0.3, size=(b, 1, 1))
    y = (1 - noise) * eye + noise * spread[:, None, :]
    model = copied * eye + (1 - copied) * one
    terms = answers(p, q, y, np.broadcast_to(model, y.shape))
    return terms | tied(terms["d_x"])


def copy_worlds(rng: np.random.Generator, b: int, digits: tuple[float, float] = (1.5, 40.0)) -> Worlds:
    """N + 1 symbols, N = 10^digits: x is 0 with 1 - a under P (1 - c under Q), else any other. x is answered
    by itself with chance r, by the model with chance s, else by 0. Image and text are both x."""
    size = np.floor(10 ** rng.uniform(*digits, size=b))
    a, c, r, s = (rng.uniform(size=b) ** rng.choice([0, 0.2, 1, 5], size=b) for _ in range(4))
    a, s = (np.where(rng.uniform(size=b) < 0.3, 0.0, z) for z in (a, s))
    return copy_terms(a, c, r, s, size)


def copy_terms(a: Float, c: Float, r: Float, s: Float, size: Float) -> Worlds:
    spread = lambda m: binary(m) + m * np.log(size)  # noqa: E731  the entropy of mass m spread over N symbols
    split = lambda m, w: jsd(*(np.stack([1 - z, z], axis=-1) for z in (m, w)))  # noqa: E731
    emi = [spread(m * s) - m * binary(s) - (spread(m * r) - m * binary(r)) for m in (a, c)]
    d = split(a, c)
    tv = 2 * np.abs(r - s)
    return {
        "emid": emi[0] - emi[1],
        **tied(d),
        "d_x": d,
        "delta_p": split(a * s, a * r),
        "delta_q": split(c * s, c * r),
        "entropy_y": binary(r),
        "entropy_model": binary(s),
        "entropy_shift": (c - a) * binary(s),
        "d_y_quarter": np.zeros(len(a)),
        "tv_p": a * tv,
        "tv_q": c * tv,
        "symbols": size + 1,
        "h_model_p": spread(a * s),
        "h_model_q": spread(c * s),
        "entropy_gap": np.abs(spread(c * s) - spread(c * r)),
    }


def each(worlds: Worlds) -> Iterator[tuple[float, dict[str, float]]]:
    names = [name for name in worlds if name not in ("emid", "entropy_gap")]
    for row in zip(worlds["emid"], *(worlds[name] for name in names), strict=True):
        yield float(row[0]), dict(zip(names, map(float, row[1:]), strict=True))


def d4_broken(worlds: Worlds) -> NDArray[np.bool_]:
    """Where |H(Q_Yθ) - H(Q_Y)| > 4 D^¼: Lemma D.4 says never."""
    return worlds["entropy_gap"] > 4 * worlds["delta_q"] ** 0.25 + 1e-9


def all_worlds() -> list[tuple[str, Worlds]]:
    rng = np.random.default_rng(0)
    small = [random_worlds(rng, 250, *rng.integers(1, 5, size=2), int(rng.integers(2, 9))) for _ in range(28)]
    wide = [wide_worlds(rng, 120, int(n)) for n in rng.integers(40, 160, size=17)]
    return [
        *(("small", w) for w in small),
        *(("wide", w) for w in wide),
        ("copy", copy_worlds(rng, 3000)),
    ]


def test_what_holds_in_every_one_of_12000_worlds() -> None:
    counted, broken, violated = 0, 0, dict.fromkeys(("measured", "joint", "theorem_4_6", "theorem_4_5"), 0)
    for kind, worlds in all_worlds():
        counted += len(worlds["emid"])
        broken += int(d4_broken(worlds).sum())
        for emid, terms in each(worlds):
            unmeasured = {name: value for name, value in terms.items() if name != "entropy_shift"}
            for form in ("sound", "sound_label_free"):
                with_b = emid_bound(form, **terms)
                without = emid_bound(form, **unmeasured)
                assert emid <= with_b + 1e-9 * max(1, abs(emid)), (form, kind, terms)
                assert with_b <= without + 1e-9
            paper = {form: emid_bound(form, **terms) for form in violated}
            assert all(paper[a] <= paper[b] + 1e-9 for a, b in pairwise(("measured", "joint", "theorem_4_6")))
            assert emid_bound("theorem_4_5_split", **terms) <= paper["theorem_4_5"] + 1e-9
            for form, bound in paper.items():
                violated[form] += emid > bound + 1e-9 and kind != "small"
                assert kind != "small" or form == "theorem_4_5" or emid <= bound + 1e-9
    assert counted >= 12_000 and broken >= 1000
    assert all(violated.values())  # those that stand on Lemma D.4 do fail where it does


def test_the_copy_world_is_the_enumerated_one() -> None:
    a, c, r, s, n = 0.2, 0.7, 0.9, 0.3, 12
    one, eye = np.eye(n + 1)[0], np.eye(n + 1)
    rest = (1 - one) / n
    p, q = (((1 - m) * one + m * rest)[None] for m in (a, c))
    y, model = ((w * eye + (1 - w) * one)[None] for w in (r, s))
    closed = copy_terms(*(np.array([float(z)]) for z in (a, c, r, s, n)))
    for name, exact in (
        answers(p, q, y, model) | modalities(p[:, :, None] * eye, q[:, :, None] * eye)
    ).items():
        assert closed[name][0] == pytest.approx(exact[0], abs=1e-12), name


class TestCounterexamples:
    """What is false as printed, each by the smallest law found."""

    def test_lemma_d4_at_31_symbols(self) -> None:
        """All mass on one symbol, against 0.163 on it and 0.837 spread over 30 others."""
        p = np.eye(31)[0]
        q = np.concatenate([[1 - 0.837], np.full(30, 0.837 / 30)])
        gap, d = float(entropy(q) - entropy(p)), float(jsd(p, q))
        assert gap > 4 * d**0.25
        assert gap <= entropy_change_bound(d, 31)

    def test_lemma_d4_as_in_the_design(self) -> None:
        """0.95 on one symbol and 0.05 on N = 1e40 others: 4.80 > 1.46. That Q breaks the bounds as well."""
        w = copy_terms(*(np.array([z]) for z in (0.0, 0.05, 1.0, 0.0, 1e40)))
        assert w["entropy_gap"][0] == pytest.approx(4.80, abs=0.01)
        assert 4 * w["delta_q"][0] ** 0.25 == pytest.approx(1.46, abs=0.01)
        emid, terms = next(each(w))
        assert emid == pytest.approx(4.80, abs=0.01)
        for form, value in (
            ("measured", 1.46),
            ("joint", 1.46),
            ("theorem_4_5", 2.92),
            ("theorem_4_6", 2.92),
        ):
            assert emid_bound(form, **terms) == pytest.approx(value, abs=0.01)
        assert emid <= min(emid_bound(f, **terms) for f in ("sound", "sound_label_free"))

    @pytest.mark.parametrize(
        ("form", "others", "c"),
        [
            ("measured", 30, 0.837),
            ("joint", 30, 0.837),
            ("theorem_4_5_split", 30, 0.837),
            ("theorem_4_5", 1312, 0.943),
            ("theorem_4_6", 1312, 0.943),
            ("corollary_d12", 13_600, 0.999),
        ],
    )
    def test_bounds_that_stand_on_it(self, form: str, others: int, c: float) -> None:
        """P on one input; under Q others appear, each with its own answer, and the model says the one answer.
        Assumption D.10 holds (image and text are the same variable), every Ĥ is 0."""
        emid, terms = next(each(copy_terms(*(np.array([z]) for z in (0.0, c, 1.0, 0.0, float(others))))))
        assert emid > emid_bound(form, **terms)
        for sound in ("sound", "sound_label_free"):
            assert emid <= emid_bound(sound, **terms)

    def test_the_maximum_of_the_sum(self) -> None:
        """Two answers, four inputs: on P answers are a coin and the model is sure, on Q the other way round.

        Δ = 0 and Assumption D.10 holds, so the theorems' Ĥ = max_x [H(Y|x) + H(P_θ|x)] = log 2 makes 4.5, its
        split, 4.6 and `joint` smaller than EMID = 2 log 2; the sum of the two maxima, which the proof yields,
        does not.
        """
        coin, sure = np.full((2, 2), 0.5), np.eye(2)
        y, model = np.concatenate([coin, sure])[None], np.concatenate([sure, coin])[None]
        p, q = np.array([[0.5, 0.5, 0, 0]]), np.array([[0, 0, 0.5, 0.5]])
        emid, terms = next(each(answers(p, q, y, model) | tied(jsd(p, q))))
        assert emid == pytest.approx(2 * LOG2)
        assert terms["delta_p"] == terms["delta_q"] == terms["d_t_given_v"] == terms["d_v_given_t"] == 0
        largest_sum = float((entropy(y) + entropy(model)).max())
        forms = ("theorem_4_5", "theorem_4_5_split", "theorem_4_6", "joint")
        printed = {k: v for k, v in terms.items() if k not in ("entropy_y", "entropy_model")}
        for form in forms:
            assert emid_bound(form, **printed, entropy=largest_sum) < emid - 0.2
            assert emid <= emid_bound(form, **terms)

    def test_total_variation(self) -> None:
        """Lemma D.4 uses D_TV ≤ √(2 D): true of half the L1 distance, false of the paper's Σ|P-Q|."""
        p, q = np.array([1.0, 0]), np.array([0, 1.0])
        assert np.abs(p - q).sum() > sqrt(2 * jsd(p, q))
        rng = np.random.default_rng(1)
        for k in (2, 5, 30):
            p, q = (laws(rng, 10 ** rng.uniform(-2, 1, size=3000), (3000, k)) for _ in range(2))
            assert (np.abs(p - q).sum(axis=1) / 2 <= np.sqrt(2 * jsd(p, q)) + 1e-12).all()

    def test_lemma_4_3_at_8200_symbols(self) -> None:
        """One input, 0.3 on one answer and 0.7 spread over 8,200; the model gives the one answer."""
        law = np.concatenate([[0.3], np.full(8200, 0.7 / 8200)])[None]
        model = np.eye(1, 8201)
        x = np.ones(1)
        gap = abs(effective_information(x, law, model) - preference(x, law, model))
        delta = model_error(x, law, model)
        assert gap > lemma_4_3(delta)
        assert gap <= lemma_4_3_sound(delta, 8201)

    def test_a_larger_preference_need_not_win_more(self) -> None:
        """RM is the mean of a curved function: "increase in one is increase in the other" is false."""
        rng = np.random.default_rng(2)
        opposed = 0
        for _ in range(300):
            x, law = rng.dirichlet(np.ones(2)), rng.dirichlet(np.full(4, 0.3), size=2)
            models = rng.dirichlet(np.full(4, 0.5), size=(2, 2))
            pm, rm = zip(*((preference(x, law, m), log_win_rate(x, law, m)) for m in models), strict=True)
            assert all(b <= -np.logaddexp(0, -a) + 1e-12 for a, b in zip(pm, rm, strict=True))
            opposed += (pm[0] - pm[1]) * (rm[0] - rm[1]) < -1e-3
        assert opposed


class TestPreference:
    def test_the_identity_behind_lemma_4_3(self) -> None:
        rng = np.random.default_rng(3)
        for _ in range(200):
            n, k = rng.integers(1, 6), rng.integers(2, 7)
            x, law, model = (
                rng.dirichlet(np.ones(n)),
                rng.dirichlet(np.ones(k), n),
                rng.dirichlet(np.ones(k), n),
            )
            gap = effective_information(x, law, model) - preference(x, law, model)
            change = float(entropy(x @ model) - entropy(x @ law))
            assert gap == pytest.approx(change + model_error(x, law, model), abs=1e-10)

    def test_values_by_hand(self) -> None:
        """Y = X on two inputs, known half the time, against a model that always says 0."""
        x, model = np.full(2, 0.5), np.array([[1.0, 0], [1.0, 0]])
        law = np.array([[0.75, 0.25], [0.25, 0.75]])
        noise = float(binary(np.array(0.25)))
        assert mutual_information(x, law) == pytest.approx(LOG2 - noise)
        assert effective_information(x, law, model) == pytest.approx(noise - LOG2)
        assert preference(x, law, model) == pytest.approx((log(0.75) + log(0.25)) / 2 + noise)
        assert model_error(x, law, model) == pytest.approx(-(log(0.75) + log(0.25)) / 2)
        assert training_error(x, law, model) == np.inf
        # ŷ = 0: against y = 0 even, against y = 1 the reward differs by ±log 3, so σ is 3/4 or 1/4.
        expected = 0.5 * (0.75 * log(0.5) + 0.25 * log(0.75)) + 0.5 * (0.25 * log(0.5) + 0.75 * log(0.25))
        assert log_win_rate(x, law, model) == pytest.approx(expected)

    def test_what_the_reference_never_says(self) -> None:
        x, law, model = np.ones(1), np.array([[1.0, 0]]), np.array([[0.5, 0.5]])
        assert preference(x, law, model) == log_win_rate(x, law, model) == -np.inf
        assert model_error(x, law, model) == np.inf and training_error(x, law, model) == pytest.approx(LOG2)


class TestLemma43AndTheorem44:
    def test_they_hold_on_small_alphabets_and_the_sound_ones_on_all(self) -> None:
        rng = np.random.default_rng(4)
        for _ in range(3000):
            n, k = rng.integers(1, 5), int(rng.choice([2, 3, 6, 200]))
            x = rng.dirichlet(np.ones(n))
            law = rng.dirichlet(np.full(k, 10 ** rng.uniform(-0.5, 2)), n) + 1e-6
            law /= law.sum(axis=1, keepdims=True)
            w = rng.uniform() ** rng.choice([1, 6])
            model = (1 - w) * law + w * rng.dirichlet(np.full(k, 10 ** rng.uniform(-1, 1)), n)
            gap = abs(effective_information(x, law, model) - preference(x, law, model))
            delta, epsilon = (e(x, law, model) + 1e-14 for e in (model_error, training_error))  # rounding
            c = float(law.min())
            assert gap <= min(lemma_4_3(delta), theorem_4_4(epsilon, c)) + 1e-9
            assert gap <= min(lemma_4_3_sound(delta, k), theorem_4_4_sound(epsilon, c)) + 1e-9
            assert delta <= min(theorem_4_4_delta(epsilon, c), epsilon / c) + 1e-9

    def test_formulas(self) -> None:
        assert lemma_4_3(1.0) == pytest.approx(5.4)
        assert (
            lemma_4_3(0.0)
            == lemma_4_3_sound(0.0, 9)
            == theorem_4_4(0.0, 0.1)
            == theorem_4_4_sound(0.0, 0.1)
            == 0
        )
        assert lemma_4_3_sound(0.08, 3) == pytest.approx(0.08 + 0.2 * LOG2 + float(binary(np.array(0.2))))
        assert theorem_4_4_delta(0.5, np.exp(-2)) == pytest.approx(4.4 * 0.5**0.125 + 2)
        assert theorem_4_4(0.5, 0.1) == lemma_4_3(theorem_4_4_delta(0.5, 0.1))
        assert theorem_4_4_sound(1e-4, 0.5) == pytest.approx(2e-4 + float(binary(np.array(sqrt(5e-5)))))
        assert lemma_4_3_sound(5.0, 1) == 5.0

    def test_wrong_arguments(self) -> None:
        with pytest.raises(ValueError, match="delta"):
            lemma_4_3(-0.1)
        with pytest.raises(ValueError, match="c must lie"):
            theorem_4_4(0.1, 0.0)
        with pytest.raises(ValueError, match="epsilon"):
            theorem_4_4_sound(float("nan"), 0.1)


def test_the_split_over_modalities_of_eq_18() -> None:
    """2 D_X ≤ Dv + Dt + D̄(Xt|Xv) + D̄(Xv|Xt), D̄ the *sum* of the means over P and over Q."""
    rng = np.random.default_rng(5)
    for _ in range(20):
        w = random_worlds(rng, 200, *rng.integers(1, 6, size=2), 2)
        assert (2 * w["d_x"] <= w["d_v"] + w["d_t"] + w["d_t_given_v"] + w["d_v_given_t"] + 1e-9).all()
