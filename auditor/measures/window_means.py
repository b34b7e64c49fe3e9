"""What is kept of a window to say how far it lies from others: a few mean embeddings a modality.

They are made of the window's row sample by one map for all windows of a baseline and all that are compared
with it: rows are whitened by how rows vary within the baseline's windows, brought to length 1, and taken as
they are (a moved mean) and as products of their coordinates (moved second moments; of an image with its text,
how the two go together), sketched. Some thousand numbers a window, whatever its rows are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditor.divergences.joint import tensor_sketch
from auditor.profiles.profile import Profile, having
from auditor.significance.variation import MeanEmbeddings, mean_embedding
from auditor.sketch import Float
from auditor.storage.npz import opened, write_arrays

FORMAT = 1
SINGLE = ("image", "text", "response")
"""Modalities whose rows are whitened; joint is made of image and text."""
KERNELS = (*(f"{name}.{power}" for name in SINGLE for power in ("mean", "products")), "joint.products")
"""Modality and what of its rows is averaged."""
CELLS = 256
"""Coordinates that products are sketched in."""
MOST_ROWS = 2_000
"""Sampled rows of a window that are used: more would add little, and windows compare best at like sizes."""
_SKETCH_SEED = 0


@dataclass(frozen=True, eq=False)
class Whitening:
    """Rows of one modality are centred, and brought to one variance in all directions that have some."""

    centre: Float
    """(d,)"""
    factor: Float
    """(d, d)"""

    @classmethod
    def of(cls, centre: Float, covariance: Float) -> Whitening | None:
        """Return the whitening by a covariance (d, d) with its mean eigenvalue added to all; None where it is
        zero to rounding. O(d³)"""
        d = len(centre)
        ridge = float(np.trace(covariance)) / d
        if not ridge > 1e-12 * float(centre @ centre) / d:
            return None
        values, vectors = np.linalg.eigh(covariance)
        scaled = vectors / np.sqrt(np.maximum(values, 0.0) + ridge)
        return cls(centre, scaled @ vectors.T)

    def rows(self, z: NDArray[np.floating[Any]]) -> Float:
        """Return rows (n, d), whitened and of length 1, so that no single row weighs much; a row at the
        centre is 0."""
        moved = (z.astype(np.float64) - self.centre) @ self.factor
        lengths = np.linalg.norm(moved, axis=1, keepdims=True)
        return np.asarray(np.divide(moved, lengths, out=np.zeros_like(moved), where=lengths > 0))


@dataclass
class _Sums:
    """Sums over windows of one modality."""

    windows: int
    means: Float
    """(d,) sum of the windows' means"""
    freedom: int
    scatter: Float
    """(d, d) sum of the squares about each window's own mean"""


class Scatter:
    """`Scatter` adds up how rows vary within windows, a window after the other, in O(d²) memory. How windows
    differ is not in it: a direction in which the baseline's windows happen to differ is not made small."""

    def __init__(self) -> None:
        self._sums: dict[str, _Sums] = {}

    def add(self, window: Profile) -> None:
        """Add a window's rows of each modality."""
        for name in SINGLE:
            sketch = window.sketches.get(name)
            if sketch is None or sketch.n < 2:
                continue
            within = sketch.S - np.outer(sketch.s, sketch.s) / sketch.n
            sums = self._sums.setdefault(name, _Sums(0, np.zeros(sketch.dim), 0, np.zeros_like(within)))
            sums.windows += 1
            sums.means += sketch.mean
            sums.freedom += sketch.n - 1
            sums.scatter += within

    def embedding_map(self) -> EmbeddingMap:
        """Return the map that these windows give."""
        found = {
            name: Whitening.of(sums.means / sums.windows, sums.scatter / sums.freedom)
            for name, sums in self._sums.items()
        }
        return EmbeddingMap({name: whitening for name, whitening in found.items() if whitening is not None})


@dataclass(frozen=True, eq=False)
class WindowMeans:
    """The mean embeddings of one window."""

    means: Mapping[str, Float] = field(default_factory=dict)
    """Kernel -> (r,)"""
    noise: Mapping[str, float] = field(default_factory=dict)
    """Kernel -> its expected squared error for few rows; a kernel without one is left out"""
    n: int = 0
    """Usable rows of the window."""

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return plain arrays, for npz (never pickle)."""
        arrays = {f"mean.{name}": mean for name, mean in self.means.items()}
        return (
            arrays
            | {f"noise.{name}": np.array(v) for name, v in self.noise.items()}
            | {"n": np.array(self.n)}
        )

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> WindowMeans:
        """Read what `to_arrays` gave. ValueError or KeyError where it is not that."""
        names = [name for name in KERNELS if f"mean.{name}" in arrays]
        means = {name: np.asarray(arrays[f"mean.{name}"], dtype=np.float64) for name in names}
        noise = {name: float(arrays[f"noise.{name}"]) for name in names}
        if not all(np.isfinite(mean).all() and mean.ndim == 1 for mean in means.values()):
            raise ValueError("not the means of a window: a number is not finite")
        if not all(np.isfinite(value) and value >= 0 for value in noise.values()):
            raise ValueError("not the means of a window: a noise is no number of at least 0")
        return cls(means, noise, int(arrays["n"]))


@dataclass(frozen=True, eq=False)
class EmbeddingMap:
    """The map makes windows' mean embeddings, the same for all that are to be compared."""

    whitenings: Mapping[str, Whitening]

    def of(self, window: Profile) -> WindowMeans:
        """Return the mean embeddings of a window, of at most MOST_ROWS rows of its sample. O(n d²)

        Rows of one group are taken to belong together. ValueError where dimensions differ from the map's.
        """
        means: dict[str, Float] = {}
        noise: dict[str, float] = {}

        sample = window.sample
        groups = np.unique(sample.groups[:MOST_ROWS], return_inverse=True)[1].astype(np.int64)

        def add(name: str, features: Float, has: NDArray[np.bool_]) -> None:
            mean, error = mean_embedding(features, groups[has])
            if np.isfinite(error):
                means[name], noise[name] = mean, error

        rows: dict[str, Float] = {}
        for name, whitening in self.whitenings.items():
            if name not in sample.rows:
                continue
            has = having(sample, name)[:MOST_ROWS]
            z = sample.rows[name][:MOST_ROWS]
            if z.shape[1] != len(whitening.centre):
                raise ValueError(
                    f"{name}: rows of {z.shape[1]} numbers, the map is of {len(whitening.centre)}"
                )
            rows[name] = np.zeros(z.shape)
            rows[name][has] = whitening.rows(z[has])
            add(f"{name}.mean", rows[name][has], has)
            if has.any():
                products = tensor_sketch(rows[name][has], rows[name][has], CELLS, _SKETCH_SEED)
                add(f"{name}.products", products, has)
        if "image" in rows and "text" in rows:
            has = having(sample, "image", "text")[:MOST_ROWS]
            if has.any():
                pairs = tensor_sketch(rows["image"][has], rows["text"][has], CELLS, _SKETCH_SEED)
                add("joint.products", pairs, has)
        return WindowMeans(means, noise, window.n)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return plain arrays, for npz (never pickle)."""
        return {
            f"map.{name}.{key}": np.asarray(array, dtype=np.float32)
            for name, whitening in self.whitenings.items()
            for key, array in (("centre", whitening.centre), ("factor", whitening.factor))
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> EmbeddingMap:
        """Read what `to_arrays` gave. ValueError or KeyError where it is not that."""
        whitenings = {}
        for name in SINGLE:
            if f"map.{name}.centre" not in arrays:
                continue
            centre, factor = (
                np.asarray(arrays[f"map.{name}.{key}"], dtype=np.float64) for key in ("centre", "factor")
            )
            if factor.shape != (len(centre),) * 2 or not (
                np.isfinite(centre).all() and np.isfinite(factor).all()
            ):
                raise ValueError(f"map.{name}: no finite map of rows")
            whitenings[name] = Whitening(centre, factor)
        return cls(whitenings)


@dataclass(frozen=True, eq=False)
class BaselineWindows:
    """The windows of a baseline: how each of them looks, and the map that others are looked at by."""

    embedding_map: EmbeddingMap
    names: tuple[str, ...]
    windows: tuple[WindowMeans, ...]

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return plain arrays, for npz (never pickle)."""
        arrays: dict[str, NDArray[Any]] = {
            "format": np.array(FORMAT),
            "names": np.array(self.names, dtype=np.str_),
            **self.embedding_map.to_arrays(),
        }
        return arrays | {
            f"{i}.{key}": array
            for i, window in enumerate(self.windows)
            for key, array in window.to_arrays().items()
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> BaselineWindows:
        """Read what `to_arrays` gave. ValueError or KeyError where it is not that."""
        if int(arrays["format"]) != FORMAT:
            raise ValueError(f"windows of format {int(arrays['format'])}, this program reads {FORMAT}")
        names = tuple(np.asarray(arrays["names"], dtype=np.str_).tolist())
        parts: list[dict[str, NDArray[Any]]] = [{} for _ in names]
        for key, array in arrays.items():
            number, _, name = key.partition(".")
            if number.isdecimal():
                if int(number) >= len(names):
                    raise ValueError(f"{key}: there are {len(names)} windows")
                parts[int(number)][name] = array
        return cls(EmbeddingMap.from_arrays(arrays), names, tuple(map(WindowMeans.from_arrays, parts)))


def together(windows: Sequence[WindowMeans]) -> dict[str, MeanEmbeddings]:
    """Return kernel -> the mean embeddings of windows (N, r), of the kernels that any of them has. ValueError
    where their dimensions differ."""
    found = {}
    for name in KERNELS:
        sizes = {len(window.means[name]) for window in windows if name in window.means}
        if not sizes:
            continue
        if len(sizes) > 1:
            raise ValueError(f"{name}: windows of different dimensions")
        nothing = np.zeros(sizes.pop())
        found[name] = MeanEmbeddings(
            np.array([window.means.get(name, nothing) for window in windows]),
            np.array([window.noise.get(name, np.nan) for window in windows]),
        )
    return found


# As files.


def write_window(path: Path, window: WindowMeans) -> None:
    """Write the means of a window whole."""
    write_arrays(path, window.to_arrays())


def read_window(path: Path) -> WindowMeans:
    """Read what `write_window` wrote. Raises `AuditError` where the file is none."""
    with opened(path) as file:
        return WindowMeans.from_arrays(dict(file))


def read_map(path: Path) -> EmbeddingMap:
    """Read the map in a file of `EmbeddingMap` or `BaselineWindows`. Raises `AuditError` where it is none."""
    with opened(path) as file:
        return EmbeddingMap.from_arrays({name: file[name] for name in file.files if name.startswith("map.")})


def read_windows(path: Path) -> BaselineWindows:
    """Read the windows of a baseline. Raises `AuditError` where the file holds none."""
    with opened(path) as file:
        return BaselineWindows.from_arrays(dict(file))
