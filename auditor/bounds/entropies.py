"""Bounds of EMID need these entropies, each with its source. Logarithms are natural (nats).

Ĥ_θ = max_x H(P_θ(·|x)) of the model, Ĥ_Y = max_x H(Y|x) of the references, (B) = E_Q H(P_θ(·|x)) - E_P
H(P_θ(·|x)), and H(P_Yθ) of the quantised answers. A query has one reference, so Ĥ_Y is never estimated: it is
given, or log K of the response codebook. The model's entropies are given, or come from log-probabilities of
sampled answers (entropy of the text) or from the cells of several sampled answers, else from the codebook.

**The maximum that is reported is an upper quantile.** H(P_θ(·|x)) of one query is known only up to the noise
of its few samples, and the maximum of n noisy estimates grows with n for ever. Tried on laws of 50 symbols
whose largest entropy is 3.8 (n = 2,000 queries): largest estimate 9.4 / 6.3 / 5.0 / 4.4 at 1 / 2 / 4 / 10
samples a query, 95% quantile 4.6 / 4.2 / 4.0 / 3.8. Where queries have two samples or more, their own spread
tells the noise, and the estimates are first drawn towards their mean until they vary as the entropies do:
3.9 / 3.9 / 3.8 (true quantile 3.7; laws all of one width: 3.3 / 3.2 / 3.2 for 3.2, undrawn 4.2 / 3.8 / 3.5).
One sample a query gives no noise to take off: its quantile is as a rule too high, and not reliable. The
lab's model on 120 of its questions in English / German / Hindi: largest estimate of 10 samples 3.2 / 2.7 /
4.0, of one 7.8 / 3.3 / 7.2; quantile at 10 samples 2.0 / 1.6 / 2.5, at 4 2.2 / 1.4 / 2.8, at one 2.4 / 1.3 /
5.0.
A quantile c in the place of the maximum costs little and what it costs is known: with any c,
|E_P H - E_Q H| ≤ c T + max(E_P (H-c)₊, E_Q (H-c)₊), T half the L1 distance of P_X and Q_X; `excess` is
E (H-c)₊ of the estimates: noise that is right on average makes it larger, never smaller.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from auditor.bounds import bound_terms
from auditor.bounds.discrete_entropy import entropy, jackknifed_entropies
from auditor.sketch import Float

Source = Literal["given", "log_probabilities", "sampled_cells", "codebook", "answer_cells"]

QUANTILE = 0.95
LEAST_QUERIES = 20
"""Queries below which a 95% quantile is only their maximum again."""
LEAST_CELL_SAMPLES = 4
"""Answers a query below which its entropy over cells says nothing: with 2 of 8 cells the jackknife, the best
of those tried, is still 0.2 to 0.7 too low, with 4 / 6 / 10 0.07 to 0.28 / 0.04 to 0.12 / 0.02 to 0.05."""
LEAST_BASE_IDS = 10
"""Base ids a side below which a bootstrap says nothing."""
_DRAWN_AT_ONCE = 2**22
"""Bootstrap weights held at a time."""


@dataclass(frozen=True)
class Entropy:
    """An `Entropy` is in nats, and says where it comes from."""

    value: float | None
    source: Source
    n: int = 0
    """Number of queries (or answers) that it is computed from."""
    highest: float | None = None
    """The largest single estimate, noise and all."""
    excess: float | None = None
    """E (H - value)₊ over the queries: what a bound may lack for using a quantile as the maximum."""
    note: str | None = None
    """How it was made, in words."""
    reason: str | None = None
    """Why there is no value."""


@dataclass(frozen=True, eq=False)
class QueryEntropies:
    """`QueryEntropies` are estimates of H(P_θ(·|x)) query by query: right on average, each with the noise of
    its few samples."""

    values: Float
    """(n,)"""
    noise: float | None
    """Mean variance that the sampling of answers gives an estimate; None where it cannot be told."""
    base_ids: NDArray[np.str_]
    """(n,)"""
    source: Source
    samples: float = 0.0
    """Mean number of answers a query."""
    limit: float | None = None
    """The most that it can be: log K, of quantised answers."""
    note: str | None = None
    reason: str | None = None
    """Why there are none."""

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True)
class EntropyShift:
    """An `EntropyShift` is (B) = E_Q H(P_θ(·|x)) - E_P H(P_θ(·|x)) in nats: positive where the model is less
    sure on Q."""

    value: float | None
    source: Source
    n_p: int = 0
    n_q: int = 0
    std: float | None = None
    low: float | None = None
    """Lower end of the interval at `level`, by a bootstrap of base ids."""
    high: float | None = None
    level: float = 0.9
    paired: bool = False
    """Whether P and Q share base ids, so that one draw weighs both alike."""
    reason: str | None = None


# From samples to entropies of queries.


def from_log_probabilities(
    log_probabilities: Sequence[Sequence[float]], base_ids: Sequence[str], temperature: float
) -> QueryEntropies:
    """Return H(P_θ(·|x)) of each query by -mean log p over its sampled answers: exactly unbiased.

    log_probabilities: for each of n queries those of its answers (none where it has none), in nats under the
    law they were drawn from; base_ids (n,). Greedy answers (temperature 0) are refused, with the reason: they
    are the mode, and the log-probability of a law's mode is not its entropy. At another temperature than 1
    it is the law at that temperature, the one that was sampled, whose entropy this is.
    ValueError where a log-probability is positive or not finite.
    """
    ids = _checked_ids(base_ids, len(log_probabilities))
    if temperature == 0:
        why = "greedy answers: the log-probability of the likeliest answer does not give the entropy"
        return _no_entropies("log_probabilities", f"{why} (sample with temperature: 1)")
    counts = np.array([len(answers) for answers in log_probabilities], dtype=np.int64)
    flat = np.array([value for answers in log_probabilities for value in answers], dtype=np.float64)
    if not np.isfinite(flat).all() or (flat > 1e-6).any():
        raise ValueError("log-probabilities must be finite and not above 0")
    has = counts > 0
    if not has.any():
        return _no_entropies("log_probabilities", "no answer has a log-probability")
    owner = np.repeat(np.arange(len(counts)), counts)
    mean = np.bincount(owner, -flat, len(counts)) / np.maximum(counts, 1)
    several = counts > 1
    noise: float | None = None
    if several.any():
        squares = np.bincount(owner, np.square(-flat - mean[owner]), len(counts))[several]
        # The queries of one sample, if any, are taken to be as noisy as a sample of the others.
        variance = squares / (counts[several] - 1)
        single = np.full(int((counts == 1).sum()), variance.mean())
        noise = float(np.mean(np.concatenate([variance / counts[several], single])))
    note = None if temperature == 1 else f"of the law at temperature {temperature:g}"
    return QueryEntropies(
        mean[has], noise, ids[has], "log_probabilities", float(counts[has].mean()), None, note
    )


def from_sampled_cells(
    cells: Sequence[Sequence[int]], symbols: int, base_ids: Sequence[str]
) -> QueryEntropies:
    """Return H of the quantised answer of each query, from the cells (0..symbols-1) of its sampled answers.

    The plug-in's bias is taken off by the jackknife (delete an answer); queries with fewer than
    LEAST_CELL_SAMPLES answers are left out, and the answers must have been sampled, not greedy.
    What is left of the bias is negative and falls with the samples (see LEAST_CELL_SAMPLES): (B) is pulled
    towards 0. O(total answers · symbols).
    """
    ids = _checked_ids(base_ids, len(cells))
    sizes = np.array([len(answers) for answers in cells], dtype=np.int64)
    has = sizes >= LEAST_CELL_SAMPLES
    if not has.any():
        why = f"no query has the {LEAST_CELL_SAMPLES} sampled answers that its entropy over cells needs"
        return replace(_no_entropies("sampled_cells", why), limit=log(symbols))
    counts = np.stack(
        [_cell_counts(answers, symbols) for answers, kept in zip(cells, has, strict=True) if kept]
    )
    values, variance = jackknifed_entropies(counts)
    return QueryEntropies(
        values,
        float(variance.mean()),
        ids[has],
        "sampled_cells",
        float(sizes[has].mean()),
        log(symbols),
        f"{symbols} cells",
    )


def _cell_counts(cells: Sequence[int], symbols: int) -> Float:
    got = np.asarray(cells, dtype=np.int64)
    if len(got) and not (got.min() >= 0 and got.max() < symbols):
        raise ValueError(f"cells must lie in 0..{symbols - 1}")
    return np.bincount(got, minlength=symbols).astype(np.float64)


# Ĥ.


def upper_entropy(entropies: QueryEntropies, quantile: float = QUANTILE) -> Entropy:
    """Return Ĥ_θ, an upper quantile over the queries, the noise of their samples taken off where it is known
    (see the module's docstring). At most log K of quantised answers. quantile=1 is the maximum, on
    request."""
    if not 0 < quantile <= 1:
        raise ValueError(f"quantile {quantile} must lie in (0, 1]")
    n = len(entropies)
    if entropies.reason is not None:
        return Entropy(None, entropies.source, n, reason=entropies.reason)
    if quantile < 1 and n < LEAST_QUERIES:
        why = f"{n} queries, fewer than the {LEAST_QUERIES} that a {quantile:.0%} quantile needs"
        return Entropy(None, entropies.source, n, reason=why)
    values, noise_note = entropies.values, "one sample a query: its noise is still in it"
    if entropies.noise is not None:
        values, noise_note = _noise_removed(values, entropies.noise), "the samples' noise taken off"
    value = max(0.0, float(np.quantile(values, quantile)))
    if entropies.limit is not None:
        value = min(value, entropies.limit)
    name = "maximum" if quantile == 1 else f"{quantile:.0%} quantile"
    parts = [f"{name} over {n:,} queries of {entropies.samples:.3g} samples", noise_note, entropies.note]
    return Entropy(
        value,
        entropies.source,
        n,
        highest=float(entropies.values.max()),
        excess=float(np.maximum(entropies.values - value, 0).mean()),
        note="; ".join(part for part in parts if part),
    )


def _noise_removed(values: Float, noise: float) -> Float:
    """Return the estimates, drawn to their mean until their variance is that of the entropies they
    estimate."""
    mean, variance = values.mean(), values.var(ddof=1) if len(values) > 1 else 0.0
    true = max(0.0, variance - noise)
    return np.asarray(mean + (np.sqrt(true / variance) if variance > 0 else 0.0) * (values - mean))


def codebook_entropy(symbols: int) -> Entropy:
    """Return log K: no law on K cells has more entropy."""
    if symbols < 1:
        raise ValueError(f"symbols must be at least 1, not {symbols}")
    return Entropy(log(symbols), "codebook", note=f"log {symbols}, the most of {symbols} cells")


def given_entropy(value: float) -> Entropy:
    """Return an entropy that the user passed in. ValueError where it is negative or not finite."""
    if not (np.isfinite(value) and value >= 0):
        raise ValueError(f"an entropy is a finite number not below 0, not {value}")
    return Entropy(float(value), "given", note="given")


def answer_entropy(cells: Sequence[Sequence[int]], symbols: int, base_ids: Sequence[str]) -> Entropy:
    """Return H(P_Yθ) of the quantised answer to a random query, its plug-in bias taken off; at most log K.

    cells: of each of n queries those of its answers (one will do; none: left out), each query weighing the
    same. The bias is ½ Σ_k var(p̂_k)/p̂_k with the variance between base ids: Miller and Madow's (K-1)/2n where
    each has one answer, more or less where answers of one base id go together. O(n K).
    """
    ids = _checked_ids(base_ids, len(cells))
    has = np.array([len(answers) > 0 for answers in cells], dtype=bool)
    if not has.any():
        return Entropy(None, "answer_cells", reason="no query has an answer")
    counts = np.stack([_cell_counts(answers, symbols) for answers in cells if len(answers)])
    shares = counts / counts.sum(axis=1, keepdims=True)
    _, group = np.unique(ids[has], return_inverse=True)
    groups, n = int(group.max()) + 1, len(shares)
    if groups < 2:
        return Entropy(None, "answer_cells", n, reason="answers to one base id only")
    law = shares.mean(axis=0)
    residual = np.zeros((groups, symbols))
    np.add.at(residual, group, (shares - law) / n)
    variance = np.square(residual).sum(axis=0) * groups / (groups - 1)
    seen = law > 0
    value = float(entropy(law)) + 0.5 * float(np.sum(variance[seen] / law[seen]))
    return Entropy(min(value, log(symbols)), "answer_cells", n, note=f"{symbols} cells")


# (B).


def entropy_shift(
    p: QueryEntropies,
    q: QueryEntropies,
    *,
    level: float = 0.9,
    draws: int = 1000,
    seed: int = 0,
    paired: bool | None = None,
) -> EntropyShift:
    """Return (B) with its interval, by a bootstrap of base ids, those of P and Q together where they share
    them (paired=None: where at least half of the smaller side does). Means of unbiased terms have no bias to
    take off. O(draws · base ids). ValueError where the two are not of one source."""
    if p.source != q.source or p.limit != q.limit:
        raise ValueError(f"entropies from {p.source} and from {q.source} cannot be subtracted")
    if not 0 < level < 1 or draws < 2:
        raise ValueError(f"level {level} must lie in (0, 1), draws {draws} be at least 2")
    why = p.reason or q.reason
    if why is not None:
        return EntropyShift(None, p.source, len(p), len(q), level=level, reason=why)
    value = float(q.values.mean() - p.values.mean())
    names, labels = np.unique(np.concatenate([p.base_ids, q.base_ids]), return_inverse=True)
    labels_p, labels_q = labels[: len(p)], labels[len(p) :]
    in_p, in_q = (np.bincount(a, minlength=len(names)) > 0 for a in (labels_p, labels_q))
    if paired is None:
        paired = bool((in_p & in_q).sum() >= min(in_p.sum(), in_q.sum()) / 2)
    if min(in_p.sum(), in_q.sum()) < LEAST_BASE_IDS:
        why = f"fewer than {LEAST_BASE_IDS} base ids on a side: no interval"
        return EntropyShift(value, p.source, len(p), len(q), level=level, paired=paired, reason=why)
    rng = np.random.default_rng(seed)
    sums = [
        (np.bincount(a, minlength=len(names)).astype(np.float64), np.bincount(a, v, len(names)))
        for a, v in ((labels_p, p.values), (labels_q, q.values))
    ]
    kept = [in_p | in_q] * 2 if paired else [in_p, in_q]
    differences = []
    step = max(1, _DRAWN_AT_ONCE // len(names))
    for start in range(0, draws, step):
        size = min(step, draws - start)
        means = []
        weights: Float | None = None
        for (count, total), which in zip(sums, kept, strict=True):
            if weights is None or not paired:
                k = int(which.sum())
                weights = rng.multinomial(k, np.full(k, 1 / k), size=size).astype(np.float64)
            with np.errstate(invalid="ignore", divide="ignore"):
                means.append((weights @ total[which]) / (weights @ count[which]))
        differences.append(means[1] - means[0])
    drawn = np.concatenate(differences)
    drawn = drawn[np.isfinite(drawn)]
    smaller = min(in_p.sum(), in_q.sum())
    spread = (drawn - drawn.mean()) * np.sqrt(smaller / (smaller - 1))
    low, high = np.quantile(spread, [(1 - level) / 2, (1 + level) / 2]) + value
    return EntropyShift(
        value,
        p.source,
        len(p),
        len(q),
        float(spread.std(ddof=1)),
        float(low),
        float(high),
        level,
        paired,
    )


# What a bound takes.


@dataclass(frozen=True)
class Known:
    """`Known` holds every entropy that is known of a scenario under a model; None where nothing was tried."""

    symbols: int | None = None
    """K of the response codebook."""
    given_reference: float | None = None
    """Ĥ_Y as passed in, of texts (it caps at log K in the forms on cells)."""
    given_model: float | None = None
    """Ĥ_θ as passed in."""
    text: Entropy | None = None
    """Ĥ_θ from log-probabilities."""
    cells: Entropy | None = None
    """Ĥ_θ on cells, from several sampled answers."""
    text_shift: EntropyShift | None = None
    cells_shift: EntropyShift | None = None
    answers_p: Entropy | None = None
    """H(P_Yθ) on cells."""
    answers_q: Entropy | None = None


class Chosen(NamedTuple):
    """`Chosen` holds the entropies that go into one bound."""

    terms: dict[str, float]
    """Keyword arguments of `bounds.emid_bound`."""
    entropy: float | None
    """Their sum Ĥ, where the form has one; what `schemas.report.Bound.entropy` shows."""
    source: str | None
    """In words, for `entropy_source`."""
    reason: str | None
    """Why one of them is missing."""


ON_CELLS = frozenset({"sound", "sound_label_free"})
"""Forms in which every entropy is of the quantised answer."""


def choose(form: str, known: Known) -> Chosen:
    """Choose the entropies of one form, all of the same variable: the answer's text, or its cell.

    A form of the text takes Ĥ_Y as given and Ĥ_θ (and, `measured`, (B)) as given or from log-probabilities;
    where one of them is missing, all are of the cells instead: log K, sampled cells, and the source says so.
    The sound forms are of the cells always. ValueError for an unknown form.
    """
    needs = set(bound_terms(form)) & {"entropy", "entropy_y", "entropy_shift", "h_model_p"}
    if not needs:
        return Chosen({}, None, None, None)
    tried = []
    if form not in ON_CELLS:
        tried.append(_choose_text(needs, known))
        if tried[0].reason is None:
            return tried[0]
    tried.append(_choose_cells(form, needs, known))
    return tried[-1] if tried[-1].reason is None or len(tried) == 1 else _both_reasons(*tried)


def _choose_text(needs: set[str], known: Known) -> Chosen:
    terms: dict[str, float] = {}
    sources, missing = [], []
    if known.given_reference is None:
        missing.append("H of references is not given")
    else:
        terms["entropy_y"] = known.given_reference
        sources.append("references: given")
    if "entropy" in needs:
        model = given_entropy(known.given_model) if known.given_model is not None else known.text
        if model is None or model.value is None:
            missing.append(_reason(model, "answers have no log-probabilities"))
        else:
            terms["entropy_model"] = model.value
            sources.append(f"model: {_describe(model)}")
    if "entropy_shift" in needs:
        _add_shift(terms, sources, missing, known.text_shift, "answers have no log-probabilities")
    return _choice(terms, sources, missing)


def _choose_cells(form: str, needs: set[str], known: Known) -> Chosen:
    terms: dict[str, float] = {}
    sources: list[str] = []
    missing: list[str] = []
    if known.symbols is None:
        return _choice(terms, sources, ["there is no response codebook"])
    most = codebook_entropy(known.symbols)
    assert most.value is not None
    terms["symbols"] = known.symbols
    reference = most.value
    if known.given_reference is not None and known.given_reference < most.value:
        # A function of the text has no more entropy than the text.
        reference = known.given_reference
    terms["entropy_y"] = reference
    sources.append(f"references: {'given' if reference < most.value else _describe(most)}")
    shift = known.cells_shift
    if "entropy_shift" in needs and (form == "measured" or (shift is not None and shift.value is not None)):
        _add_shift(terms, sources, missing, shift, "no several sampled answers a query")
    else:
        candidates = [
            None if known.given_model is None else given_entropy(known.given_model),
            known.cells,
            known.text,
            most,
        ]
        # The given entropy and that of the text bound the cell's entropy, as log K does: the least is taken.
        usable = [c for c in candidates if c is not None and c.value is not None]
        model = min(usable, key=lambda c: c.value or 0.0)
        assert model.value is not None
        terms["entropy_model"] = model.value
        sources.append(f"model: {_describe(model)}")
    if "h_model_p" in needs:
        for name, answers in (("h_model_p", known.answers_p), ("h_model_q", known.answers_q)):
            if answers is None or answers.value is None:
                missing.append(_reason(answers, f"{name} is not known"))
            else:
                terms[name] = answers.value
    return _choice(terms, ["of quantised answers", *sources], missing)


def _add_shift(
    terms: dict[str, float],
    sources: list[str],
    missing: list[str],
    shift: EntropyShift | None,
    otherwise: str,
) -> None:
    if shift is None or shift.value is None:
        missing.append((shift.reason if shift is not None else None) or otherwise)
    else:
        terms["entropy_shift"] = shift.value
        sources.append(f"shift: {_SOURCE_WORDS[shift.source]}")


def _choice(terms: dict[str, float], sources: list[str], missing: list[str]) -> Chosen:
    parts = [terms[name] for name in ("entropy_y", "entropy_model") if name in terms]
    source = "; ".join(sources) or None
    return Chosen(terms, sum(parts) if parts and not missing else None, source, "; ".join(missing) or None)


def _both_reasons(text: Chosen, cells: Chosen) -> Chosen:
    return cells._replace(reason=f"of texts: {text.reason}; of cells: {cells.reason}")


def _describe(estimate: Entropy) -> str:
    return _SOURCE_WORDS[estimate.source] + (
        f" ({estimate.note})" if estimate.note and estimate.source != "given" else ""
    )


def _reason(estimate: Entropy | None, otherwise: str) -> str:
    return (estimate.reason if estimate is not None else None) or otherwise


_SOURCE_WORDS: dict[Source, str] = {
    "given": "given",
    "log_probabilities": "log-probabilities of sampled answers",
    "sampled_cells": "cells of sampled answers",
    "codebook": "codebook",
    "answer_cells": "cells of answers",
}


def _no_entropies(source: Source, reason: str) -> QueryEntropies:
    return QueryEntropies(np.zeros(0), None, np.zeros(0, dtype=np.str_), source, reason=reason)


def _checked_ids(base_ids: Sequence[str], n: int) -> NDArray[np.str_]:
    ids = np.asarray(base_ids, dtype=np.str_)
    if ids.shape != (n,):
        raise ValueError(f"{ids.size} base ids for {n} queries")
    return ids
