"""This module covers images with frost after ImageNet-C (Hendrycks & Dietterich 2019). The texture is drawn
here: no pictures are shipped."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from auditor.shifts.registry import shift

WEIGHTS = ((1.0, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))
"""By severity, ImageNet-C's: weight of the image, weight of the frost."""
TINT = (0.82, 0.93, 1.0)
_CRYSTALS = 60


@shift("frost", "visual")
def frost(image: NDArray[np.float64], severity: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Cover an image (h, w, 3) in [0, 1] with frost. The same `rng` draws the same frost at every
    severity."""
    keep, cover = WEIGHTS[severity - 1]
    ice = texture(image.shape[0], image.shape[1], rng)[:, :, None] * np.array(TINT)
    return np.clip(keep * image + cover * ice, 0.0, 1.0)


def texture(height: int, width: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw a texture (height, width) in [0, 1]: bright needles along the borders of crystals, in clouds. O(h
    w log)."""
    clouds = _clouds(height, width, 1.2, rng)
    warp = np.stack([_clouds(height, width, 1.6, rng), _clouds(height, width, 1.6, rng)], axis=-1) - 0.5
    rows, columns = np.mgrid[0:height, 0:width]
    places = np.stack([rows, columns], axis=-1) / min(height, width)
    sites = rng.random((_CRYSTALS, 2)) * np.array([height, width]) / min(height, width)
    # Turned and stretched, so that the cells are long like needles.
    angle = rng.random() * np.pi
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * np.array([1.0, 2.5])
    near = cKDTree(sites @ turn).query(((places + 0.25 * warp) @ turn).reshape(-1, 2), k=2)[0]
    border = np.exp(-12.0 * (near[:, 1] - near[:, 0])).reshape(height, width)
    grain = _clouds(height, width, 0.5, rng)
    return np.clip(0.15 + 0.55 * clouds + 0.45 * border * (0.4 + grain) + 0.3 * (grain - 0.5), 0.0, 1.0)


def _clouds(height: int, width: int, slope: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw noise whose amplitude falls as frequency^-slope, spread evenly by its standard deviation over [0,
    1]."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    frequency[0, 0] = np.inf
    noise = np.fft.irfft2(
        np.fft.rfft2(rng.standard_normal((height, width))) * frequency**-slope, (height, width)
    )
    spread = noise.std() or 1.0
    return np.clip(0.5 + noise / (4.0 * spread), 0.0, 1.0)
