"""This module is the defocus blur of ImageNet-C (Hendrycks & Dietterich 2019): the image seen through an open
lens."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from auditor.shifts.registry import shift

RADII = (3.0, 4.0, 6.0, 8.0, 10.0)
"""Pixels of the disk by severity, for a shorter side of `SIDE`."""
SIDE = 224
_FINE = 8
"""The disk is drawn on a grid this much finer: a radius may be below one pixel, and edges are smooth (which
ImageNet-C gets from a small Gaussian blur of its kernel)."""


@shift("blur", "visual")
def blur(image: NDArray[np.float64], severity: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Average an image (h, w, 3) in [0, 1] over a disk; nothing is drawn. O(h w log(h w))."""
    radius = RADII[severity - 1] * min(image.shape[:2]) / SIDE
    kernel = disk(radius)
    reach = kernel.shape[0] // 2
    padded = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    return np.clip(fftconvolve(padded, kernel[:, :, None], mode="valid", axes=(0, 1)), 0.0, 1.0)


def disk(radius: float) -> NDArray[np.float64]:
    """Return (2k + 1, 2k + 1) weights: the share of each pixel that lies within `radius` of the middle,
    summing to 1."""
    reach = max(1, int(np.ceil(radius)))
    fine = (np.arange((2 * reach + 1) * _FINE) + 0.5) / _FINE - reach - 0.5
    inside = (fine[:, None] ** 2 + fine[None, :] ** 2 <= radius**2).astype(np.float64)
    kernel = inside.reshape(2 * reach + 1, _FINE, 2 * reach + 1, _FINE).mean((1, 3))
    if kernel.sum() == 0.0:  # a disk smaller than the fine grid leaves the image as it is
        kernel[reach, reach] = 1.0
    return kernel / kernel.sum()
