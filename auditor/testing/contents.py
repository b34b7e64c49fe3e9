"""This module makes the contents that contracts are tried on: small pictures and texts of several lengths and
scripts."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

TEXTS = (
    "What colour is the square on the left?",
    "red",
    "How many people stand behind the counter, and what does the one with the hat hold? " * 3,
    "Was steht auf dem Schild?",
    "What colour is the circle on the right?",
    "1234567890 + 0.5 = ?",
    "Is there a dog in the picture, or is it a cat?",
)
STRANGE_TEXTS = ("", " ", "这张图片里有什么?", "\N{ZERO WIDTH SPACE}", "a" * 5_000)
"""Empty, of another script, very long: none of them may stop a job."""
NO_IMAGE = b"this is no image"


def pictures() -> list[NDArray[np.float64]]:
    """Return pictures (h, w, 3) in [0, 1]: a gradient, noise, stripes, a dark and a bright one, of different
    sizes."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[0:72, 0:96] / 95.0
    stripes = np.repeat((np.sin(30.0 * columns) > 0)[:, :, None] * 0.8 + 0.1, 3, axis=2)
    return [
        np.stack([rows, columns, 1.0 - columns], axis=2),
        rng.random((64, 64, 3)),
        stripes,
        np.clip(0.1 + 0.1 * rng.random((80, 48, 3)), 0.0, 1.0),
        np.clip(0.3 + 0.6 * stripes[:64, :64] * np.array([1.0, 0.6, 0.3]), 0.0, 1.0),
    ]


def encoded(picture: NDArray[np.float64]) -> bytes:
    """Return a picture as PNG."""
    file = io.BytesIO()
    Image.fromarray(np.rint(picture * 255.0).astype(np.uint8)).save(file, format="PNG")
    return file.getvalue()
