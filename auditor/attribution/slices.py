"""Slices of a divergence are the tags, clusters and records that have more of it than their rows alone
explain.

A slice holds rows of both sides. Records and clusters are partitions: the shares of their slices add up to
the divergence. Tags overlap, so theirs need not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from auditor.attribution import rjsd_shares
from auditor.neighbours.codebook import learn_codebook, nearest_cell
from auditor.profiles.profile import having
from auditor.sketch import Float, Floats, RowSample
from schemas.record import TRUTH_TAG
from schemas.report import Divergence

Kind = Literal["tag", "cluster", "record"]
Tags = Mapping[str, Collection[str]]
"""Record id -> its tags."""

MOST_ROWS = 2_000
"""Rows of a side that are shared out: the first of the sample, which is in the order of hashes."""
CLUSTERS = 12
SHOWN: Mapping[Kind, int] = {"tag": 5, "cluster": 5, "record": 3}
"""Slices of each kind that a report shows."""
_LEAST_EXCESS = 1e-9
"""Nats; less is rounding: a tag of all rows of a side, and of no other, has no excess."""


@dataclass(frozen=True, eq=False)
class Side:
    """A `Side` holds n rows of one side in one modality."""

    ids: Sequence[str]
    """(n,) record ids"""
    rows: Floats
    """(n, d)"""
    tags: Tags | None = None
    """None where they are not known (a baseline keeps none)."""

    def tag_lists(self) -> list[list[str]]:
        """Return (n,) tags of each row, each tag once; those that tell a grader the right answer are left
        out."""
        known = self.tags or {}
        return [
            [tag for tag in dict.fromkeys(known.get(i, ())) if not tag.startswith(TRUTH_TAG)]
            for i in self.ids
        ]


@dataclass(frozen=True)
class Slice:
    """A `Slice` is some rows of Q, the rows of P that go with them, and their share of RJSD."""

    kind: Kind
    name: str
    rows: int
    """Number of rows of Q."""
    share_of_rows: float
    """Share of the rows of Q."""
    share_of_id_rows: float | None
    """Share of the rows of P; None where it is not known which of them belong to the slice."""
    nats: float
    """Share of the divergence; negative where the rows make the sides more alike."""
    share_of_divergence: float
    """`nats` as a part of the divergence; 0 where there is no divergence."""
    excess: float
    """Nats beyond what its rows would have, were the total of each side shared out evenly over that side."""


def side(sample: RowSample, modality: str, tags: Tags | None) -> Side:
    """Return the sampled rows that have a modality, the first MOST_ROWS of them."""
    positions = np.flatnonzero(having(sample, modality))[:MOST_ROWS]
    return Side(sample.ids[positions].tolist(), sample.rows[modality][positions], tags)


def slices(p: Side, q: Side, *, seed: int = 0) -> dict[Kind, list[Slice]]:
    """Return every slice of RJSD of p and q, by kind, the greatest excess first. A tag of only one row would
    repeat that record, so it is left out. ValueError as `rjsd_shares`.

    A cluster (k-means over the rows of both sides) is named by its record nearest the centre and the tag that
    sets it apart; both are looked for among its rows of Q, where it has some. O(N d min(N, d)).
    """
    shares = _Shares.from_sides(p, q)
    all_rows = np.arange(len(p.ids) + len(q.ids))
    cells, names = _clusters(p, q, seed)
    records, of_record = _labels([*p.ids, *q.ids])
    tags_by_row = [
        (i, tag) for i, tags_of_row in enumerate([*p.tag_lists(), *q.tag_lists()]) for tag in tags_of_row
    ]
    tags, of_tag = _labels([tag for _, tag in tags_by_row])
    often = np.bincount(of_tag, minlength=len(tags)) > 1
    by_tag = shares.slices(
        "tag", tags, np.array([i for i, _ in tags_by_row], dtype=np.int64), of_tag, p.tags is not None
    )
    by_kind: dict[Kind, list[Slice]] = {
        "tag": [piece for piece, repeated in zip(by_tag, often, strict=True) if repeated],
        "cluster": shares.slices("cluster", names, all_rows, cells),
        "record": shares.slices("record", records, all_rows, of_record),
    }
    return {kind: sorted(pieces, key=lambda s: (-s.excess, s.name)) for kind, pieces in by_kind.items()}


def leading(by_kind: Mapping[Kind, Sequence[Slice]]) -> list[Slice]:
    """Return the slices that a report shows: the first SHOWN of each kind that have an excess; records of Q
    only."""
    shown: list[Slice] = []
    for kind, most in SHOWN.items():
        pieces = [s for s in by_kind[kind] if s.excess > _LEAST_EXCESS and (s.rows > 0 or kind != "record")]
        shown += pieces[:most]
    return shown


def moved(divergences: Mapping[str, Divergence], p_value: float) -> list[str]:
    """Return the modalities whose adjusted p-value is at most `p_value`."""
    return [
        name
        for name in ("image", "text", "response")
        if name in divergences and (p := divergences[name].p_adjusted) is not None and p <= p_value
    ]


def table(scenario: str, model: str | None, modality: str, slices: Sequence[Slice]) -> list[dict[str, Any]]:
    """Return the slices as rows of the report's table `WHERE`."""
    return [
        {
            "scenario": scenario,
            "model": model,
            "modality": modality,
            "slice": piece.kind,
            "name": piece.name,
            "rows": piece.rows,
            "share_of_rows": piece.share_of_rows,
            "share_of_id_rows": piece.share_of_id_rows,
            "share_of_divergence": piece.share_of_divergence,
            "excess": piece.excess,
        }
        for piece in slices
    ]


@dataclass(frozen=True, eq=False)
class _Shares:
    nats: Float
    """(n + m,) rows of P, then of Q"""
    n: int
    m: int

    @classmethod
    def from_sides(cls, p: Side, q: Side) -> _Shares:
        by_p, by_q = rjsd_shares(p.rows, q.rows)
        return cls(np.concatenate([by_p, by_q]), len(by_p), len(by_q))

    def slices(
        self,
        kind: Kind,
        names: Sequence[str],
        positions: NDArray[np.int64],
        label: NDArray[np.int64],
        known_of_p: bool = True,
    ) -> list[Slice]:
        """Return a slice for each name. The row at positions[i] belongs to the slice of names[label[i]]."""
        k = len(names)
        nats = np.bincount(label, self.nats[positions], k)
        of_p = np.bincount(label[positions < self.n], minlength=k) / self.n
        rows = np.bincount(label[positions >= self.n], minlength=k)
        of_q = rows / self.m
        total = float(self.nats.sum())
        excess = nats - of_p * self.nats[: self.n].sum() - of_q * self.nats[self.n :].sum()
        return [
            Slice(
                kind,
                name,
                int(rows[i]),
                float(of_q[i]),
                float(of_p[i]) if known_of_p else None,
                float(nats[i]),
                float(nats[i]) / total if total > 0 else 0.0,
                float(excess[i]),
            )
            for i, name in enumerate(names)
        ]


def _labels(names: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
    """Return the names, each once, and the place of each given name among them. np.unique is not used: it
    pads all texts to one width."""
    places: dict[str, int] = {}
    labels = np.array([places.setdefault(name, len(places)) for name in names], dtype=np.int64)
    return list(places), labels


def _clusters(p: Side, q: Side, seed: int) -> tuple[NDArray[np.int64], list[str]]:
    """(n + m,) cluster of each row, and the clusters' names; clusters without a row are left out."""
    rows, n = np.concatenate([p.rows, q.rows]), len(p.ids)
    centres = learn_codebook(rows, CLUSTERS, seed)
    used, cells = np.unique(nearest_cell(rows, centres), return_inverse=True)
    tags_p, tags_q = p.tag_lists(), q.tag_lists()
    names = []
    for i, centre in enumerate(centres[used]):
        members = np.flatnonzero(cells == i)
        of_q = members[members >= n] - n
        home, tags_of_home, rows_of_home = (q, tags_q, of_q) if len(of_q) else (p, tags_p, members)
        nearest = home.ids[
            rows_of_home[int(np.square(home.rows[rows_of_home] - centre).sum(axis=1).argmin())]
        ]
        tag = _dominant(tags_of_home, rows_of_home)
        names.append(f"near {nearest}" + (f", mostly {tag}" if tag is not None else ""))
    return cells.astype(np.int64), names


def _dominant(tags: Sequence[Sequence[str]], positions: NDArray[np.int64]) -> str | None:
    """Return the tag that at least half of the rows at `positions` have, and at least two rows, and that
    exceeds its share of all rows the most."""
    counts = Counter(tag for i in positions for tag in tags[i])
    total_counts = Counter(tag for tags_of_row in tags for tag in tags_of_row)
    beyond = {
        tag: count / len(positions) - total_counts[tag] / len(tags)
        for tag, count in counts.items()
        if 2 * count >= len(positions) and count > 1
    }
    best = max(beyond, key=lambda tag: (beyond[tag], tag), default=None)
    return best if best is not None and beyond[best] > 0 else None
