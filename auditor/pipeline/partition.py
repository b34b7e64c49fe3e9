"""Natural pools are cut into easy, normal and hard records by their distance from the in-distribution
records.

Vectors are read a batch at a time; what is kept of a pool's record is its distance, the hash that breaks ties
and its place (24 bytes).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from hashlib import blake2b, sha256
from itertools import product
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from auditor.neighbours.files import read_found, read_ids, write_vectors
from auditor.neighbours.index import choose_kind, merge, recall
from auditor.neighbours.partition import Centroid, split
from auditor.pipeline.embed import Embedded
from auditor.pipeline.executor import Stage
from auditor.pipeline.workers.neighbours import SearchItem, SearchSettings, SearchWorker
from auditor.pipeline.workplace import Workplace
from auditor.profiles.rows import RowKeys, embedded, row_keys, usable
from auditor.records import Quarantine, RecordWriter
from auditor.scenarios import Scenario
from auditor.sketch import Float
from auditor.sketch.blocks import hash64
from auditor.storage.embedding_store import EmbeddingStore
from auditor.storage.run_dir import RunDir, write_bytes
from auditor.storage.work_units import cut
from schemas.config import IndexConfig

LEVELS = ("easy", "normal", "hard")
QUERY_ROWS = 16_384
"""Records of a pool a unit of search."""
RECALL_ROWS = 400
"""Records of a pool that are searched exactly too, where the index is not exact."""
FARTHEST = 3
"""Records of a pool whose nearest in-distribution record is reported."""

Content = Literal["image", "text"]


class Rows(NamedTuple):
    """These records have the content that distances are taken of."""

    places: NDArray[np.int64]
    """(n,) among the scenario's records"""
    ids: list[str]
    vectors: NDArray[np.float32]
    """(n, d) unit rows"""


@dataclass(frozen=True)
class Place:
    """A place says which content of a scenario's records stands for them, and where vectors are."""

    content: Content
    identity: str
    """The identity of the embeddings: their folder's name stands for the encoder and how it was used."""
    images: EmbeddingStore | None
    texts: EmbeddingStore

    def keys(self, scenario: Scenario) -> Iterator[tuple[NDArray[np.int64], list[RowKeys]]]:
        """Yield places and keys of the usable records that have the content, in batches."""
        start = 0
        for batch in scenario.batches():
            rows = row_keys(batch, [()] * len(batch))
            usable_rows, _ = usable(rows, self.images, self.texts, scenario.name, "")
            usable_ids = {row.record_id for row in usable_rows}
            positions = [
                i for i, row in enumerate(rows) if row.record_id in usable_ids and self._has_content(row)
            ]
            if positions:
                yield (
                    np.array(positions, dtype=np.int64) + start,
                    [self._content_keys(rows[i]) for i in positions],
                )
            start += len(batch)

    def rows(self, scenario: Scenario) -> Iterator[Rows]:
        """Yield the records' vectors, in the same batches."""
        for places, keys in self.keys(scenario):
            vectors = getattr(embedded(keys, self.images, self.texts), self.content)
            present = np.einsum("ij,ij->i", vectors, vectors) > 0.5  # several images may cancel out
            ids = [row.record_id for row, is_present in zip(keys, present, strict=True) if is_present]
            yield Rows(places[present], ids, vectors[present])

    def digest(self, scenario: Scenario) -> str:
        """Return the digest of the ids and contents of these records."""
        hasher = blake2b(digest_size=16)
        for _, keys in self.keys(scenario):
            hasher.update(json.dumps([astuple(row) for row in keys]).encode())
        return hasher.hexdigest()

    def _has_content(self, row: RowKeys) -> bool:
        return bool(row.images) if self.content == "image" else row.text is not None

    def _content_keys(self, row: RowKeys) -> RowKeys:
        image = self.content == "image"
        images, text = (row.images, None) if image else ((), row.text)
        return RowKeys(row.record_id, row.base_id, row.group, images, text, None, None)


@dataclass(frozen=True)
class Distances:
    """These are the cosine distances (n,) of a pool's records, with notes for the report."""

    places: NDArray[np.int64]
    ties: NDArray[np.uint64]
    values: Float
    notes: tuple[str, ...] = ()
    """Notes of all three levels."""
    farthest: tuple[str, ...] = ()
    """Notes of the hard level alone."""


def partitioned(
    workplace: Workplace,
    scenarios: Sequence[Scenario],
    images: Embedded | None,
    texts: Embedded,
    index: IndexConfig,
    seed: int,
) -> list[Scenario]:
    """Replace each scenario that is to be partitioned by easy, normal and hard ones, by distance from the ID
    images (from the ID queries where the ID records have no images). One with no row to compare stays as it
    is."""
    if all(scenario.partition is None for scenario in scenarios):
        return list(scenarios)
    out: list[Scenario] = []
    place = _place(scenarios, images, texts)
    centroid: Centroid | None = None
    for scenario in scenarios:
        if scenario.partition is None or scenario.n < 2:
            out.append(scenario)
            continue
        if scenario.partition == "nearest":
            distances = _nearest(workplace, place, scenarios[0], scenario, index, seed)
        else:
            centroid = centroid or _centroid(place, scenarios[0])
            distances = _mean(place, centroid, scenario)
        if not len(distances.places):
            out.append(scenario)
            continue
        halves = split(distances.values, distances.ties)
        for level in LEVELS:
            chosen = np.zeros(scenario.n, dtype=bool)
            chosen[distances.places[getattr(halves, level)]] = True
            notes = distances.notes + (distances.farthest if level == "hard" else ())
            out.append(_subset(workplace.run, scenario, f"{scenario.name}-{level}", chosen, notes))
    return out


def _place(scenarios: Sequence[Scenario], images: Embedded | None, texts: Embedded) -> Place:
    with_images = images is not None and any(
        record.images for batch in scenarios[0].batches() for record in batch
    )
    return Place(
        "image" if with_images else "text",
        (images if images is not None and with_images else texts).folder.name,
        images.open() if images is not None else None,
        texts.open(),
    )


def _centroid(place: Place, first: Scenario) -> Centroid:
    centroid = Centroid()
    for rows in place.rows(first):
        centroid.add(rows.vectors)
    return centroid


def _mean(place: Place, centroid: Centroid, pool: Scenario) -> Distances:
    """Return the mean cosine distances to all ID records; of no record where there are none."""
    places, ties, values = [np.zeros(0, np.int64)], [np.zeros(0, np.uint64)], [np.zeros(0)]
    for rows in place.rows(pool) if centroid.n else ():
        places.append(rows.places)
        ties.append(_ties(rows.ids))
        values.append(centroid.distances(rows.vectors))
    return Distances(np.concatenate(places), np.concatenate(ties), np.concatenate(values))


def _ties(ids: Iterable[str]) -> NDArray[np.uint64]:
    return np.array([hash64(i, b"partition") for i in ids], dtype=np.uint64)


def _subset(
    run: RunDir, scenario: Scenario, name: str, chosen: NDArray[np.bool_], notes: tuple[str, ...]
) -> Scenario:
    path, place = run.records(name), 0
    with RecordWriter(path) as writer:
        for batch in scenario.batches():
            for record in batch:
                if chosen[place]:
                    writer.write(record)
                place += 1
    Quarantine().write(path.with_name(f"{path.stem}.quarantine.parquet"))
    return replace(scenario, name=name, path=path, n=writer.count, partition=None, notes=notes)


# Distance to the k-th nearest ID record: the one thing here that needs every ID row.


class Nearest(NamedTuple):
    """This is kept of a search, in the order of the pool's located records."""

    values: Float
    """(n,) cosine distance to the k-th nearest"""
    kind: str
    searched: int
    """ID records."""
    recall: float | None
    sampled: int
    farthest: list[tuple[str, float, str]]
    """Record, its distance to the nearest ID record, and which that is; the farthest first."""


def _nearest(
    workplace: Workplace, place: Place, first: Scenario, pool: Scenario, config: IndexConfig, seed: int
) -> Distances:
    located = [(rows.places, _ties(rows.ids)) for rows in place.rows(pool)]
    places = np.concatenate([np.zeros(0, np.int64), *(p for p, _ in located)])
    ties = np.concatenate([np.zeros(0, np.uint64), *(t for _, t in located)])
    if not len(places) or not any(len(rows.ids) for rows in place.rows(first)):
        return Distances(places[:0], ties[:0], np.zeros(0))
    identity = json.dumps(
        {
            "content": place.content,
            "embeddings": place.identity,
            "rows": place.digest(first),
            "queries": place.digest(pool),
            "index": config.model_dump(),
            "seed": seed,
        },
        sort_keys=True,
    )
    folder = workplace.run.neighbours(identity)
    values, rest = folder / "nearest.f64", folder / "nearest.json"
    if not rest.exists():
        nearest = _search(workplace, folder, place, first, pool, config, seed, identity)
        write_bytes(values, nearest.values.tobytes())
        write_bytes(rest, json.dumps(nearest._asdict() | {"values": None}).encode())
        for used in folder.glob("*.npz"):  # as large as the embeddings, and made again from them
            used.unlink()
    stored = json.loads(rest.read_text(encoding="utf-8"))
    nearest = Nearest(**stored | {"values": np.frombuffer(values.read_bytes(), dtype=np.float64)})
    return Distances(places, ties, nearest.values, *_notes(pool.name, nearest, config.neighbour))


def _search(
    workplace: Workplace,
    folder: Path,
    place: Place,
    first: Scenario,
    pool: Scenario,
    config: IndexConfig,
    seed: int,
    identity: str,
) -> Nearest:
    rows, n = _write_blocks(folder, "id", place.rows(first), config.shard_rows)
    queries, m = _write_blocks(folder, "pool", place.rows(pool), QUERY_ROWS)
    kind = choose_kind(n, m, config.kind)
    samples = _samples(m, seed) if kind == "ivf" else [()] * len(queries)
    items = [
        SearchItem(sha256(f"{r.name} {q.name}".encode()).hexdigest(), r, q, sample)
        for r, (q, sample) in product(rows, zip(queries, samples, strict=True))
    ]
    shards = cut(items, 1, identity)
    with workplace.executor.staff(Stage(f"nearest records of {pool.name}", config.gpus)) as staff:
        staff.run(
            SearchWorker,
            SearchSettings(folder, config.neighbour, kind, config.probe, seed),
            shards,
            done={path.stem for path in folder.glob("*.npz")},
        )
    values: list[Float] = []
    sampled: list[Float] = [np.zeros((0, 1))]
    exact: list[Float] = [np.zeros((0, 1))]
    far: list[tuple[str, float, str]] = []
    for block, path in enumerate(queries):
        parts = [read_found(folder / f"{shard.name}.npz") for shard in shards[block :: len(queries)]]
        near = merge([part.neighbours for part in parts], config.neighbour)
        values.append(np.square(near.distance[:, -1]) / 2)
        if len(sample := parts[0].sample):
            sampled.append(near.distance[sample])
            distances = np.concatenate([part.exact for part in parts], axis=1)
            exact.append(np.sort(distances, axis=1)[:, : config.neighbour])
        ids = read_ids(path)
        nearest = np.square(near.distance[:, 0]) / 2
        outermost = np.lexsort((ids, -nearest))[:FARTHEST]
        far += [(str(ids[i]), float(nearest[i]), str(near.ids[i, 0])) for i in outermost]
    count = sum(map(len, sampled))
    return Nearest(
        np.concatenate(values),
        kind,
        n,
        recall(np.concatenate(sampled[1:]), np.concatenate(exact[1:])) if count else None,
        count,
        sorted(far, key=lambda record: (-record[1], record[0]))[:FARTHEST],
    )


def _write_blocks(folder: Path, name: str, batches: Iterable[Rows], size: int) -> tuple[list[Path], int]:
    """Write files of `size` rows each (the last of fewer), and return them in order with the number of rows.
    A file that exists already is left as it is: the folder stands for these very rows."""
    paths: list[Path] = []
    ids: list[str] = []
    vectors: list[NDArray[np.float32]] = []
    total = 0

    def write(count: int) -> None:
        nonlocal ids, vectors
        path, whole = folder / f"{name}-{len(paths):06d}.npz", np.concatenate(vectors)
        if not path.exists():
            write_vectors(path, ids[:count], whole[:count])
        paths.append(path)
        ids, vectors = ids[count:], [whole[count:]]

    for rows in batches:
        ids += rows.ids
        vectors.append(rows.vectors)
        total += len(rows.ids)
        while len(ids) >= size:
            write(size)
    if ids:
        write(len(ids))
    return paths, total


def _samples(queries: int, seed: int) -> list[tuple[int, ...]]:
    """Return, for each block of queries, those that are searched exactly too: a seeded sample of them all."""
    chosen = np.random.default_rng(seed).choice(queries, min(RECALL_ROWS, queries), replace=False)
    chosen.sort()
    return [
        tuple((chosen[(chosen >= start) & (chosen < start + QUERY_ROWS)] - start).tolist())
        for start in range(0, queries, QUERY_ROWS)
    ]


def _notes(pool: str, nearest: Nearest, k: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    how = "exact search"
    if nearest.recall is not None:
        how = f"IVF index, recall {nearest.recall:.3f} on {nearest.sampled} of them"
    which = "the nearest" if k == 1 else f"neighbour {k}"
    split_by = (
        f"{pool} is split by cosine distance to {which} of {nearest.searched:,} in-distribution records"
    )
    far = "; ".join(
        f"{record} at {distance:.3f} (from {neighbour})" for record, distance, neighbour in nearest.farthest
    )
    return (f"{split_by} ({how})",), (
        f"farthest of {pool} from their nearest in-distribution records: {far}",
    )
