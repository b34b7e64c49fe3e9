"""Rows of a small law that tests of measures share, and their profiles."""

from __future__ import annotations

import numpy as np
import pytest

from auditor.estimators import CLUB
from auditor.profiles.profile import Profile
from auditor.profiles.row_sums import sketch_rows
from auditor.profiles.rows import Rows, joined
from auditor.storage.embedding_store import normalise

D = 16


def rows(n: int, seed: int, *, move: float = 0.0, base: str = "r", images: bool = True) -> Rows:
    """Rows whose answers follow their queries; `move` shifts the text."""
    rng = np.random.default_rng(seed)

    def unit(z: np.ndarray) -> np.ndarray:
        return normalise(z).rows

    text = unit(rng.normal(size=(n, D)) + move)
    image = unit(rng.normal(size=(n, D))) if images else np.zeros((n, 0), np.float32)
    has_image = np.full(n, images)
    everywhere = np.ones(n, dtype=bool)
    return Rows(
        tuple(f"{base}-{seed}-{i}" for i in range(n)),
        *[tuple(f"{base}-{i}" for i in range(n))] * 2,
        image,
        text,
        joined(image, text, has_image, everywhere),
        unit(text + 0.5 * rng.normal(size=(n, D))),
        unit(text + 0.1 * rng.normal(size=(n, D))),
        {"image": has_image, "text": everywhere, "response": everywhere, "reference": everywhere},
    )


@pytest.fixture(scope="session")
def critic() -> CLUB:
    """Of rows of that law."""
    pool = rows(400, 9)
    return CLUB(hidden=16, steps=60, batch=128).fit(pool.x, pool.reference)


def profiled(of: Rows, critic: CLUB | None = None, sample: int = 500) -> Profile:
    """Of all rows, `sample` of them kept."""
    return sketch_rows(of, np.ones((len(of), 4), np.float32), [] if critic is None else [critic], sample)
