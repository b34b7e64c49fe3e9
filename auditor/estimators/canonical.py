"""The log-ratio of a Gaussian law in closed form: where the critics of lower bounds start.

Of jointly Gaussian x and y the log-ratio log p(x, y) / (p(x) p(y)) is, in canonical coordinates u_k, v_k of
variance 1 and correlations ρ_k,

    Σ_k [ -½ log(1-ρ_k²) + (ρ_k u_k v_k - ½ ρ_k² (u_k² + v_k²)) / (1-ρ_k²) ],

a function f(x)·g(y) of vectors: separable, as the networks are. From few rows canonical correlations come out
far too large (1 where there are fewer rows than dimensions). So covariances are shrunk towards a multiple of
the identity before they are inverted (Ledoit & Wolf 2004), and the correlation and the variances of each pair
of coordinates are measured on rows that did not choose them, whole groups at a time.

Tails: one row far out decides a covariance. Coordinates are taken as normal scores of their ranks, unless as
they are they serve clearly better on rows held out (they do where a rotation has mixed them).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression
from scipy.special import logsumexp, ndtr, ndtri

from auditor.estimators.ridge import folds_of
from auditor.sketch import Float, Floats

_KNOTS = 129
"""Points of a coordinate's map to normal scores, equally far apart in the scores."""
_JUDGES = 2048
"""Held-out rows that compare ranks with coordinates as they are: their score matrix is square."""
_CLEARLY = 2.0
"""Standard errors by which coordinates as they are must be better than ranks to be taken."""
_MOST_DIRECTIONS = 128
"""Canonical coordinates kept: vectors of kept rows stay small."""
_MOST_CORRELATED = 1 - 1e-5
"""Its log-ratio is a difference of large squares, and float32 vectors are kept: 5.4 nats a coordinate."""
_LEAST_VARIANCE = 1e-12
_LEAST_LENGTH = 1e-6
_QUIET = 0.1
"""Size of what is not known to be correlated beside the most correlated coordinate, as networks see it."""


Form = Literal["ranks", "plain", "directions"]
FORMS: tuple[Form, ...] = ("ranks", "plain", "directions")
"""What coordinates are taken as: normal scores of their ranks, as they are, or of the row at length 1."""


@dataclass(frozen=True, eq=False)
class Coordinates:
    """`Coordinates` map rows (n, d) to d + 1 coordinates of mean 0 and variance 1 each: those of the row in
    one of FORMS, and the logarithm of its length."""

    form: NDArray[np.int64]
    """(1,) index into FORMS"""
    centre: Float
    """(d,) medians"""
    spread: Float
    """(d,) interquartile ranges, as standard deviations of a Gaussian"""
    scores: Float
    """(k,) normal scores, ascending"""
    knots: Float
    """(d, k) the quantile of each coordinate at each score; (0, k) where no ranks are taken"""
    mean: Float
    """(d + 1,)"""
    scale: Float
    """(d + 1,)"""

    @classmethod
    def fit(cls, z: Floats, form: Form) -> Self:
        """Return the map of rows z (n, d). O(n d log n)."""
        rows = z.astype(np.float64, copy=False)
        n, d = rows.shape
        low, centre, high = np.quantile(rows, (0.25, 0.5, 0.75), axis=0)
        spread = (high - low) / (ndtri(0.75) - ndtri(0.25))
        spread = np.where(spread > 0, spread, np.where(rows.std(axis=0) > 0, rows.std(axis=0), 1.0))
        scores = np.linspace(-1, 1, _KNOTS) * ndtri(1 - 0.5 / n)
        raw = cls(
            form=np.array([FORMS.index(form)]),
            centre=centre,
            spread=spread,
            scores=scores,
            knots=np.quantile(rows[:, : d if form == "ranks" else 0], ndtr(scores), axis=0).T,
            mean=np.zeros(d + 1),
            scale=np.ones(d + 1),
        )
        mapped = raw(rows)
        scale = mapped.std(axis=0)
        return replace(raw, mean=mapped.mean(axis=0), scale=np.where(scale > 1e-9, scale, 1.0))

    def __call__(self, z: Floats) -> Float:
        """Return the mapped rows (n, d + 1). Scores do not tell how far out the outermost rows lie."""
        rows = z.astype(np.float64, copy=False)
        form = FORMS[int(self.form[0])]
        around = (rows - self.centre) / self.spread
        length = np.linalg.norm(around, axis=1)
        if form == "ranks":
            columns = zip(rows.T, self.knots, strict=True)
            rows = np.stack([np.interp(column, knots, self.scores) for column, knots in columns], axis=1)
        elif form == "directions":
            rows = around / np.where(length > 0, length, 1.0)[:, None]
        log_length = np.log(np.maximum(length, _LEAST_LENGTH))
        mapped = np.concatenate([rows, log_length[:, None]], axis=1)
        return (mapped - self.mean) / self.scale

    @property
    def dim(self) -> int:
        """Return d."""
        return len(self.centre)


class Seen(NamedTuple):
    """A `Seen` is what a `GaussianRatio` makes of rows."""

    f: Float
    """(n, r + 2); the log-ratio is f(x)·g(y)"""
    g: Float
    """(m, r + 2)"""
    x: Float
    """(n, d_x + 1 + r) the rows of x, for a network"""
    y: Float
    """(m, d_y + 1 + r)"""


@dataclass(frozen=True, eq=False)
class GaussianRatio:
    """A `GaussianRatio` is the log-ratio of a Gaussian law of x and y, of r canonical coordinates."""

    coordinates_x: Coordinates
    coordinates_y: Coordinates
    to_u: Float
    """(d_x, r) mapped rows of x -> canonical coordinates of variance 1"""
    to_v: Float
    """(d_y, r)"""
    correlations: Float
    """(r,) descending, in (0, 1)"""

    @classmethod
    def fit(cls, x: Floats, y: Floats, groups: NDArray[np.int64], seed: int) -> GaussianRatio:
        """Return the log-ratio of pairs x (n, d_x), y (n, d_y); groups (n,) label rows that are held out
        together. Some 36 spectra of d x d matrices. ValueError below two groups."""
        fold = folds_of(groups, seed)
        chosen, *others = (_fit(x, y, fold, form) for form in FORMS)
        for other in others:
            gain = other.held_out - chosen.held_out
            if gain.mean() > _CLEARLY * gain.std() / np.sqrt(len(gain)):
                chosen = other
        return chosen.ratio if chosen.held_out.mean() > 0 else chosen.ratio.of(0)

    def of(self, r: int) -> Self:
        """Return the log-ratio of the first r canonical coordinates alone."""
        return replace(self, to_u=self.to_u[:, :r], to_v=self.to_v[:, :r], correlations=self.correlations[:r])

    @property
    def rank(self) -> int:
        """Return r."""
        return len(self.correlations)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return plain arrays by name."""
        sides = {
            f"{side}.{field.name}": getattr(coordinates, field.name)
            for side, coordinates in (("x", self.coordinates_x), ("y", self.coordinates_y))
            for field in fields(Coordinates)
        }
        return sides | {"to_u": self.to_u, "to_v": self.to_v, "correlations": self.correlations}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> GaussianRatio:
        """Restore it from the arrays of `to_arrays`. ValueError where their shapes do not fit."""
        sides = [
            Coordinates(**{field.name: arrays[f"{side}.{field.name}"] for field in fields(Coordinates)})
            for side in ("x", "y")
        ]
        ratio = cls(sides[0], sides[1], arrays["to_u"], arrays["to_v"], arrays["correlations"])
        for c, directions in zip(sides, (ratio.to_u, ratio.to_v), strict=True):
            d, k = c.centre.size, c.scores.size
            ranked = d if c.form.tolist() == [FORMS.index("ranks")] else 0
            shapes = [getattr(c, field.name).shape for field in fields(Coordinates)] + [directions.shape]
            want = [(1,), (d,), (d,), (k,), (ranked, k), (d + 1,), (d + 1,), (d + 1, ratio.rank)]
            if shapes != want or int(c.form[0]) not in range(len(FORMS)):
                raise ValueError("the arrays of a Gaussian log-ratio do not fit one another")
        return ratio

    def see(self, x: Floats, y: Floats) -> Seen:
        """Return what the log-ratio makes of rows x (n, d_x), y (m, d_y), and what a network should see of
        them: the canonical coordinates, each as large as it is correlated, beside all others made small. So
        it learns first where there is something to learn, and noise last. O((n + m) d r)."""
        zx, zy = self.coordinates_x(x), self.coordinates_y(y)
        u, v = zx @ self.to_u, zy @ self.to_v
        f, g = _vectors(u, v, self.correlations)
        weights = self.correlations / self.correlations.max(initial=_LEAST_VARIANCE)
        quiet = _QUIET if self.rank else 1.0
        return Seen(
            f,
            g,
            np.concatenate([u * weights, zx * quiet], axis=1),
            np.concatenate([v * weights, zy * quiet], 1),
        )

    @property
    def room(self) -> int:
        """Return the most numbers that f and g can have for rows of these dimensions."""
        return min(len(self.to_u), len(self.to_v), _MOST_DIRECTIONS) + 2

    @property
    def widths(self) -> tuple[int, int]:
        """Return how many numbers a network sees of a row of x, and of one of y."""
        return len(self.to_u) + self.rank, len(self.to_v) + self.rank


def _vectors(u: Float, v: Float, correlations: Float) -> tuple[Float, Float]:
    """Return f and g of canonical coordinates u (n, r), v (m, r)."""
    squares = np.square(correlations)
    slope, bend = correlations / (1 - squares), squares / (1 - squares) / 2
    constant = -0.5 * np.log1p(-squares).sum()
    one_u, one_v = np.ones((len(u), 1)), np.ones((len(v), 1))
    f = np.concatenate([u * slope, one_u, (constant - np.square(u) @ bend)[:, None]], axis=1)
    g = np.concatenate([v, -(np.square(v) @ bend)[:, None], one_v], axis=1)
    return f, g


RATIO_ARRAYS = (
    *(f"{side}.{field.name}" for side in ("x", "y") for field in fields(Coordinates)),
    *("to_u", "to_v", "correlations"),
)
"""Names in `GaussianRatio.to_arrays`."""


class _Fit(NamedTuple):
    ratio: GaussianRatio
    held_out: Float
    """(m,) what each of some rows that chose no direction adds to the InfoNCE bound (nats)"""


def _fit(x: Floats, y: Floats, fold: NDArray[np.int64], form: Form) -> _Fit:
    coordinates = [Coordinates.fit(z, form) for z in (x, y)]
    # Where coordinates keep their lengths, the length of the row has been counted with them.
    zx, zy = (
        c(z)[:, : None if form == "directions" else -1] for c, z in zip(coordinates, (x, y), strict=True)
    )
    parts = [_Moments.of_rows(zx[fold == k], zy[fold == k]) for k in range(int(fold.max()) + 1)]
    total = _Moments.total(parts)
    r = min(zx.shape[1], zy.shape[1])
    squares = np.zeros((3, r))
    first: tuple[Float, Float] | None = None
    for k, part in enumerate(parts):
        to_u, to_v = total.without(part).directions()
        u, v = zx[fold == k] @ to_u, zy[fold == k] @ to_v
        squares += [np.square(u).sum(axis=0), np.square(v).sum(axis=0), (u * v).sum(axis=0)]
        first = (u[:_JUDGES], v[:_JUDGES]) if first is None else first
    variance_u, variance_v = (np.maximum(part / len(x), _LEAST_VARIANCE) for part in squares[:2])
    raw = squares[2] / len(x) / np.sqrt(variance_u * variance_v)
    smooth = isotonic_regression(raw, increasing=False).x
    r = min(int((smooth > 1 / np.sqrt(len(x))).sum()), _MOST_DIRECTIONS)
    correlations = np.minimum(smooth[:r], _MOST_CORRELATED)
    to_u, to_v = total.directions()
    to_u, to_v = (
        np.pad(to[:, :r] / np.sqrt(variance[:r]), ((0, c.dim + 1 - len(to)), (0, 0)))
        for to, variance, c in zip((to_u, to_v), (variance_u, variance_v), coordinates, strict=True)
    )
    ratio = GaussianRatio(coordinates[0], coordinates[1], to_u, to_v, correlations)
    assert first is not None
    u, v = first[0][:, :r] / np.sqrt(variance_u[:r]), first[1][:, :r] / np.sqrt(variance_v[:r])
    f, g = _vectors(u, v, correlations)
    scores = f @ g.T
    return _Fit(ratio, scores.diagonal() - logsumexp(scores, axis=1) + np.log(len(scores)))


class _Moments(NamedTuple):
    """Sums over rows of mapped x and y."""

    n: float
    xx: Float
    yy: Float
    xy: Float
    fourth_x: float
    """Σ ‖x‖⁴"""
    fourth_y: float

    @classmethod
    def of_rows(cls, x: Float, y: Float) -> Self:
        fourth = [float(np.square(np.square(z).sum(axis=1)).sum()) for z in (x, y)]
        return cls(len(x), x.T @ x, y.T @ y, x.T @ y, *fourth)

    @classmethod
    def total(cls, parts: Sequence[_Moments]) -> Self:
        columns: list[Any] = [sum(column) for column in zip(*parts, strict=True)]
        return cls(*columns)

    def without(self, part: _Moments) -> _Moments:
        pairs: Any = zip(self, part, strict=True)
        return _Moments(*(whole - own for whole, own in pairs))

    def directions(self) -> tuple[Float, Float]:
        """Return (d_x, r) and (d_y, r) canonical directions, r = min(d_x, d_y), by falling correlation."""
        root_x = _inverse_root(shrunk_covariance(self.xx / self.n, self.fourth_x / self.n, self.n))
        root_y = _inverse_root(shrunk_covariance(self.yy / self.n, self.fourth_y / self.n, self.n))
        u, _, vt = np.linalg.svd(root_x @ (self.xy / self.n) @ root_y, full_matrices=False)
        return root_x @ u, root_y @ vt.T


def shrunk_covariance(covariance: Float, fourth: float, n: float) -> Float:
    """Return Ledoit and Wolf's covariance (d, d) of n centred rows: what scikit-learn's `LedoitWolf` gives,
    from sums alone. `fourth` is the mean of ‖z‖⁴."""
    d = len(covariance)
    mean = np.trace(covariance) / d
    squares = float(np.square(covariance).sum())
    apart = squares - d * mean**2
    noise = max(fourth - squares, 0.0) / n
    share = 1.0 if apart <= 0 else min(noise / apart, 1.0)
    return (1 - share) * covariance + share * mean * np.eye(d)


def _inverse_root(covariance: Float) -> Float:
    values, vectors = np.linalg.eigh(covariance)
    return (vectors / np.sqrt(np.maximum(values, _LEAST_VARIANCE))) @ vectors.T
