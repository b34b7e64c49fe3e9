"""Lemma 4.3 and Theorem 4.4 say how far EMI lies from the preference of answers over references, in nats.

On discrete laws everything is exact: p_x (n,) is P_X, y_given_x (n, K) is P(Y|X=x), model (n, K) is
P_θ(·|x). The reward is the paper's, r(x, y) = log P(y|x). Then (proof of Lemma D.1)

    EMI - PM = [H(P_Yθ) - H(P_Y)] + E_x KL(P_θ(·|x) ‖ P(Y|x)),

and all that has to be bounded is the difference of two entropies. The paper bounds it by its Lemma D.4, which
is false from alphabets of 31 symbols on; on K symbols Fano's inequality does (`entropy_change_bound`), at no
more than half the L1 distance, which Pinsker's inequality bounds by √(KL/2). `docs/design/theory.md` says
which results are the paper's and which are ours, with counterexamples.
"""

from __future__ import annotations

from math import floor, isfinite, log, sqrt

import numpy as np

from auditor.bounds import entropy_change_bound
from auditor.bounds.discrete_entropy import entropy
from auditor.sketch import Float


def mutual_information(p_x: Float, y_given_x: Float) -> float:
    """Return I(X; Y) = H(Y) - E_x H(Y|x), Eq. 3."""
    return float(entropy(p_x @ y_given_x) - p_x @ entropy(y_given_x))


def effective_information(p_x: Float, y_given_x: Float, model: Float) -> float:
    """Return EMI, Eq. 7: I(P_X ⊗ P_θ) - I(P_XY)."""
    return mutual_information(p_x, model) - mutual_information(p_x, y_given_x)


def model_error(p_x: Float, y_given_x: Float, model: Float) -> float:
    """Return E_x KL(P_θ(·|x) ‖ P(Y|x)): the δ of Lemma 4.3. Infinite where the model says what P never
    does."""
    return _mean_kl(p_x, model, y_given_x)


def training_error(p_x: Float, y_given_x: Float, model: Float) -> float:
    """Return E_x KL(P(Y|x) ‖ P_θ(·|x)): the ε of Eq. 8, what the autoregressive objective leaves."""
    return _mean_kl(p_x, y_given_x, model)


def preference(p_x: Float, y_given_x: Float, model: Float) -> float:
    """Return PM = E[r(x, ŷ) - r(x, y)], ŷ ~ P_θ(·|x), y ~ P(Y|x), r = log P(y|x): the logit Bradley-Terry
    model."""
    with np.errstate(divide="ignore", invalid="ignore"):
        reward = np.log(y_given_x)
        gain = np.where(model > 0, model * reward, 0.0) - np.where(y_given_x > 0, y_given_x * reward, 0.0)
    return float(p_x[p_x > 0] @ gain[p_x > 0].sum(axis=-1))


def log_win_rate(p_x: Float, y_given_x: Float, model: Float) -> float:
    """Return RM = E log σ(r(x, ŷ) - r(x, y)), ŷ and y independent given x. O(n K²).

    RM ≤ log σ(PM), with equality only where all differences of reward are equal: the paper's "clear"
    RM = PM - log(1 + e^PM) takes the logarithm out of the mean, and a larger PM need not mean a larger RM.
    """
    total = 0.0
    for weight, law, answers in zip(p_x, y_given_x, model, strict=True):
        if weight > 0:
            y_support, model_support = law > 0, answers > 0
            if (model_support & ~y_support).any():
                return float("-inf")
            reward = np.log(law[y_support])
            lost = np.logaddexp(0.0, reward[None, :] - np.log(law[model_support])[:, None])
            total -= float(weight * (answers[model_support] @ lost @ law[y_support]))
    return total


def lemma_4_3(delta: float) -> float:
    """Return δ + 4.4 δ^⅛ ≥ |EMI - PM|, as printed. It rests on Lemma D.4 and fails with it on large
    alphabets."""
    _not_negative("delta", delta)
    return delta + 4.4 * delta**0.125


def lemma_4_3_sound(delta: float, symbols: int) -> float:
    """Return δ + T log(K-1) + h(T), T = min(√(δ/2), 1 - 1/K): Lemma 4.3 as it holds on K = `symbols` answers.

    KL is convex, so KL(P_Yθ ‖ P_Y) ≤ δ; by Pinsker half their L1 distance is at most √(δ/2); then Fano.
    """
    _not_negative("delta", delta)
    return delta + _entropy_change(delta, symbols)


def theorem_4_4_delta(epsilon: float, c: float) -> float:
    """Return δ = 4.4 ε^⅛ - log c √(2ε) of Theorem 4.4 (Lemma D.7): the paper's bound of `model_error` by
    ε."""
    _not_negative("epsilon", epsilon)
    _density(c)
    return 4.4 * epsilon**0.125 - log(c) * sqrt(2 * epsilon)


def theorem_4_4(epsilon: float, c: float) -> float:
    """Return Theorem 4.4 as printed: `lemma_4_3` of `theorem_4_4_delta`, for a model with E KL(P(Y|x)‖P_θ) ≤
    ε and P(y|x) ≥ c everywhere. It rests on Lemma D.4 twice."""
    return lemma_4_3(theorem_4_4_delta(epsilon, c))


def theorem_4_4_sound(epsilon: float, c: float) -> float:
    """Return min(ε/c, F(T) - T log c) + F(T), T = √(ε/2), F Fano's bound: Theorem 4.4 as it holds where
    P(y|x) ≥ c.

    c bounds the alphabet, K ≤ 1/c. Of one x: KL(P_θ‖P) ≤ χ² ≤ 2T²/c (and, as in Lemma D.7 but with half
    the L1 distance, ≤ F(T) - T log c); both are at most their value at the mean of KL, ε, by concavity.
    """
    _not_negative("epsilon", epsilon)
    _density(c)
    change = _entropy_change(epsilon, max(1, floor(1 / c * (1 + 1e-12))))
    return min(epsilon / c, change - log(c) * sqrt(epsilon / 2)) + change


def _entropy_change(kl: float, symbols: int) -> float:
    """|H(P) - H(Q)| for KL(P‖Q) ≤ kl: T = √(kl/2), where `entropy_change_bound` takes T = √(2D)."""
    return entropy_change_bound(kl / 4, symbols)


def _mean_kl(p_x: Float, a: Float, b: Float) -> float:
    with np.errstate(divide="ignore", invalid="ignore"):
        kl = np.where(a > 0, a * (np.log(a) - np.log(b)), 0.0).sum(axis=-1)
    return float(p_x[p_x > 0] @ np.maximum(kl[p_x > 0], 0.0))


def _not_negative(name: str, value: float) -> None:
    if not (isfinite(value) and value >= 0):
        raise ValueError(f"{name} must be finite and not negative, not {value}")


def _density(c: float) -> None:
    if not 0 < c <= 1:
        raise ValueError(f"c must lie in (0, 1], not {c}")
