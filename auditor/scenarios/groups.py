"""This module finds which records belong together, and writes each record's group into the run's files.

Rows that share a user, a conversation or a picture are not independent of each other, so everything that
infers works on whole groups. Keys are joined by connected components: where one record shares a user with a
second and a picture with a third, all three are one group. Records of one base id are always one group, in
all scenarios together, so that a perturbed copy falls into the group of its original. Windows of traffic have
groups of their own: what one window is found to be does not depend on which others are looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from auditor.records import read_run_columns, write_run_groups
from auditor.scenarios.scenario import Scenario
from auditor.scenarios.windows import Splitter
from auditor.sketch.blocks import hash64
from schemas.config import DataConfig, GroupSource
from schemas.record import Record

Index = NDArray[np.int64]
Hashes = NDArray[np.uint64]

COMMON = 0.5
"""A picture in more than this share of a scenario's records with pictures ties none of them together, unless
`data.group_by` names pictures: a blank or a logo says nothing of what the records have in common."""
LARGE = 0.2
"""A note names a group that holds more than this share of a scenario's records."""
_COLUMNS = (
    "record_id",
    "base_id",
    "group",
    "conversation_id",
    "images.list.element.digest",
    "timestamp",
)
_WORDS = {
    "group": "the field `group` of the records",
    "conversation_id": "the field `conversation_id` of the records",
    "base_id": "base ids that several records share",
    "image": "pictures that several records share",
}
_NONE = "each record stands by itself: none names a group, and no base id and no picture is repeated"


class Grouping(NamedTuple):
    """A grouping says where the groups of a run's records were taken from."""

    source: str
    """In words."""
    notes: tuple[str, ...]
    """What a reader of the report has to know of it."""


class Keys(NamedTuple):
    """These keys of one kind tie the records of a scenario together."""

    rows: Index
    """(k,) the record that each key is of, ascending"""
    hashes: Hashes
    """(k,) 64-bit hashes of the keys"""


class Ties(NamedTuple):
    """These ties are what one scenario's records share with others."""

    base_ids: Hashes
    """(n,) 64-bit hashes of the base ids"""
    keys: dict[GroupSource, Keys]
    """group, conversation_id, image -> the records that have such keys"""
    windows: Hashes
    """(n,) a hash of the record's window, which is in all its other hashes, too; 0 where there is none"""


def group_records(scenarios: Sequence[Scenario], data: DataConfig, split: Splitter | None = None) -> Grouping:
    """Find the groups of all records of the scenarios together, and write them into the scenarios' files;
    with `split`, what cuts records into windows, those of each window by itself.

    A group is named by the first key of its first record, with its kind before it, or by that record's base
    id, as is a record with a picture that no other has. So the same user, conversation or picture mostly has
    the same name in another run. O(n) time, some tens of bytes of memory a record.
    """
    ties = [_ties(scenario, split) for scenario in scenarios]
    notes: list[str] = []
    if data.group_by == "auto":
        source = _choose(ties)
        sources: tuple[GroupSource, ...] = () if source is None else (source,)
        if source == "image":
            notes += [note for s, t in zip(scenarios, ties, strict=True) for note in _leave_out_common(s, t)]
    else:
        sources = data.group_by
    labels = components([t.base_ids for t in ties], [[t.keys[s] for s in _keyed(sources)] for t in ties])
    names: dict[int, str] = {}
    for scenario, tie, own in zip(scenarios, ties, labels, strict=True):
        write_run_groups(scenario.path, _names(scenario, tie, sources, own, names))
        notes += _large_groups(scenario, own)
    return Grouping(_NONE if not sources else " and ".join(_WORDS[s] for s in sources), tuple(notes))


def components(base_ids: Sequence[Hashes], keys: Sequence[Sequence[Keys]]) -> list[Index]:
    """Return for each scenario (n,) the component of each record: records with one base id are in the same,
    and so are records that share a key. `base_ids` and `keys` are by scenario, and keys of several kinds must
    have different hashes. Components are numbered from 0, over all scenarios."""
    sizes = [len(ids) for ids in base_ids]
    _, base = np.unique(np.concatenate([np.zeros(0, np.uint64), *base_ids]), return_inverse=True)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    rows = [start + k.rows for start, own in zip(starts, keys, strict=False) for k in own]
    hashes = [k.hashes for own in keys for k in own]
    bases = int(base.max()) + 1 if len(base) else 0
    _, key = np.unique(np.concatenate([np.zeros(0, np.uint64), *hashes]), return_inverse=True)
    nodes = bases + (int(key.max()) + 1 if len(key) else 0)
    ends = base[np.concatenate([np.zeros(0, np.int64), *rows])], bases + key
    graph = coo_array((np.ones(len(key), np.int8), ends), shape=(nodes, nodes))
    _, labels = connected_components(graph, directed=False)
    of_rows = labels[base].astype(np.int64)
    return [of_rows[a:b] for a, b in pairwise(starts.tolist())]


def _keyed(sources: Sequence[GroupSource]) -> list[GroupSource]:
    return [source for source in sources if source != "base_id"]


def _ties(scenario: Scenario, split: Splitter | None) -> Ties:
    """Read what ties a scenario's records together; one pass over a few columns."""
    base_ids: list[int] = []
    windows: list[int] = []
    rows: dict[GroupSource, list[int]] = {"group": [], "conversation_id": [], "image": []}
    hashes: dict[GroupSource, list[int]] = {"group": [], "conversation_id": [], "image": []}
    for batch in read_run_columns(scenario.path, _COLUMNS):
        for kind, keys in _keys(batch).items():
            for row, of_row in enumerate(keys, len(base_ids)):
                rows[kind] += [row] * len(of_row)
                hashes[kind] += [hash64(key, b"group") for key in of_row]
        base_ids += [hash64(base_id, b"base") for base_id in batch["base_id"].to_pylist()]
        windows += _windows(batch, split)
    of_window = np.array(windows, dtype=np.uint64)
    keyed: dict[GroupSource, Keys] = {}
    for kind, of_kind in hashes.items():
        at = np.array(rows[kind], np.int64)
        keyed[kind] = Keys(at, _within(np.array(of_kind, dtype=np.uint64), of_window[at]))
    return Ties(_within(np.array(base_ids, dtype=np.uint64), of_window), keyed, of_window)


def _windows(batch: pa.RecordBatch, split: Splitter | None) -> list[int]:
    if split is None:
        return [0] * len(batch)
    columns = (batch[name].to_pylist() for name in ("record_id", "base_id", "timestamp"))
    return [
        hash64(split(Record(i, base, timestamp=moment and moment.astimezone(UTC))).name, b"window")
        for i, base, moment in zip(*columns, strict=True)
    ]


def _within(hashes: Hashes, windows: Hashes) -> Hashes:
    """Return hashes that are the same in one window alone."""
    return hashes ^ (windows * np.uint64(0x9E3779B97F4A7C15))


def _keys(batch: pa.RecordBatch) -> dict[GroupSource, list[list[str]]]:
    """Return the keys of each kind, row by row; the kind stands before the key."""
    column = batch["images"]
    counts = pc.fill_null(pc.list_value_length(column), 0).to_pylist()
    flat = iter(pc.struct_field(pc.list_flatten(column), "digest").to_pylist())
    plain: dict[GroupSource, list[list[str | None]]] = {
        "group": [keys or [] for keys in batch["group"].to_pylist()],
        "conversation_id": [[i] for i in batch["conversation_id"].to_pylist()],
        "image": [[next(flat) for _ in range(count)] for count in counts],
    }
    return {
        kind: [[f"{kind}:{key}" for key in keys if key] for keys in of_rows]
        for kind, of_rows in plain.items()
    }


def _choose(ties: Sequence[Ties]) -> GroupSource | None:
    """Return what `auto` takes."""
    declared: tuple[GroupSource, ...] = ("group", "conversation_id")
    for source in declared:
        if any(len(t.keys[source].rows) for t in ties):
            return source
    if any(len(np.unique(t.base_ids)) < len(t.base_ids) for t in ties):
        return "base_id"
    if any(len(np.unique(t.keys["image"].hashes)) < len(t.keys["image"].hashes) for t in ties):
        return "image"
    return None


def _leave_out_common(scenario: Scenario, ties: Ties) -> Iterator[str]:
    """Take out pictures that are in most of the records, and say so."""
    rows, hashes = ties.keys["image"]
    names, of_rows = np.unique(ties.windows[np.unique(rows)], return_counts=True)
    pairs = np.unique(np.stack([rows.astype(np.uint64), hashes]), axis=1)
    values, first, counts = np.unique(pairs[1], return_index=True, return_counts=True)
    # Records with pictures in the window that the picture is in.
    pictured = of_rows[np.searchsorted(names, ties.windows[pairs[0][first].astype(np.int64)])]
    common = (counts > 1) & (counts > COMMON * pictured)
    if common.any():
        kept = ~np.isin(hashes, values[common])
        ties.keys["image"] = Keys(rows[kept], hashes[kept])
        most = int(np.argmax(np.where(common, counts, 0)))
        where = " of one window" if len(names) > 1 else ""
        yield (
            f"{scenario.name}: one picture is in {counts[most]:,} of {pictured[most]:,} records with "
            f"pictures{where}, so it does not tie them together (data.group_by: image would)"
        )


def _names(
    scenario: Scenario, ties: Ties, sources: Sequence[GroupSource], labels: Index, names: dict[int, str]
) -> list[str]:
    """Return the name of each record's group, empty where that is its base id alone. `names` (component ->
    name) grows."""
    kinds = _keyed(sources)
    if not kinds:
        return [""] * len(labels)
    known = {key for kind in kinds for key in ties.keys[kind].hashes.tolist()}
    alone = _alone(ties, labels) if kinds == ["image"] else np.zeros(len(labels), dtype=bool)
    out: list[str] = []
    for batch in read_run_columns(scenario.path, _COLUMNS):
        keys = _keys(batch)
        for row, base_id in enumerate(batch["base_id"].to_pylist()):
            at = len(out)
            label = int(labels[at])
            if label not in names:
                own = [key for kind in kinds for key in keys[kind][row]]
                marks = np.array([hash64(key, b"group") for key in own], dtype=np.uint64)
                inside = _within(marks, ties.windows[at : at + 1]).tolist()
                shared = (key for key, mark in zip(own, inside, strict=True) if mark in known)
                names[label] = base_id if alone[at] else next(shared, base_id)
            out.append(names[label] if names[label] != base_id else "")
    return out


def _alone(ties: Ties, labels: Index) -> NDArray[np.bool_]:
    """(n,) whether a record shares its group with no other base id of its scenario."""
    pairs = np.unique(np.stack([labels.astype(np.uint64), ties.base_ids]), axis=1)
    bases = np.bincount(pairs[0].astype(np.int64), minlength=int(labels.max(initial=0)) + 1)
    return np.asarray(bases[labels] == 1)


def _large_groups(scenario: Scenario, labels: Index) -> Iterator[str]:
    """Say where one group holds a large part of the records."""
    n, most = len(labels), int(np.bincount(labels).max()) if len(labels) else 0
    if most > max(1, LARGE * n):
        yield (
            f"{scenario.name}: one group holds {most:,} of {n:,} records. Whole groups are compared, so that "
            "these records tell as much as few independent ones"
        )
