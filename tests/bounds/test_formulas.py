"""Bounds against exact discrete laws, and the rules for missing terms."""

from __future__ import annotations

from math import log, sqrt

import numpy as np
import pytest

from auditor.bounds import (
    FORMS,
    NULL_CENTRED,
    bound_terms,
    emid_bound,
    entropy_change_bound,
    missing_terms,
)
from auditor.sketch import Float


def h(p: Float, axis: int = -1) -> Float:
    """Entropy of laws along an axis, nats."""
    return -np.sum(p * np.log(np.where(p > 0, p, 1)), axis=axis)


def jsd(p: Float, q: Float) -> float:
    return max(0.0, float(h((p + q) / 2) - (h(p) + h(q)) / 2))


def information(x: Float, y_given_x: Float) -> float:
    return float(h(x @ y_given_x) - x @ h(y_given_x))


def world(rng: np.random.Generator, tied: bool = False) -> tuple[float, dict[str, float]]:
    """A random law of (v, t), answers and a model, Y|X unchanged: true EMID and every exact term.

    tied: t is a function of v and v of t, so that their conditionals are unchanged as well.
    """
    n_v, n_t, k = rng.integers(2, 5, size=3)
    n_t = n_v if tied else n_t
    sharp = 10 ** rng.uniform(-1.5, 1)
    p = rng.dirichlet(np.full(n_v * n_t, sharp))
    q = rng.dirichlet(np.full(n_v * n_t, sharp))
    if tied:
        p, q = (np.diag(law.reshape(n_v, n_v).sum(axis=1)).ravel() for law in (p, q))
    mix = rng.uniform()
    q = mix * p + (1 - mix) * q
    y = rng.dirichlet(np.full(k, 10 ** rng.uniform(-1.5, 1)), size=n_v * n_t)
    model = rng.dirichlet(np.full(k, 10 ** rng.uniform(-1.5, 1)), size=n_v * n_t)
    closeness = rng.uniform()
    model = closeness * y + (1 - closeness) * model
    emid = (information(p, model) - information(p, y)) - (information(q, model) - information(q, y))
    grid_p, grid_q = p.reshape(n_v, n_t), q.reshape(n_v, n_t)
    d_bar = []
    for a, b in ((grid_p, grid_q), (grid_p.T, grid_q.T)):
        margin_a, margin_b = a.sum(axis=1), b.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            rows_a, rows_b = np.nan_to_num(a / margin_a[:, None]), np.nan_to_num(b / margin_b[:, None])
        each = np.array([jsd(s, t) for s, t in zip(rows_a, rows_b, strict=True)])
        d_bar.append(float((margin_a + margin_b) @ each))
    tv = np.abs(y - model).sum(axis=1)
    return emid, {
        "d_v": jsd(grid_p.sum(axis=1), grid_q.sum(axis=1)),
        "d_t": jsd(grid_p.sum(axis=0), grid_q.sum(axis=0)),
        "d_x": jsd(p, q),
        "delta_p": jsd(p @ model, p @ y),
        "delta_q": jsd(q @ model, q @ y),
        "entropy_y": float(h(y).max()),
        "entropy_model": float(h(model).max()),
        "entropy_shift": float((q - p) @ h(model)),
        "d_t_given_v": d_bar[0],
        "d_v_given_t": d_bar[1],
        "d_y_quarter": 0.0,
        "tv_p": float(p @ tv),
        "tv_q": float(q @ tv),
        "symbols": int(k),
        "h_model_p": float(h(p @ model)),
        "h_model_q": float(h(q @ model)),
    }


GENERAL = ("joint", "measured", "sound", "sound_label_free", "theorem_4_6")
"""Forms that need no more than Y|X unchanged; with full support the others' D.10 makes P_X = Q_X."""


def test_none_is_violated_by_exact_divergences() -> None:
    rng = np.random.default_rng(0)
    for _ in range(600):
        emid, terms = world(rng)
        bounds = {form: emid_bound(form, **terms) for form in GENERAL}
        assert all(emid <= bound + 1e-9 for bound in bounds.values()), (emid, bounds, terms)
        unmeasured = {name: value for name, value in terms.items() if name != "entropy_shift"}
        for form in ("sound", "sound_label_free"):
            assert bounds[form] <= emid_bound(form, **unmeasured) + 1e-9
            assert emid <= emid_bound(form, **unmeasured) + 1e-9
        assert bounds["measured"] <= bounds["joint"] + 1e-9
        assert bounds["joint"] <= bounds["theorem_4_6"] + 1e-9
        assert emid_bound("theorem_4_5_split", **terms) <= emid_bound("theorem_4_5", **terms) + 1e-9


def test_simplified_forms_hold_where_their_assumption_does() -> None:
    """Assumption D.10 with P_X != Q_X: image and text determine each other."""
    rng = np.random.default_rng(1)
    for _ in range(300):
        emid, terms = world(rng, tied=True)
        assert terms["d_t_given_v"] == pytest.approx(0, abs=1e-12)
        assert terms["d_x"] == pytest.approx(terms["d_v"], abs=1e-12)
        for form in ("theorem_4_5", "theorem_4_5_split", "corollary_d12", *GENERAL):
            assert emid <= emid_bound(form, **terms) + 1e-9


def test_entropy_change_is_bounded_at_every_alphabet() -> None:
    rng = np.random.default_rng(2)
    for _ in range(2000):
        k = int(rng.integers(2, 12))
        p, q = rng.dirichlet(np.full(k, 10 ** rng.uniform(-2, 1)), size=2)
        assert abs(h(p) - h(q)) <= entropy_change_bound(jsd(p, q), k) + 1e-9
    assert entropy_change_bound(0.01, 64) == pytest.approx(0.99, abs=0.01)
    assert entropy_change_bound(0.5, 1) == 0 and entropy_change_bound(0, 8) == 0


def test_the_papers_lemma_fails_where_ours_holds() -> None:
    """0.95 on one symbol and 0.05 spread over N = 1e40 others, against that one symbol (Lemma D.4)."""
    big = 1e40
    difference = -0.95 * log(0.95) - 0.05 * log(0.05 / big)
    mixed = -0.975 * log(0.975) - 0.025 * log(0.025 / big)
    divergence = mixed - difference / 2
    assert difference == pytest.approx(4.80, abs=0.01)
    assert 4 * divergence**0.25 < 1.5
    assert entropy_change_bound(divergence, int(big) + 1) >= difference


def test_formulas() -> None:
    a, b, dp, dq, e = 0.09, 0.16, 0.0001, 0.0016, 2.0
    close = dict(abs=1e-12)
    kw = dict(d_v=a, d_t=b, delta_p=dp, delta_q=dq, entropy=e)
    assert emid_bound("scaled", **kw) == pytest.approx(0.3 + 0.4 + 0.1 + 0.2, **close)
    assert emid_bound("partial", **kw) == pytest.approx(0.7, **close)
    assert emid_bound("theorem_4_5", **kw) == pytest.approx(1.4 + 8 * 0.0017**0.25, **close)
    assert emid_bound("theorem_4_5_split", **kw) == pytest.approx(1.4 + 1.2, **close)
    assert emid_bound("corollary_d12", d_v=a, d_t=b, entropy=e, tv_p=0.5, tv_q=0.5) == pytest.approx(
        9.4, **close
    )
    general = emid_bound("theorem_4_6", **kw, d_t_given_v=0.01, d_v_given_t=0.04, d_y_quarter=0.5)
    assert general == pytest.approx(1.4 + 2 * 0.3 + 2 + 8 * 0.0017**0.25, **close)
    parts = dict(entropy_y=0.5, entropy_model=1.5, d_x=0.02, delta_p=dp, delta_q=dq)
    assert emid_bound("joint", **parts) == pytest.approx(2 * 0.2 + 1.2, **close)
    assert emid_bound("joint", **parts, entropy=9.0) == emid_bound("joint", **parts)  # the sum of the maxima
    assert emid_bound("joint", entropy=2.0, d_x=0.02, delta_p=dp, delta_q=dq) == pytest.approx(1.6, **close)
    assert emid_bound("measured", **parts, entropy_shift=-0.3) == pytest.approx(
        0.5 * 0.2 - 0.3 + 1.2, **close
    )
    f = entropy_change_bound
    sound = f(dp, 4) + f(dq, 4) + 0.5 * 0.2
    assert emid_bound("sound", **parts, symbols=4) == pytest.approx(
        sound + log(4) * 0.2, **close
    )  # Ĥ_θ ≤ log K
    assert emid_bound("sound", **parts, symbols=4, entropy_shift=0.1) == pytest.approx(sound + 0.1, **close)
    free = dict(h_model_p=1.2, h_model_q=0.9, d_x=0.02, entropy_y=0.5, symbols=4, entropy_shift=0.1)
    assert emid_bound("sound_label_free", **free) == pytest.approx(0.3 + f(0.02, 4) + 0.1 + 0.1, **close)


@pytest.mark.parametrize("form", FORMS)
def test_a_missing_term_is_named(form: str) -> None:
    every = world(np.random.default_rng(3))[1] | {"entropy": 1.0}
    full = {name: every[name] for name in bound_terms(form)}
    assert missing_terms(form, full) == ()
    assert np.isfinite(emid_bound(form, **full))
    for name in bound_terms(form):
        rest = {key: value for key, value in full.items() if key != name}
        assert missing_terms(form, rest) == (name,)
        with pytest.raises(ValueError, match=rf"{form}.*\b{name}\b"):
            emid_bound(form, **rest)


def test_incomplete_is_the_sum_over_the_terms_given() -> None:
    assert emid_bound("partial", d_t=0.04, incomplete=True) == pytest.approx(0.2)
    assert emid_bound("scaled", d_t=0.04, delta_p=0.0001, incomplete=True) == pytest.approx(0.3)
    assert emid_bound("theorem_4_5", d_t=0.04, entropy=2, incomplete=True) == pytest.approx(0.4)
    assert emid_bound("theorem_4_5", delta_q=0.0001, incomplete=True) == pytest.approx(0.8)
    with pytest.raises(ValueError, match="entropy"):
        emid_bound("theorem_4_5", d_t=0.04, incomplete=True)
    assert emid_bound("sound", entropy_shift=-0.2, symbols=4, incomplete=True) == pytest.approx(-0.2)
    with pytest.raises(ValueError, match="none of its terms"):
        emid_bound("partial", delta_p=0.1, incomplete=True)
    assert missing_terms("partial", {"d_v": None, "d_t": 0.1}) == ("d_v",)


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="unknown bound 'x'"):
        emid_bound("x")
    with pytest.raises(ValueError, match=r"d_v = -0\.1"):
        emid_bound("partial", d_v=-0.1, d_t=0)
    with pytest.raises(ValueError, match="d_t is not finite"):
        emid_bound("partial", d_v=0, d_t=float("nan"))
    with pytest.raises(ValueError, match="at most log 2"):
        emid_bound("partial", d_v=0.7, d_t=0)
    assert emid_bound("partial", d_v=-1e-12, d_t=0.25) == sqrt(0.25)


@pytest.mark.parametrize("form", sorted(set(FORMS) - {"corollary_d12"}))
def test_a_null_centred_form_is_the_same_formula_of_excess(form: str) -> None:
    terms = dict.fromkeys(bound_terms(form), 0.05) | {"entropy": 1.0, "entropy_y": 0.5, "entropy_model": 0.5}
    terms |= {"symbols": 8, "h_model_p": 1.0, "h_model_q": 0.9}
    named = form + NULL_CENTRED
    assert bound_terms(named) == bound_terms(form)
    assert emid_bound(named, **terms) == emid_bound(form, **terms)  # type: ignore[arg-type]
    below = {n: -0.01 if n.startswith(("d_", "delta")) else v for n, v in terms.items()}
    with pytest.raises(ValueError, match="cannot be negative"):
        emid_bound(form, **below)  # type: ignore[arg-type]
    none = {n: 0.0 if n.startswith(("d_", "delta")) else v for n, v in terms.items()}
    assert emid_bound(named, **below) == emid_bound(form, **none)  # type: ignore[arg-type]
