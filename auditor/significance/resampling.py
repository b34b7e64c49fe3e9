"""Resampling gives RJSD's null by permutation, and its bias and interval by the delete-a-block jackknife."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auditor.divergences.representation import rows64
from auditor.divergences.spectrum import (
    entropy_of_rows,
    entropy_of_spectrum,
    entropy_rank,
    positive_trace,
    spectrum,
    von_neumann_entropy,
)
from auditor.divergences.updates import Updates, worth
from auditor.significance.jackknife import Deletion, Left
from auditor.sketch import Float, Sketch
from auditor.sketch.blocks import Index, whole_groups


@dataclass(frozen=True, eq=False)
class ReferenceRows:
    """`ReferenceRows` hold what a drift test takes of P's n rows alone. Fitted once, they serve every Q that
    P is compared with."""

    rows: Float
    """(n, d)"""
    entropy: float
    """S(C_P), nats"""
    groups: Index
    """(n,) jackknife group of each row; empty where none were given"""
    without: Mapping[int, float]
    """Group -> S(C_P) of the rows outside it"""

    @classmethod
    def fit(cls, p: ArrayLike, groups: Index | None = None) -> ReferenceRows:
        """Fit on rows p (n, d). With the jackknife groups (n,) of the rows, the entropy without each group is
        computed, too. O(n d² + d³).

        ValueError where a row is not finite, all are zero, or labels do not fit.
        """
        rows = rows64(np.asarray(p), "p")
        labels = np.zeros(0, np.int64) if groups is None else np.asarray(groups, dtype=np.int64)
        if groups is not None and labels.shape != (len(rows),):
            raise ValueError(f"{labels.shape} group labels for {len(rows)} rows")
        without = {} if groups is None else _entropies_without(rows, rows.T @ rows, labels)
        return cls(rows, entropy_of_rows(rows), labels, without)

    @cached_property
    def moment(self) -> Float:
        """Return (d, d) Σzzᵀ"""
        return np.asarray(self.rows.T @ self.rows)

    @cached_property
    def updates(self) -> Updates:
        """Return the `Updates` of the moment."""
        return Updates(self.moment)

    @cached_property
    def sketch(self) -> Sketch:
        """Return the sketch of the rows."""
        return Sketch.from_rows(self.rows)

    def null(self, m: int, draws: int, seed: int, labels: Index | None = None) -> Float:
        """Return (draws,) RJSD of m of these rows, at random, from the others, brought to that of n and m
        rows. It serves any Q of m rows, and is kept for the next one. m is at most n / 4. With `labels` (n,)
        of rows that belong together, whole groups of about m rows are taken.

        Only n - m rows are left beside the m, and RJSD of fewer rows is larger. Comparing the same m rows
        with a part of the others shows by how much; it is then brought to n, linearly in 1/n.
        """
        n, single = len(self.rows), labels is None
        key = m, draws, seed, single
        if key not in self._nulls:
            together = np.arange(n) if labels is None else labels
            if single not in self._parts:
                part = pick(n - n // 8, together, np.random.default_rng(0))
                self._parts[single] = part, Deck.from_rows(self.rows[part])
            part, deck = self._parts[single]
            rng, values = np.random.default_rng(seed), np.empty((2, draws))
            for i in range(draws):
                picks = pick(m, np.arange(len(part)) if labels is None else labels[part], rng)
                values[:, i] = self._deck.taken_out(part[picks]), deck.taken_out(picks)
            slope = (values[1] - values[0]) / (1 / (len(part) - m) - 1 / (n - m))
            self._nulls[key] = values[0] - slope * (1 / (n - m) - 1 / n)
        return self._nulls[key]

    @cached_property
    def blocks(self) -> dict[tuple[int, int], Any]:
        """Return what the permutation test keeps of the rows (`ReferenceBlocks`), by its plan of blocks."""
        return {}

    @cached_property
    def _nulls(self) -> dict[tuple[int, int, int, bool], Float]:
        return {}

    @cached_property
    def _parts(self) -> dict[bool, tuple[Index, Deck]]:
        """Seven eighths of the rows, by whether they are single rows."""
        return {}

    @cached_property
    def _deck(self) -> Deck:
        if len(self.rows) < self.rows.shape[1]:
            return Deck.from_rows(self.rows)
        return Deck(self.rows, self.moment, self.updates)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return plain arrays, for npz (never pickle), without the rows themselves: who has them keeps them
        once."""
        return {
            "entropy": np.array(self.entropy),
            "groups": self.groups,
            "names": np.array(list(self.without), dtype=np.int64),
            "without": np.array(list(self.without.values()), dtype=np.float64),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, ArrayLike], p: ArrayLike) -> ReferenceRows:
        """Restore from the arrays of `to_arrays`, given the rows p (n, d) of the fit. ValueError where they
        cannot be those rows."""
        rows = rows64(np.asarray(p), "p")
        groups, names = (np.asarray(arrays[name], dtype=np.int64) for name in ("groups", "names"))
        entropy, without = (np.asarray(arrays[name], dtype=np.float64) for name in ("entropy", "without"))
        if entropy.shape != () or without.shape != names.shape or groups.shape not in ((0,), (len(rows),)):
            raise ValueError(
                f"not of {len(rows)} rows: shapes {groups.shape}, {names.shape}, {without.shape}"
            )
        if not (np.isfinite(entropy) and np.isfinite(without).all() and set(names) == set(groups)):
            raise ValueError("not of these rows: an entropy is not finite, or one of a group is missing")
        return cls(rows, float(entropy), groups, dict(zip(names.tolist(), without.tolist(), strict=True)))


class Deck:
    """A `Deck` holds rows (n, d) with their second moment, to be dealt into two sides at random."""

    def __init__(self, rows: Float, moment: Float, updates: Updates | None = None) -> None:
        """Take rows (n, d) and their moment; `updates` are those of the moment, where they are known."""
        self._rows, self._moment, self._known_updates = rows, moment, updates

    @classmethod
    def from_rows(cls, rows: Float) -> Deck:
        """Return a deck of rows (n, d). Where n < d they are first turned into n coordinates, an exact
        isometry."""
        rows = few_coordinates(rows)
        return cls(rows, rows.T @ rows)

    @cached_property
    def _updates(self) -> Updates:
        return self._known_updates or Updates(self._moment)

    @cached_property
    def _coordinates(self) -> Float:
        return self._updates.coordinates(self._rows)

    @cached_property
    def _whole(self) -> float:
        return von_neumann_entropy(self._moment)

    def deal(
        self, k: int, draws: int, rng: np.random.Generator, labels: Index | None = None, first: bool = True
    ) -> Float:
        """Return (draws,) RJSD of k of the rows from all others: the first ones of a random order, or its
        last ones; with `labels` (n,) of rows that belong together, of whole groups of about k rows."""
        found = np.empty(draws)
        for i in range(draws):
            if labels is None:
                order = rng.permutation(len(self._rows))
                picks = order[:k] if first else order[-k:]
            else:
                picks = pick(k, labels, rng)
            found[i] = self.taken_out(picks)
        return found

    def taken_out(self, picks: NDArray[np.int64]) -> float:
        """Return RJSD of some of the rows from all others, to 1e-6."""
        for quick in (True, False) if worth(len(picks), len(self._moment)) else ():
            try:
                return self._updated_rjsd(picks, quick)
            except np.linalg.LinAlgError:  # rows that stand alone: taken off, rounding is left of them
                pass
        rest = np.ones(len(self._rows), dtype=bool)
        rest[picks] = False
        return self.apart(self._rows[picks], self._rows[rest])

    def _updated_rjsd(self, picks: NDArray[np.int64], quick: bool) -> float:
        rows = self._rows[picks]
        tr_picks = positive_trace(rows @ rows.T)
        tr_rest = float(np.trace(self._moment)) - tr_picks
        if not tr_rest > 0:
            raise np.linalg.LinAlgError
        factors = [tr_rest / tr_picks - 1, -1.0]
        mixture, rest = self._updates.entropies(self._coordinates[picks], factors, quick)
        return max(0.0, mixture - 0.5 * (rest + entropy_of_rows(rows)))

    def of_sides(self, at_p: Index, at_q: Index) -> float:
        """Return RJSD of two sides, given as positions that are all the rows together."""
        return self.apart(self._rows[at_p], self._rows[at_q])

    def apart(self, p: Float, q: Float) -> float:
        """Return RJSD of two sides (n, d), (m, d) that are all the rows together: their moments' sum is
        known."""
        if len(p) <= len(q):
            S_p = p.T @ p
            S_q = self._moment - S_p
        else:
            S_q = q.T @ q
            S_p = self._moment - S_q
        tr_p, tr_q = positive_trace(S_p), positive_trace(S_q)
        # With equal traces (unit rows, equal sizes) the mixture is the pooled moment, whoever holds the rows.
        same = abs(tr_p - tr_q) <= 1e-12 * (tr_p + tr_q)
        mixture = self._whole if same else _mixture_entropy(S_p, S_q)
        return max(0.0, mixture - 0.5 * (_entropy(p, S_p) + _entropy(q, S_q)))


def pick(k: int, labels: Index, rng: np.random.Generator) -> Index:
    """Return the positions of whole groups of rows in a random order, of k rows or as near to k as whole
    groups allow; labels (n,) tell which rows belong together. At least one group is taken and one left."""
    groups = whole_groups(labels, rng)
    ends = np.cumsum([len(group) for group in groups])
    taken = int(np.clip(np.argmin(np.abs(ends - k)) + 1, 1, max(1, len(groups) - 1)))
    return np.concatenate(groups[:taken])


def few_coordinates(rows: Float) -> Float:
    """Return rows (n, d) in n coordinates, an exact isometry, where n < d."""
    return rows if len(rows) >= rows.shape[1] else np.asarray(np.linalg.qr(rows.T, mode="r")).T


@dataclass(frozen=True, eq=False)
class Pairs:
    """`Pairs` are rows of p (n, d) and q (m, d) that are copies of each other, and the rows that have no
    copy."""

    p: Index
    q: Index
    """(s,) positions: row p[i] of p is a copy of row q[i] of q."""
    rest_p: Index
    rest_q: Index

    @classmethod
    def all(cls, n: int) -> Pairs:
        """Return the pairs of n rows and n others, each the copy of the one in its place."""
        every, none = np.arange(n), np.zeros(0, np.int64)
        return cls(every, every, none, none)

    @classmethod
    def of(cls, n: int, m: int, shared: tuple[Index, Index] | None) -> Pairs | None:
        """Return the pairs of n and m rows, None where there are none. ValueError where positions are no
        rows, or come twice."""
        if shared is None or not len(shared[0]):
            return None
        at_p, at_q = (np.asarray(at, dtype=np.int64) for at in shared)
        for at, rows in ((at_p, n), (at_q, m)):
            if len(at_p) != len(at_q) or len(np.unique(at)) < len(at) or at.min() < 0 or at.max() >= rows:
                raise ValueError("shared rows must be as many positions in p as in q, each once")
        return cls(at_p, at_q, np.setdiff1d(np.arange(n), at_p), np.setdiff1d(np.arange(m), at_q))


class RjsdResampler:
    """An `RjsdResampler` gives RJSD of p (n, d) and q (m, d), and of the sides after rows are deleted or
    exchanged.

    Where n + m < d, the rows are first turned into n + m coordinates, an exact isometry, so that no spectrum
    is larger than the number of rows. A fit on P is then of no use.
    """

    def __init__(self, p: Float | ReferenceRows, q: Float, pairs: Pairs | None = None) -> None:
        fitted = p if isinstance(p, ReferenceRows) else None
        self._p, self._q, self._pairs = (p.rows if isinstance(p, ReferenceRows) else p), q, pairs
        if len(self._p) + len(q) < q.shape[1]:
            z = few_coordinates(np.concatenate([self._p, q]))
            self._p, self._q, fitted = z[: len(self._p)], z[len(self._p) :], None
        self._fitted = fitted
        self._S_p = self._p.T @ self._p if fitted is None else fitted.moment
        self._S_q = self._q.T @ self._q
        if fitted is not None and worth(len(q), q.shape[1]):
            updates = fitted.updates
            weight = positive_trace(self._S_p) / positive_trace(self._S_q)
            (self._mixture,) = updates.entropies(updates.coordinates(q), [weight])
        else:
            self._mixture = entropy_of_spectrum(self._spectrum)
        self._entropy_p = entropy_of_rows(self._p) if fitted is None else fitted.entropy
        self._entropy_q = entropy_of_rows(self._q)
        self.value = max(0.0, self._mixture - 0.5 * (self._entropy_p + self._entropy_q))
        """RJSD in nats (Eq. 12)"""
        self.effective_rank = float(np.exp(self._mixture))
        """exp of the entropy of (C_P + C_Q)/2"""

    @cached_property
    def entropy_rank(self) -> float:
        """Return among how many directions that entropy is spread."""
        return entropy_rank(self._spectrum)

    @cached_property
    def _spectrum(self) -> Float:
        """Return the eigenvalues of (C_P + C_Q)/2."""
        return spectrum(self._S_p / positive_trace(self._S_p) + self._S_q / positive_trace(self._S_q))

    def null(
        self, draws: int, rng: np.random.Generator, labels: Index | None = None, blocks: Index | None = None
    ) -> Float:
        """Return (draws,) RJSD after rows were exchanged at random: pooled and dealt anew, or swapped within
        pairs and the rows without a partner dealt. `labels` (n + m,) of pooled rows that are dealt together;
        `blocks` (n,) of p's rows whose pairs are swapped together."""
        n, m = len(self._p), len(self._q)
        pooled = Deck(np.concatenate([self._p, self._q]), self._S_p + self._S_q)
        if self._pairs is None:
            return pooled.deal(min(n, m), draws, rng, labels, first=n <= m)
        pairs = self._pairs
        together = np.arange(n) if blocks is None else blocks
        units = np.unique(together[pairs.p], return_inverse=True)[1]
        rest = np.concatenate([pairs.rest_p, n + pairs.rest_q])
        of_rest = (np.arange(n + m) if labels is None else labels)[rest]
        out = np.empty(draws)
        for i in range(draws):
            swap = rng.integers(2, size=int(units.max()) + 1).astype(bool)[units]
            to_p = np.arange(len(pairs.rest_p))
            if len(pairs.rest_p) and len(pairs.rest_q):
                to_p = pick(len(pairs.rest_p), of_rest, rng)
            side_p = np.concatenate([np.where(swap, n + pairs.q, pairs.p), rest[to_p]])
            side_q = np.concatenate([np.where(swap, pairs.p, n + pairs.q), np.delete(rest, to_p)])
            out[i] = pooled.of_sides(side_p, side_q)
        return out

    def left(self, groups_p: Index, groups_q: Index) -> Left:
        """Return RJSD with each group of rows left out: P's groups (n,) and Q's (m,) in turn, or, where there
        are pairs, a group's rows of both sides together."""
        fitted = self._fitted
        if fitted is not None and np.array_equal(fitted.groups, groups_p):
            left_p = fitted.without
        else:
            left_p = _entropies_without(self._p, self._S_p, groups_p)
        left_q = _entropies_without(self._q, self._S_q, groups_q)
        without: dict[Deletion, float] = {}
        if self._pairs is not None:
            for g in sorted(left_p.keys() | left_q.keys()):
                S_p = _delete(self._p, self._S_p, groups_p == g)
                S_q = _delete(self._q, self._S_q, groups_q == g)
                entropies = left_p.get(g, self._entropy_p) + left_q.get(g, self._entropy_q)
                without["both", g] = _mixture_entropy(S_p, S_q) - 0.5 * entropies
            return Left(self.value, without)
        for g, entropy in left_p.items():
            mixture = _mixture_entropy(_delete(self._p, self._S_p, groups_p == g), self._S_q)
            without["p", g] = mixture - 0.5 * (entropy + self._entropy_q)
        for g, entropy in left_q.items():
            mixture = _mixture_entropy(self._S_p, _delete(self._q, self._S_q, groups_q == g))
            without["q", g] = mixture - 0.5 * (self._entropy_p + entropy)
        return Left(self.value, without)


def _mixture_entropy(S_p: Float, S_q: Float) -> float:
    return von_neumann_entropy(S_p / positive_trace(S_p) + S_q / positive_trace(S_q))


def _entropy(rows: Float, S: Float) -> float:
    """The smaller spectrum: of the second moment at hand, or of the Gram where rows are fewer."""
    return entropy_of_rows(rows) if len(rows) < len(S) else von_neumann_entropy(S)


def _delete(rows: Float, S: Float, drop: NDArray[np.bool_]) -> Float:
    """Second moment of the rows that are left."""
    gone = rows[drop]
    return np.asarray(S - gone.T @ gone)


def _entropies_without(rows: Float, S: Float, groups: Index) -> dict[int, float]:
    """Group -> entropy (nats) of the rows outside it, of rows (n, d) with second moment S and groups (n,)."""
    names, counts = np.unique(groups, return_counts=True)
    few = len(S) <= len(rows) - counts.max() and worth(int(counts.max()), len(S))
    updates = Updates(S) if few else None
    entropies = {}
    for g in names.tolist():
        drop = groups == g
        if updates is not None:
            try:
                (entropies[g],) = updates.entropies(updates.coordinates(rows[drop]), [-1.0])
                continue
            except np.linalg.LinAlgError:  # rows that stand alone: taken off, rounding is left of them
                pass
        entropies[g] = _entropy(rows[~drop], _delete(rows, S, drop))
    return entropies
