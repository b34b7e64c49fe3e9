"""Pairs whose mutual information is known exactly, and the log-ratio of their densities with it.

Every family is a law with a closed form, seen through a map of x alone and a map of y alone that can be
undone: such maps leave mutual information as it is, and the log-ratio too. The families are those of Czyż et
al. 2023 ("Beyond Normal: On the Evaluation of Mutual Information Estimators"); the closed forms are derived
here and checked against integrals in `tests/testing/test_known_pairs.py`.

The log-ratio log p(x, y) / (p(x) p(y)) is the best critic there is: what a bound says of it at K rows (the
oracle) is what an estimator can be asked for at K rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, log, pi, sqrt
from typing import NamedTuple

import numpy as np
from scipy.special import digamma, gammaln, ndtr

from auditor.protocols import Float

Map = Callable[[Float], Float]


class KnownPairs(NamedTuple):
    """`KnownPairs` are n drawn pairs, with the latent rows that they were made of."""

    x: Float
    """(n, d_x)"""
    y: Float
    """(n, d_y)"""
    latent_x: Float
    latent_y: Float


@dataclass(frozen=True)
class Family:
    """A `Family` is a law of pairs with known mutual information."""

    name: str
    information: float
    """I(X; Y) in nats"""
    latent: Callable[[int, np.random.Generator], tuple[Float, Float]]
    """n, generator -> latent rows (n, k), (n, l)"""
    log_ratio: Callable[[Float, Float], Float]
    """Latent rows (n, k), (m, l) -> (n, m) log-ratios in nats of every x with every y"""
    map_x: Map
    map_y: Map

    def draw(self, n: int, seed: int) -> KnownPairs:
        """Return n independent pairs."""
        latent_x, latent_y = self.latent(n, np.random.default_rng(seed))
        return KnownPairs(self.map_x(latent_x), self.map_y(latent_y), latent_x, latent_y)

    def scores(self, pairs: KnownPairs) -> Float:
        """Return the (n, n) log-ratios (nats) of every x with every y of these pairs: the oracle's scores."""
        return self.log_ratio(pairs.latent_x, pairs.latent_y)


def correlation(d: int, information: float) -> float:
    """Return ρ of d independent pairs of Gaussians with I = -d/2 log(1 - ρ²) nats in all."""
    return sqrt(1 - exp(-2 * information / d))


def gaussian(d: int, information: float, axes: int = 0) -> Family:
    """Return d pairs of Gaussians of one correlation. x and y are rotated each by an orthogonal matrix of the
    seed `axes`: no estimator may profit from pairs of coordinates that are aligned."""
    return _through("gaussian", d, information, lambda z: z, axes)


def half_cube(d: int, information: float, axes: int | None = 0) -> Family:
    """Return those Gaussians with each coordinate z as z √|z| (long tails), then rotated
    (`axes` None: not rotated).
    """
    return _through("half-cube", d, information, lambda z: z * np.sqrt(np.abs(z)), axes)


def spiral(d: int, information: float, speed: float | None = None) -> Family:
    """Return those Gaussians with x turned in the plane of its first two coordinates by an angle of
    speed ‖x‖² (1/d as it is), and y in that of its first and last. A turn that depends on ‖x‖ alone keeps
    volumes."""
    s = 1 / d if speed is None else speed
    family = _through("spiral", d, information, lambda z: z, None)
    return Family(
        family.name,
        information,
        family.latent,
        family.log_ratio,
        lambda z: _turned(z, 0, 1, s),
        lambda z: _turned(z, 0, d - 1, s),
    )


def swiss_roll(information: float) -> Family:
    """Return x on a roll in two dimensions, y a number in [0, 1]: the ranks of two correlated Gaussians."""
    family = _through("swiss roll", 1, information, lambda z: z, None)

    def roll(z: Float) -> Float:
        t = 1.5 * pi * (1 + 2 * ndtr(z))
        return np.concatenate([t * np.cos(t), t * np.sin(t)], axis=1) / 21

    return Family(family.name, information, family.latent, family.log_ratio, roll, lambda z: ndtr(z))


def student(d: int, dof: int, information: float = 0.0, axes: int = 0) -> Family:
    """Return (x, y) of one Student law of 2d dimensions. `information` is that of the Gaussian of the same
    dispersion: the common length alone adds to it (0.43 nats at dof 1, d=2), also where nothing is
    correlated.

    With h(p) the entropy of a standard Student law of p dimensions and -½ log det of the correlations,
    I = 2 h(d) - h(2d) + information.
    """
    rho = correlation(d, information)
    turn_x, turn_y = _axes(d, 2 * axes), _axes(d, 2 * axes + 1)

    def latent(n: int, rng: np.random.Generator) -> tuple[Float, Float]:
        x, y = _gaussians(n, d, rho, rng)
        length = np.sqrt(dof / rng.chisquare(dof, size=(n, 1)))
        return x * length, y * length

    def log_ratio(x: Float, y: Float) -> Float:
        x2, y2 = np.square(x).sum(axis=1)[:, None], np.square(y).sum(axis=1)[None, :]
        joint = (x2 + y2 - 2 * rho * (x @ y.T)) / (1 - rho**2)
        constant = gammaln((dof + 2 * d) / 2) + gammaln(dof / 2) - 2 * gammaln((dof + d) / 2)
        sides = (dof + d) / 2 * (np.log1p(x2 / dof) + np.log1p(y2 / dof))
        return np.asarray(
            constant
            - d / 2 * log(1 - rho**2)
            + sides
            - (dof + 2 * d) / 2 * np.log1p(np.maximum(joint, 0) / dof)
        )

    extra = 2 * student_entropy(d, dof) - student_entropy(2 * d, dof)
    return Family(
        f"student, dof {dof}",
        information + extra,
        latent,
        log_ratio,
        lambda z: z @ turn_x,
        lambda z: z @ turn_y,
    )


def student_entropy(p: int, dof: float) -> float:
    """Return the entropy (nats) of a Student law of p dimensions with dispersion 1."""
    half = (dof + p) / 2
    return float(
        gammaln(dof / 2) - gammaln(half) + p / 2 * log(dof * pi) + half * (digamma(half) - digamma(dof / 2))
    )


def _through(name: str, d: int, information: float, bend: Map, axes: int | None) -> Family:
    """Correlated Gaussians through `bend`, and rotated where `axes` is a seed."""
    rho = correlation(d, information)
    turns = [np.eye(d) if axes is None else _axes(d, 2 * axes + side) for side in (0, 1)]

    def log_ratio(x: Float, y: Float) -> Float:
        squares = np.square(x).sum(axis=1)[:, None] + np.square(y).sum(axis=1)[None, :]
        quadratic = (rho**2 * squares - 2 * rho * (x @ y.T)) / (2 * (1 - rho**2))
        return np.asarray(information - quadratic)

    return Family(
        name,
        information,
        lambda n, rng: _gaussians(n, d, rho, rng),
        log_ratio,
        lambda z: bend(z) @ turns[0],
        lambda z: bend(z) @ turns[1],
    )


def _gaussians(n: int, d: int, rho: float, rng: np.random.Generator) -> tuple[Float, Float]:
    x = rng.normal(size=(n, d))
    return x, rho * x + sqrt(1 - rho**2) * rng.normal(size=(n, d))


def _axes(d: int, seed: int) -> Float:
    """(d, d) orthogonal matrix."""
    q, r = np.linalg.qr(np.random.default_rng([11, seed]).normal(size=(d, d)))
    return np.asarray(q * np.sign(np.diag(r)))


def _turned(z: Float, i: int, j: int, speed: float) -> Float:
    angle = speed * np.square(z).sum(axis=1)
    out = z.copy()
    out[:, i] = np.cos(angle) * z[:, i] - np.sin(angle) * z[:, j]
    out[:, j] = np.sin(angle) * z[:, i] + np.cos(angle) * z[:, j]
    return out
