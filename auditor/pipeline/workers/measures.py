"""Measures are units of work: one divergence, one group compared with the reference data, or the slices of
one divergence. Each leaves a small JSON file."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from auditor.attribution.slices import leading, side, slices, table
from auditor.attribution.what_moved import TagSource, tags_of
from auditor.estimators.crossfit import CrossFitted
from auditor.measures.assessment import (
    Assessment,
    Current,
    Reference,
    Settings,
    assess,
    assess_reference,
    nothing,
    write_assessment,
)
from auditor.measures.dependence import dependence
from auditor.measures.divergences import Measured, divergence, read_measured, write_measured
from auditor.measures.families import DEPENDENCES, MODALITIES, by_modality
from auditor.measures.reference import Fitted
from auditor.measures.window_means import read_map, write_window
from auditor.pipeline.executor import ShardResult
from auditor.profiles.profile import Profile, folded
from auditor.storage.npz import opened
from auditor.storage.run_dir import write_bytes
from auditor.storage.work_units import Shard

Files = tuple[Path, ...]
"""Files whose profiles, merged in this order, are a group's."""


class _Profiles:
    """The last profiles of P and of Q are held here: items come a Q after the other."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[Files, Profile]] = {}

    def get(self, side: str, files: Files) -> Profile:
        if side not in self._held or self._held[side][0] != files:
            self._held.pop(side, None)  # the old one goes before the new one comes
            self._held[side] = files, folded(files)
        return self._held[side][1]


@dataclass(frozen=True, slots=True)
class DivergenceItem:
    """This is one divergence to measure, of the rows that lie in files."""

    key: str
    p: Files
    q: Files
    modality: str
    seed: int


@dataclass(frozen=True)
class DivergenceSettings:
    """A `DivergenceWorker` is made from these settings, which are pickled to its process."""

    folder: Path
    """Where results go: `<shard>.json`."""
    level: float
    threads: int
    fitted: Path | None = None
    """What was fitted on P, where all divergences are from the same P."""


class DivergenceWorker:
    """This worker measures one divergence after the other."""

    def __init__(self, settings: DivergenceSettings) -> None:
        self._settings, self._profiles = settings, _Profiles()
        self._fitted: Fitted | None = None

    def run(self, shard: Shard[DivergenceItem]) -> ShardResult:
        began = time.monotonic()
        (item,) = shard.items
        write_measured(self._settings.folder / f"{shard.name}.json", self._measured(item))
        return ShardResult(shard.name, 1, 0, time.monotonic() - began)

    def _measured(self, item: DivergenceItem) -> Measured:
        p, q = self._profiles.get("p", item.p), self._profiles.get("q", item.q)
        if not p.n or not q.n:
            return Measured(None, "no usable row")
        with threadpool_limits(self._settings.threads):  # sums of another number of threads have other bits
            if self._settings.fitted is not None and self._fitted is None:
                self._fitted = read_fitted(self._settings.fitted, p)
            fit = None if self._fitted is None else self._fitted.divergences
            if item.modality in DEPENDENCES:
                return dependence(p, q, item.modality, seed=item.seed, reference=fit)
            return divergence(p, q, item.modality, seed=item.seed, level=self._settings.level, reference=fit)


@dataclass(frozen=True, slots=True)
class AssessmentItem:
    """This is a group to be compared with its reference rows."""

    key: str
    scenario: str
    p: Files
    q: Files | None
    """None: P itself."""
    divergences: Files
    """One a modality, in the order of MODALITIES, as a `DivergenceWorker` leaves them."""
    seed: int
    seed_of_inputs: int
    temperature: float | None
    """The temperature at which the model's answers were drawn; None where they were recorded."""


@dataclass(frozen=True)
class AssessmentSettings:
    """An `AssessmentWorker` is made from these settings, which are pickled to its process."""

    folder: Path
    """Where results go: `<shard>.json`."""
    critics: tuple[Files, ...]
    """The files of each critic, one or one a fold."""
    codebook: Path | None
    """The codebook of answers and correct answers; None where there are none."""
    settings: Settings
    threads: int
    fitted: Path | None = None
    """What was fitted on P, where all groups have the same P."""


class AssessmentWorker:
    """This worker assesses one group after the other. What is made of P alone is made once for all groups
    that follow."""

    def __init__(self, settings: AssessmentSettings) -> None:
        self._settings, self._profiles = settings, _Profiles()
        self._critics = tuple(CrossFitted.load(paths) for paths in settings.critics)
        self._codebook = None if settings.codebook is None else read_codebook(settings.codebook)
        self._reference: tuple[Files, Reference] | None = None

    def run(self, shard: Shard[AssessmentItem]) -> ShardResult:
        began = time.monotonic()
        (item,) = shard.items
        with threadpool_limits(self._settings.threads):
            assessment = self._assessed(item)
        write_assessment(self._settings.folder / f"{shard.name}.json", assessment)
        return ShardResult(shard.name, 1, 0, time.monotonic() - began)

    def _assessed(self, item: AssessmentItem) -> Assessment:
        p = self._profiles.get("p", item.p)
        q = p if item.q is None else self._profiles.get("q", item.q)
        if not p.n or not q.n:
            return nothing(q, MODALITIES)
        if self._reference is None or self._reference[0] != item.p:
            path = self._settings.fitted
            fitted = None if path is None else read_fitted(path, p)
            self._reference = item.p, Reference.of(p, self._critics, self._codebook, fitted)
        reference, settings = self._reference[1], self._settings.settings
        if item.q is None:
            return assess_reference(reference, settings, seed=item.seed)
        measured = dict(zip(MODALITIES, map(read_measured, item.divergences), strict=True))
        current = Current(q, by_modality(measured), item.temperature, item.scenario)
        return assess(reference, current, settings, seed=item.seed, seed_of_inputs=item.seed_of_inputs)


@dataclass(frozen=True, slots=True)
class WindowItem:
    """This is a window whose mean embeddings are wanted."""

    key: str
    rows: Files


@dataclass(frozen=True)
class WindowSettings:
    """A `WindowWorker` is made from these settings, which are pickled to its process."""

    folder: Path
    """Where results go: `<shard>.npz`."""
    embedding_map: Path
    """The file of the map, or of the baseline's windows that holds it."""
    threads: int


class WindowWorker:
    """This worker makes the mean embeddings of one window after the other."""

    def __init__(self, settings: WindowSettings) -> None:
        self._settings, self._map = settings, read_map(settings.embedding_map)

    def run(self, shard: Shard[WindowItem]) -> ShardResult:
        began = time.monotonic()
        (item,) = shard.items
        with threadpool_limits(self._settings.threads):
            means = self._map.of(folded(item.rows))
        write_window(self._settings.folder / f"{shard.name}.npz", means)
        return ShardResult(shard.name, 1, 0, time.monotonic() - began)


def read_fitted(path: Path, p: Profile) -> Fitted:
    """Return what was fitted on P. Raises `AuditError` where the file is none, or of another P."""
    with opened(path) as file:
        return Fitted.from_arrays(dict(file), p)


def read_codebook(path: Path) -> NDArray[np.float32]:
    """Return the centroids (K, d). Raises `AuditError` where the file is none."""
    with opened(path) as file:
        return np.asarray(file["codebook"], dtype=np.float32)


@dataclass(frozen=True, slots=True)
class SlicesItem:
    """This is one divergence whose slices are wanted."""

    key: str
    scenario: str
    model: str | None
    modality: str
    p: Files
    q: Files
    tags_p: TagSource | None
    """None where they are not known (a baseline keeps none)."""
    tags_q: TagSource
    seed: int


@dataclass(frozen=True)
class SlicesSettings:
    """A `SlicesWorker` is made from these settings, which are pickled to its process."""

    folder: Path
    """Where results go: `<shard>.json`."""
    threads: int


class SlicesWorker:
    """This worker finds the slices of one divergence after the other."""

    def __init__(self, settings: SlicesSettings) -> None:
        self._settings, self._profiles = settings, _Profiles()

    def run(self, shard: Shard[SlicesItem]) -> ShardResult:
        began = time.monotonic()
        (item,) = shard.items
        p, q = self._profiles.get("p", item.p).sample, self._profiles.get("q", item.q).sample
        tags_p = None if item.tags_p is None else tags_of(item.tags_p, set(p.ids.tolist()))
        tags_q = tags_of(item.tags_q, set(q.ids.tolist()))
        with threadpool_limits(self._settings.threads):
            parts = slices(side(p, item.modality, tags_p), side(q, item.modality, tags_q), seed=item.seed)
        lines = table(item.scenario, item.model, item.modality, leading(parts))
        write_bytes(self._settings.folder / f"{shard.name}.json", json.dumps(lines).encode())
        return ShardResult(shard.name, 1, 0, time.monotonic() - began)
