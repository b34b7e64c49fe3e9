"""Twelve shifts for tests of two samples: n=300/120, d=128, rows rotated at random in every repetition.

The rotation matters: kernels of coordinates (an L1 distance) profit from principal axes. Rows of a slow
spectrum (j^-1/2) about a common mean of length 1.5, and real rows: glosses of WordNet and paragraphs of
Python's manual through `minilm`, unit rows, in the first 128 principal axes of 6,000 glosses. Strengths were
set after a trial of the test as it was (three statistics), MMDAgg, MMD-FUSE and a graph of neighbours, each
shift such that one of them finds it in most samples and others do not; then they were left alone. The trial
drew from seed 1, as did the choice of statistics.

Real rows need WordNet's data files (Debian: `wordnet-base`) and the manual's pages (`python3.11-doc`).
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from _shared import scales, unit
from numpy.typing import NDArray

from auditor.sketch import Float

N, M, D = 300, 120, 128
Rng = np.random.Generator
Samples = tuple[Float, Float]
GLOSSES, PARAGRAPHS = 6_000, 1_500
_SCALES = scales(D)
_MEAN = 1.5 * unit(np.random.default_rng(0).normal(size=(1, D)))[0]


@dataclass(frozen=True)
class Texts:
    """Real rows in 128 axes."""

    glosses: Float
    """(6000, D) unit rows"""
    kinds: NDArray[np.int64]
    """(6000,) WordNet's file of each gloss: noun.animal, verb.motion, ..."""
    manual: Float
    """(1500, D) unit rows"""

    @classmethod
    def read(cls, wordnet: Path, manual: Path, kept: Path | None = None) -> Texts:
        """Embed texts, or take what was kept of it."""
        if kept is None or not kept.exists():
            arrays = _embedded(wordnet, manual)
            if kept is None:
                return cls._of(*arrays)
            np.savez(kept, gloss=arrays[0], lex=arrays[1], manual=arrays[2])
        with np.load(kept, allow_pickle=False) as file:
            return cls._of(file["gloss"], file["lex"], file["manual"])

    @classmethod
    def _of(cls, glosses: Float, kinds: NDArray[np.int64], manual: Float) -> Texts:
        rows, others = unit(glosses.astype(np.float64)), unit(manual.astype(np.float64))
        axes = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)[2][:D].T
        return cls(unit(rows @ axes), kinds, unit(others @ axes))


def _embedded(wordnet: Path, manual: Path) -> tuple[Float, NDArray[np.int64], Float]:
    from auditor.encoders import make_encoder

    rng = np.random.default_rng(0)
    entries: list[tuple[int, str]] = []
    for name in ("noun", "verb", "adj"):
        for line in (wordnet / f"data.{name}").read_text(encoding="latin-1").splitlines():
            if not line.startswith("  "):
                head, gloss = line.split("|", 1)
                entries.append((int(head.split()[1]), gloss.strip().split(";")[0]))
    paragraphs = []
    for page in sorted((manual / "library").glob("*.html")):
        for found in re.findall(r"<p>(.*?)</p>", page.read_text(encoding="utf-8"), re.DOTALL):
            text = html.unescape(re.sub(r"<[^>]+>", "", found)).replace("\n", " ").strip()
            if 40 < len(text) < 200:
                paragraphs.append(text)
    chosen = [entries[i] for i in rng.permutation(len(entries))[:GLOSSES]]
    others = [paragraphs[i] for i in rng.permutation(len(paragraphs))[:PARAGRAPHS]]
    encoder = make_encoder("minilm", "text")
    kinds = np.array([kind for kind, _ in chosen])
    return encoder.encode([text for _, text in chosen]), kinds, encoder.encode(others)


def _plain(m: int, rng: Rng) -> Float:
    return rng.normal(size=(m, D)) * _SCALES + _MEAN


def no_shift(rng: Rng) -> Samples:
    return _plain(N, rng), _plain(M, rng)


def mean_along(rng: Rng) -> Samples:
    """The mean moved by 0.2, as a row would point."""
    return _plain(N, rng), _plain(M, rng) + 0.2 * unit(rng.normal(size=(1, D)) * _SCALES)


def mean_anywhere(rng: Rng) -> Samples:
    """The mean moved by 0.14 in any direction."""
    return _plain(N, rng), _plain(M, rng) + 0.14 * unit(rng.normal(size=(1, D)))


def contamination(rng: Rng) -> Samples:
    """A tenth of the rows moved by 2.2 in one direction."""
    q, far = _plain(M, rng), 2.2 * unit(rng.normal(size=(1, D)))
    return _plain(N, rng), q + (rng.random(M) < 0.1)[:, None] * far


def wider(rng: Rng) -> Samples:
    """Half of the directions wider by 12%."""
    factors = np.where(rng.permutation(D) < D // 2, 1.12, 1.0)
    return _plain(N, rng), _MEAN + (_plain(M, rng) - _MEAN) * factors


def correlations(rng: Rng) -> Samples:
    """Neighbouring directions correlated by 0.55, variances as they were."""
    own = (_plain(M, rng) - _MEAN) / _SCALES
    own[:, 1::2] = 0.55 * own[:, 0::2] + np.sqrt(1 - 0.55**2) * own[:, 1::2]
    return _plain(N, rng), own * _SCALES + _MEAN


def tails(rng: Rng) -> Samples:
    """A common length: Student's law of 25 degrees of freedom, same covariance."""
    lengths = rng.chisquare(25, size=(M, 1)) / 23
    return _plain(N, rng), (_plain(M, rng) - _MEAN) / np.sqrt(lengths) + _MEAN


def tails_of_axes(rng: Rng) -> Samples:
    """Student's law of 4.5 degrees of freedom in each direction, same covariance."""
    own = rng.standard_t(4.5, size=(M, D)) / np.sqrt(4.5 / 2.5)
    return _plain(N, rng), own * _SCALES + _MEAN


def cluster(rng: Rng) -> Samples:
    """6% of the rows in one new cluster of 0.55 times the width."""
    q, k = _plain(M, rng), round(0.06 * M)
    q[:k] = _plain(1, rng) + 0.55 * (_plain(k, rng) - _MEAN)
    return _plain(N, rng), q


def same_moments(rng: Rng) -> Samples:
    """30 clusters with a quarter of the variance between them; mean and covariance as they were."""
    k, inside = 30, 0.75
    centres = _plain(k, rng) - _MEAN
    centres = (centres - centres.mean(axis=0)) * np.sqrt(k / (k - 1))
    own = _plain(M, rng) - _MEAN
    q = np.sqrt(1 - inside) * centres[rng.integers(k, size=M)] + np.sqrt(inside) * own + _MEAN
    return _plain(N, rng), q


def real_variance(texts: Texts, rng: Rng) -> Samples:
    """Glosses, 8 of the first 32 axes wider by 45%."""
    rows, mean = texts.glosses[rng.permutation(GLOSSES)[: N + M]], texts.glosses.mean(axis=0)
    q, at = rows[N:].copy(), rng.permutation(32)[:8]
    q[:, at] = mean[at] + 1.45 * (q[:, at] - mean[at])
    return rows[:N], unit(q)


def real_mixture(texts: Texts, rng: Rng) -> Samples:
    """A fifth of the glosses are all of one kind."""
    names, counts = np.unique(texts.kinds, return_counts=True)
    kind, order, k = rng.choice(names[counts > 150]), rng.permutation(GLOSSES), round(0.2 * M)
    chosen = order[texts.kinds[order] == kind][:k]
    rest = rng.permutation(np.setdiff1d(order, chosen))
    return texts.glosses[rest[:N]], texts.glosses[np.concatenate([rest[N : N + M - k], chosen])]


def real_foreign(texts: Texts, rng: Rng) -> Samples:
    """A fifth of the glosses replaced by paragraphs of the manual."""
    rows, k = texts.glosses[rng.permutation(GLOSSES)[: N + M]], round(0.2 * M)
    q = rows[N:].copy()
    q[:k] = texts.manual[rng.permutation(PARAGRAPHS)[:k]]
    return rows[:N], q


MADE: tuple[Callable[[Rng], Samples], ...] = (
    mean_along,
    mean_anywhere,
    contamination,
    wider,
    correlations,
    tails,
    tails_of_axes,
    cluster,
    same_moments,
)
REAL: tuple[Callable[[Texts, Rng], Samples], ...] = (real_variance, real_mixture, real_foreign)
NAMES = tuple(shift.__name__ for shift in (*MADE, *REAL))


def rotated(number: int, seed: int, repetition: int, texts: Texts | None) -> Samples:
    """Samples p (300, 128) and q (120, 128) of a shift, or of none (number -1)."""
    rng = np.random.default_rng([seed, number + 1, repetition])
    if number < 0:
        p, q = no_shift(rng)
    elif number < len(MADE):
        p, q = MADE[number](rng)
    else:
        assert texts is not None
        p, q = REAL[number - len(MADE)](texts, rng)
    rotation = np.linalg.qr(rng.normal(size=(D, D)))[0]
    return p @ rotation, q[rng.permutation(M)] @ rotation
