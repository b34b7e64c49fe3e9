"""The conditional divergences of Theorem 4.6 are estimated from neighbourhoods: D̄(X_t|X_v), D̄(X_v|X_t), E_P
D^¼(Y|x).

The paper's D̄(P_{X|X'} ‖ Q_{X|X'}) is a *sum* of two means of D(x) = D_JS(P_{X|X'=x} ‖ Q_{X|X'=x}), one over
x ~ P_X', one over x ~ Q_X', so it lies in [0, 2 log 2].

Estimator. Around an anchor x (drawn from P's and from Q's rows of the conditioning variable) the k nearest
rows of P and the k nearest of Q are taken; their *other* variable is a sample of P(·|near x) and Q(·|near x).
RJSD of two k-row samples is mostly bias (0.26 without any shift at k = 20, 64 dimensions), so its mean over
permutations of the 2k rows is taken off, as in `excess` everywhere else: without a conditional shift it is
0 on average at any k and any dimension, may be negative, and under a shift it comes out slightly low (by up
to 30% where k is no larger than the directions that the other variable fills). Jackknife and
extrapolation in k were tried and refused: 0.12 and 0.16 *without* a shift at k = 20, d = 64.

Assumptions, and where it fails:

- The conditionals hardly change within a neighbourhood. If the conditioning variable itself moved from P to Q
  *inside* the neighbourhood and the other depends on it, that is taken for a conditional shift (more rows, or
  a smaller k, lessen it); what changes faster than a neighbourhood is blurred away. The value at a cell that
  holds fewer than k rows mixes in its neighbours.
- D(x) means nothing where P or Q has no rows near x. Such anchors (`outside`: their k-th neighbour on the
  other side is farther than 99.5% of that side's own rows' k-th neighbours) are left out; `high` counts them
  at log 2.
- RJSD is at most the true JS divergence: the value estimates a lower one, and is never a guarantee.
- The fourth root turns noise into a number: without any shift `quarter` is about 0.16 and `quarter_high` 0.3
  (k = 20 to 40, 1,000 rows). Smaller ones cannot be told from none.

Needs rows: neighbours are no function of sums. O(anchors (n + m) d) for the exact FAISS search, then
2·draws + 3 spectra of k x k to 2k x 2k an anchor (300 anchors: 0.4 s at k = 20, 1.4 s at k = 40, one core).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from auditor.divergences.representation import same_dimension
from auditor.neighbours.index import Index, nearest_distance
from auditor.sketch import Float, Floats, as_rows

LOG2 = float(np.log(2))
OWN_SHARE = 0.995
"""Share of a side's own rows whose k-th neighbour is nearer than the limit of `outside`."""
_LIMIT_ROWS = 2000
_TIE_FACTOR = 4
_CHUNK_ANCHORS = 64
_NORMAL_95 = 1.645

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class ConditionalDivergence:
    """A `ConditionalDivergence` is the result of `conditional_divergence`, in nats. A field is None where no
    anchor of a side lies inside (`reason`)."""

    value: float | None
    """D̄ of Theorem 4.6: mean_p + mean_q. 0 on average without a shift; a bound takes max(0, value)"""
    mean_p: float | None
    """E over x ~ P of D(x)"""
    mean_q: float | None
    """E over x ~ Q of D(x)"""
    error: float | None
    """Standard error of `value`: as many neighbourhoods count as fit into the rows without overlap"""
    quarter: float | None
    """E_P D(x)^¼, each anchor's D(x) cut at 0: too high where D(x) is below its noise"""
    quarter_high: float | None
    """(mean_p + 1.645 of its standard errors)^¼, which is at least E_P D^¼ by Jensen's inequality"""
    high: float | None
    """D̄ with the anchors outside counted at log 2"""
    raw: float | None
    """Mean RJSD of the anchors' neighbourhoods before the null was taken off"""
    null: float | None
    """Mean RJSD of the same rows after permutation"""
    n_anchors: int
    """Anchors that were used"""
    outside_p: float
    """Share of P's anchors near which Q has no rows"""
    outside_q: float
    k: int
    seed: int
    reason: str | None

    @property
    def outside(self) -> float:
        """Return the share of all anchors that were left out, both sides weighted alike."""
        return (self.outside_p + self.outside_q) / 2


class _Side(NamedTuple):
    given_rows: NDArray[np.float32]
    other_rows: Floats
    search_index: Index
    limit: float
    """How far a k-th neighbour among these rows may be"""


class _LocalDivergences(NamedTuple):
    """These are the (A,) RJSD of each anchor inside, and (A,) its mean over permutations."""

    raw: Float
    null: Float
    outside: float


def conditional_divergence(
    given_p: Array,
    other_p: Array,
    given_q: Array,
    other_q: Array,
    k: int = 30,
    anchors: int = 200,
    seed: int = 0,
    *,
    draws: int = 8,
) -> ConditionalDivergence:
    """Return D̄(other | given) between P and Q: given_p (n, a), other_p (n, b), given_q (m, a), other_q (m,
    b).

    given: the embedding that is conditioned on (Euclidean distance); other: rows whose law is compared,
    brought to unit length. At most `anchors` of each side's rows. Equal for a seed. Estimator and limits: see
    the module. For D(Y|x): given = z_x, other = the references' embeddings, `.quarter` or `.quarter_high`.
    ValueError where shapes do not fit, a side has no more than k rows, or a row of `other` is zero.
    """
    if k < 2 or anchors < 2 or draws < 1:
        raise ValueError(f"k and anchors must be at least 2, draws at least 1, not {k}, {anchors}, {draws}")
    seeds = np.random.SeedSequence(seed).spawn(4)
    p = _side(given_p, other_p, "p", k, np.random.default_rng(seeds[0]))
    q = _side(given_q, other_q, "q", k, np.random.default_rng(seeds[1]))
    same_dimension(p.given_rows.shape[1], q.given_rows.shape[1])
    same_dimension(p.other_rows.shape[1], q.other_rows.shape[1])
    local_p = _local_divergences(p, q, anchors, k, draws, np.random.default_rng(seeds[2]))
    local_q = _local_divergences(q, p, anchors, k, draws, np.random.default_rng(seeds[3]))
    used = len(local_p.raw) + len(local_q.raw)
    if min(len(local_p.raw), len(local_q.raw)) < 2:
        nothing: dict[str, Any] = dict.fromkeys(
            ("value", "mean_p", "mean_q", "error", "quarter", "quarter_high", "high", "raw", "null")
        )
        return ConditionalDivergence(
            **nothing,
            n_anchors=used,
            outside_p=local_p.outside,
            outside_q=local_q.outside,
            k=k,
            seed=seed,
            reason="no common support of the conditioning variable",
        )
    fit = min(len(p.given_rows), len(q.given_rows)) / k
    d_p, d_q = local_p.raw - local_p.null, local_q.raw - local_q.null
    mean_p, mean_q = float(d_p.mean()), float(d_q.mean())
    error_p, error_q = _error(d_p, fit), _error(d_q, fit)
    return ConditionalDivergence(
        value=mean_p + mean_q,
        mean_p=mean_p,
        mean_q=mean_q,
        # Both sides' anchors stand on the same rows: their errors add, not their squares.
        error=error_p + error_q,
        quarter=float((np.maximum(d_p, 0) ** 0.25).mean()),
        quarter_high=max(0.0, mean_p + _NORMAL_95 * error_p) ** 0.25,
        high=sum(
            (1 - side.outside) * mean + side.outside * LOG2
            for side, mean in ((local_p, mean_p), (local_q, mean_q))
        ),
        raw=float(np.concatenate([local_p.raw, local_q.raw]).mean()),
        null=float(np.concatenate([local_p.null, local_q.null]).mean()),
        n_anchors=used,
        outside_p=local_p.outside,
        outside_q=local_q.outside,
        k=k,
        seed=seed,
        reason=None,
    )


def _side(given_rows: Array, other_rows: Array, name: str, k: int, rng: np.random.Generator) -> _Side:
    """Return a side with its rows in random order, so that among equal distances no row is preferred."""
    x, y = as_rows(given_rows, f"given_{name}"), as_rows(other_rows, f"other_{name}")
    if len(x) != len(y):
        raise ValueError(f"given_{name} has {len(x)} rows, other_{name} has {len(y)}")
    if len(x) <= k:
        raise ValueError(f"{len(x)} rows of {name} for neighbourhoods of {k}")
    norms = np.linalg.norm(y, axis=1, keepdims=True)
    if not norms.all():
        raise ValueError(f"other_{name}: row {int(np.argmin(norms))} is zero")
    order = rng.permutation(len(x))
    rows = np.ascontiguousarray(x[order], dtype=np.float32)
    own = nearest_distance(rows[:_LIMIT_ROWS], rows, k, leave_one_out=True)
    # Two embeddings of one content in fp32 need not be at distance 0.
    rounding = 2e-3 * float(np.abs(np.linalg.norm(rows, axis=1)).max())
    return _Side(rows, (y / norms)[order], Index(rows), float(np.quantile(own, OWN_SHARE)) + rounding)


def _local_divergences(
    home: _Side, away: _Side, anchors: int, k: int, draws: int, rng: np.random.Generator
) -> _LocalDivergences:
    """The local divergences around anchors from home's rows."""
    chosen = home.given_rows[rng.permutation(len(home.given_rows))[:anchors]]
    near, _ = _neighbours(home, chosen, k, rng)
    far, radius = _neighbours(away, chosen, k, rng)
    inside = radius <= away.limit
    raw, null = [np.empty(0)], [np.empty(0)]
    for chunk in np.array_split(np.flatnonzero(inside), max(1, -(-int(inside.sum()) // _CHUNK_ANCHORS))):
        if len(chunk):
            z = np.concatenate([home.other_rows[near[chunk]], away.other_rows[far[chunk]]], axis=1).astype(
                np.float64
            )
            value, permuted = _local_rjsd(z @ z.transpose(0, 2, 1), draws, rng)
            raw.append(value)
            null.append(permuted)
    return _LocalDivergences(np.concatenate(raw), np.concatenate(null), float(1 - inside.mean()))


def _neighbours(
    side: _Side, anchors: NDArray[np.float32], k: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], Float]:
    """(A, k) positions of the k nearest rows, ties at the k-th distance drawn at random; (A,) that distance.

    Without the draw all anchors on one repeated row (one image, many questions) would see the same k rows.
    """
    distance, nearest = side.search_index.search(anchors, _TIE_FACTOR * k)
    squared = np.square(distance)
    last = squared[:, k - 1 : k]
    tie = 1e-5 * np.abs(last) + 4e-6 * np.square(anchors).sum(axis=1, keepdims=True)
    order = np.where(
        squared < last - tie, -1.0, np.where(squared <= last + tie, rng.random(squared.shape), 2.0)
    )
    keep = np.argsort(order, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(nearest, keep, axis=1), distance[:, k - 1]


def _local_rjsd(gram: Float, draws: int, rng: np.random.Generator) -> tuple[Float, Float]:
    """(A,) RJSD of the first against the last k of 2k unit rows, and its permutation mean; gram (A, 2k, 2k).

    The mixture of equal halves of unit rows is the same under every permutation: only the halves are redone.
    """
    size = gram.shape[1]
    k = size // 2
    mixture = _entropy(gram)
    raw = mixture - 0.5 * (_entropy(gram[:, :k, :k]) + _entropy(gram[:, k:, k:]))
    null = np.zeros(len(gram))
    anchor = np.arange(len(gram))[:, None, None]
    for _ in range(draws):
        order = np.argsort(rng.random((len(gram), size)), axis=1)
        halves = (gram[anchor, half[:, :, None], half[:, None, :]] for half in (order[:, :k], order[:, k:]))
        null += mixture - 0.5 * sum(_entropy(half) for half in halves)
    return raw, null / draws


def _entropy(gram: Float) -> Float:
    """(A,) von Neumann entropies of (A, k, k) Grams, each at trace 1."""
    values = np.linalg.eigvalsh(gram)
    values = np.maximum(values, 0) / np.trace(gram, axis1=1, axis2=2)[:, None]
    return np.asarray(-(values * np.log(np.where(values > 0, values, 1.0))).sum(axis=1))


def _error(local: Float, fit: float) -> float:
    return float(local.std(ddof=1) / np.sqrt(min(len(local), max(fit, 1.0))))
