"""Each upper bound of EMID has a name. Logarithms are natural; all results are in nats.

Divergences here stand for *true* Jensen-Shannon divergences. RJSD is at most the true one, so a bound
computed from estimates is itself an estimate: nothing may call it a guarantee.

The paper's own (its Lemma D.4 is false from 31 symbols on, and so is its Ĥ where printed as the max of a
sum; its D_TV is Σ|P-Q|, constants kept):

- `scaled`             √Dv + √Dt + δ_P^¼ + δ_Q^¼: what the authors publish as EMID_UB, entropy left out
- `partial`            √Dv + √Dt: Figure 4, no labels needed
- `theorem_4_5`        Ĥ(√Dv + √Dt) + 8(δ_P + δ_Q)^¼: Eq. 10, under Assumption D.10
- `corollary_d12`      Ĥ(√Dv + √Dt) + 8(TV_P + TV_Q)^¼: Eq. 21, under Assumption D.10
- `theorem_4_6`        Ĥ(√Dv + √Dt) + Ĥ(√D̄(Xt|Xv) + √D̄(Xv|Xt)) + 4 E_P D^¼(Y|x) + 8(δ_P + δ_Q)^¼

Steps of its proof that are tighter:

- `theorem_4_5_split`  Ĥ(√Dv + √Dt) + 4(δ_P^¼ + δ_Q^¼): the line before Eq. 14; never above theorem_4_5
- `joint`              Ĥ √(2 D_X) + 4(δ_P^¼ + δ_Q^¼): Eq. 18-19, not yet split over modalities; Y|X unchanged

Ours (Ĥ_Y = max_x H(Y|x), Ĥ_θ = max_x H(P_θ(·|x)); all with Y|X unchanged):

- `measured`           Ĥ_Y √(2 D_X) + (B) + 4(δ_P^¼ + δ_Q^¼), (B) = E_Q H(P_θ(·|x)) - E_P H(P_θ(·|x)) measured
- `sound`              F(δ_P) + F(δ_Q) + Ĥ_Y T_X + ((B), or Ĥ_θ T_X where it is not given)
- `sound_label_free`   H(P_Yθ) - H(Q_Yθ) + F(D_X) + Ĥ_Y T_X + ((B), or Ĥ_θ T_X): nothing of Q is labelled

with T_X = min(1, √(2 D_X)) and F(D) = T log(K-1) + h(T), T = min(√(2D), 1 - 1/K), on answers quantised to K
symbols: then every entropy, (B) too, is of the quantised answer, and Ĥ's are at most log K.

Every form also has a null-centred one, `<form>_null_centred`: the same formula of divergences less what
chance alone gives (excess in the place of raw RJSD; below zero counts as zero). It is an estimate, no longer
an upper bound of the plug-in: see `docs/design/theory.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite, log, sqrt
from typing import NamedTuple

ROUNDING = 1e-9
"""Below zero by no more than this counts as zero: a divergence that was computed to be none."""
NULL_CENTRED = "_null_centred"
"""Ends the name of a form of divergences less what chance alone gives."""
JS_TERMS = frozenset({"d_v", "d_t", "d_x", "delta_p", "delta_q"})
"""Terms that are one Jensen-Shannon divergence: at most log 2. (D̄ is a sum of two.)"""
_SIGNED = frozenset({"entropy_shift"})
_ALTERNATIVES = {"entropy": ("entropy_y", "entropy_model"), "entropy_shift": ("entropy_model",)}

Terms = Mapping[str, float]


class Summand(NamedTuple):
    """A `Summand` is one addend of a bound; all its divergences and factors must be given. In an incomplete
    bound an addend drops out where one of `divergences` is missing; a missing factor (entropy, symbols) is an
    error all the same."""

    divergences: tuple[str, ...]
    factors: tuple[str, ...]
    value: Callable[[Terms], float]


def entropy_change_bound(divergence: float, symbols: int) -> float:
    """Return F(D) ≥ |H(P) - H(Q)| in nats for laws on `symbols` = K values with JS divergence D (nats).

    T log(K-1) + h(T) with T = min(√(2D), 1 - 1/K): Fano's inequality for a maximal coupling, since √(2D) is
    at least half the L1 distance.
    """
    if symbols < 1:
        raise ValueError(f"symbols must be at least 1, not {symbols}")
    if symbols == 1:
        return 0.0
    t = min(sqrt(2 * divergence), 1 - 1 / symbols)
    # Beyond 1e16 symbols 1 - 1/K rounds to 1.
    binary = -sum(share * log(share) for share in (t, 1 - t) if share > 0)
    return t * log(symbols - 1) + binary


def _root(name: str, factor: str | None = None) -> Summand:
    factors = () if factor is None else (factor,)
    return Summand((name,), factors, lambda t: sqrt(t[name]) * (1.0 if factor is None else t[factor]))


def _fourth_roots(constant: float) -> tuple[Summand, ...]:
    return tuple(
        Summand((name,), (), lambda t, name=name: constant * t[name] ** 0.25)  # type: ignore[misc]
        for name in ("delta_p", "delta_q")
    )


def _pooled_fourth_root(*names: str) -> Summand:
    """8(a + b)^¼ over whichever of the two are given (a missing one counts as absent, not as zero error)."""
    return Summand(names, (), lambda t: 8 * sum(t[n] for n in names if n in t) ** 0.25)


def _capped_entropy(t: Terms, name: str) -> float:
    """An entropy of quantised answers: at most log K."""
    return min(t[name], log(t["symbols"]))


def _t_x(t: Terms) -> float:
    return min(1.0, sqrt(2 * t["d_x"]))


def _model_shift(t: Terms) -> float:
    """(B) measured, else its bound Ĥ_θ T_X."""
    return t["entropy_shift"] if "entropy_shift" in t else _capped_entropy(t, "entropy_model") * _t_x(t)


_INPUTS = (_root("d_v", "entropy"), _root("d_t", "entropy"))
_SPLIT = _fourth_roots(4.0)
_ANSWERS = Summand(("d_x",), ("entropy_y", "symbols"), lambda t: _capped_entropy(t, "entropy_y") * _t_x(t))
_MODEL = Summand(("d_x",), ("entropy_shift", "symbols"), _model_shift)
"""(B): the one addend that stands without its divergence where it was measured."""


def _entropy_change(name: str) -> Summand:
    return Summand((name,), ("symbols",), lambda t: entropy_change_bound(t[name], int(t["symbols"])))


FORMS: dict[str, tuple[Summand, ...]] = {
    "scaled": (_root("d_v"), _root("d_t"), *_fourth_roots(1.0)),
    "partial": (_root("d_v"), _root("d_t")),
    "theorem_4_5": (*_INPUTS, _pooled_fourth_root("delta_p", "delta_q")),
    "theorem_4_5_split": (*_INPUTS, *_SPLIT),
    "theorem_4_6": (
        *_INPUTS,
        _root("d_t_given_v", "entropy"),
        _root("d_v_given_t", "entropy"),
        Summand(("d_y_quarter",), (), lambda t: 4 * t["d_y_quarter"]),
        _pooled_fourth_root("delta_p", "delta_q"),
    ),
    "corollary_d12": (*_INPUTS, _pooled_fourth_root("tv_p", "tv_q")),
    "joint": (Summand(("d_x",), ("entropy",), lambda t: t["entropy"] * sqrt(2 * t["d_x"])), *_SPLIT),
    "measured": (
        Summand(("d_x",), ("entropy_y",), lambda t: t["entropy_y"] * sqrt(2 * t["d_x"])),
        Summand(("entropy_shift",), (), lambda t: t["entropy_shift"]),
        *_SPLIT,
    ),
    "sound": (_entropy_change("delta_p"), _entropy_change("delta_q"), _ANSWERS, _MODEL),
    "sound_label_free": (
        Summand(("h_model_p", "h_model_q"), (), lambda t: t["h_model_p"] - t["h_model_q"]),
        _entropy_change("d_x"),
        _ANSWERS,
        _MODEL,
    ),
}
"""Every form as the sum it is."""
_DIVERGENCES = frozenset(
    name for form in FORMS.values() for summand in form for name in summand.divergences
) - {"h_model_p", "h_model_q"}


def bound_terms(form: str) -> tuple[str, ...]:
    """Return the keyword names that a form needs, in the order of its formula.

    Instead of `entropy` (Ĥ) its two parts `entropy_y` and `entropy_model` may be given, instead of
    `entropy_shift` in the sound forms `entropy_model`.
    """
    names: dict[str, None] = {}
    for summand in _summands(form):
        names.update(dict.fromkeys((*summand.factors, *summand.divergences)))
    return tuple(names)


def missing_terms(form: str, terms: Mapping[str, float | None]) -> tuple[str, ...]:
    """Return the terms of a form that are not given (None counts as not given) and have no given
    alternative."""
    available = {name for name, value in terms.items() if value is not None}
    return tuple(name for name in bound_terms(form) if not _is_available(form, name, available))


def emid_bound(
    form: str,
    *,
    d_v: float | None = None,
    d_t: float | None = None,
    d_x: float | None = None,
    delta_p: float | None = None,
    delta_q: float | None = None,
    entropy: float | None = None,
    entropy_y: float | None = None,
    entropy_model: float | None = None,
    entropy_shift: float | None = None,
    d_t_given_v: float | None = None,
    d_v_given_t: float | None = None,
    d_y_quarter: float | None = None,
    tv_p: float | None = None,
    tv_q: float | None = None,
    symbols: int | None = None,
    h_model_p: float | None = None,
    h_model_q: float | None = None,
    incomplete: bool = False,
) -> float:
    """Return the upper bound of EMID in nats, by the form's name (see the module's docstring for each
    formula).

    d_v, d_t, d_x: JS divergences of images, texts, their joint law; delta_p, delta_q: of the model's answers
    from the references on P, Q; entropy: Ĥ, with entropy_y, entropy_model its two parts (their sum is Ĥ for
    `joint`, and elsewhere where `entropy` is absent); entropy_shift: (B); d_t_given_v, d_v_given_t: D̄;
    d_y_quarter: E_P D^¼(Y|x); tv_p, tv_q: E Σ|P - Q| given x; symbols: K; h_model_p, h_model_q: H(P_Yθ),
    H(Q_Yθ). All in nats, none negative but entropy_shift, and divergences of null-centred forms; d_v, d_t,
    d_x and the deltas are at most log 2. Terms the form has no use for are ignored.

    A missing term is a ValueError that names it. incomplete=True: the sum over the addends whose divergences
    are given; the entropy that multiplies one of them is still needed. ValueError where none is given.
    """
    named: dict[str, float | None] = {
        "d_v": d_v,
        "d_t": d_t,
        "d_x": d_x,
        "delta_p": delta_p,
        "delta_q": delta_q,
        "entropy": entropy,
        "entropy_y": entropy_y,
        "entropy_model": entropy_model,
        "entropy_shift": entropy_shift,
        "d_t_given_v": d_t_given_v,
        "d_v_given_t": d_v_given_t,
        "d_y_quarter": d_y_quarter,
        "tv_p": tv_p,
        "tv_q": tv_q,
        "symbols": symbols,
        "h_model_p": h_model_p,
        "h_model_q": h_model_q,
    }
    if form.endswith(NULL_CENTRED):
        named = {n: v if v is None or n not in _DIVERGENCES else max(0.0, v) for n, v in named.items()}
    terms = {name: _checked(name, value) for name, value in named.items() if value is not None}
    if (
        "entropy_y" in terms
        and "entropy_model" in terms
        and (form.removesuffix(NULL_CENTRED) == "joint" or "entropy" not in terms)
    ):
        terms["entropy"] = terms["entropy_y"] + terms["entropy_model"]
    available = set(terms)
    total, used = 0.0, 0
    for summand in _summands(form):
        if incomplete and not _is_kept(summand, available):
            continue
        needed = summand.factors if incomplete else (*summand.factors, *summand.divergences)
        missing = [name for name in needed if not _is_available(form, name, available)]
        if missing:
            raise ValueError(f"bound {form!r} needs {', '.join(_describe(form, name) for name in missing)}")
        total += summand.value(terms)
        used += 1
    if not used:
        raise ValueError(f"bound {form!r}: none of its terms is given ({', '.join(bound_terms(form))})")
    return total


def _summands(form: str) -> tuple[Summand, ...]:
    form = form.removesuffix(NULL_CENTRED)
    if form not in FORMS:
        raise ValueError(f"unknown bound {form!r}: one of {', '.join(FORMS)}")
    return FORMS[form]


def _is_kept(summand: Summand, available: set[str]) -> bool:
    """Whether an incomplete bound keeps the addend: of a pooled root one is enough, of a difference both."""
    if summand.divergences == ("h_model_p", "h_model_q"):
        return available.issuperset(summand.divergences)
    if summand is _MODEL and "entropy_shift" in available:
        return True
    return not available.isdisjoint(summand.divergences)


def _alternatives(form: str, name: str) -> tuple[str, ...]:
    return (
        ()
        if form.removesuffix(NULL_CENTRED) == "measured" and name == "entropy_shift"
        else _ALTERNATIVES.get(name, ())
    )


def _is_available(form: str, name: str, available: set[str]) -> bool:
    alternatives = _alternatives(form, name)
    return name in available or (bool(alternatives) and available.issuperset(alternatives))


def _describe(form: str, name: str) -> str:
    alternatives = _alternatives(form, name)
    return f"{name} (or {' and '.join(alternatives)})" if alternatives else name


def _checked(name: str, value: float) -> float:
    number = float(value)
    if not isfinite(number):
        raise ValueError(f"{name} is not finite")
    if name in _SIGNED:
        return number
    if number < -ROUNDING or (name == "symbols" and number != int(number)):
        raise ValueError(
            f"{name} = {number:g}: {'a whole number' if name == 'symbols' else 'it cannot be negative'}"
        )
    if name in JS_TERMS and number > log(2) + ROUNDING:
        raise ValueError(f"{name} = {number:g}: a Jensen-Shannon divergence is at most log 2 = 0.693 nats")
    return max(0.0, number)
