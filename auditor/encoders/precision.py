"""This module chooses the arithmetic that an encoder computes with: what its device really has, within an
allowed error.

Weights stay in float32; products are made in the chosen type (autocast). A type is taken only where its error
against float32 on a probe is within `BOUND`, else float32 is: embeddings of another arithmetic than their
identity says would be compared with others as if they were the same.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from auditor.protocols import Array
from schemas.config import EncodersConfig

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

Precision = Literal["auto", "float32", "bfloat16", "float16"]
BOUND = 0.02
"""Longest difference of a unit row from its float32 one. An error of this length in every row, if it were
noise, would be 4e-4 of the trace of a second moment."""


def fast_precision(device: str) -> torch.dtype:
    """Return bfloat16 where the device has units for it (GPUs of compute capability 8 and up, CPUs with AMX),
    else float32. Instructions alone do not make it fast: on a CPU with avx512_bf16 (and without AMX) a matrix
    product ran at 83 GFLOP/s a thread, in float32 at 138."""
    import torch

    kind = torch.device(device)
    if kind.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(kind) >= (8, 0) else torch.float32
    if kind.type == "cpu":
        return torch.bfloat16 if "amx_bf16" in _cpu_flags() else torch.float32
    return torch.float32


@cache
def _cpu_flags() -> frozenset[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # no Linux
        return frozenset()
    return frozenset(next((line for line in lines if line.startswith("flags")), "").split())


def settle(
    name: str, precision: Precision, device: str, encode: Callable[[torch.dtype], Array]
) -> torch.dtype:
    """Choose the type to compute with. `encode(dtype)`: (n, d) vectors of the probe, computed in that type.

    Falls back to float32, with a warning, where the error is beyond `BOUND` or is not finite.
    """
    import torch

    dtype: torch.dtype = fast_precision(device) if precision == "auto" else getattr(torch, precision)
    if dtype is torch.float32:
        return dtype
    error = largest_error(encode(torch.float32), encode(dtype))
    if error <= BOUND:
        return dtype
    log.warning(
        "encoder %s: float32 is used, since %s is off by up to %.3g of a unit row (at most %g is allowed)",
        name,
        str(dtype).removeprefix("torch."),
        error,
        BOUND,
    )
    return torch.float32


def largest_error(exact: Array, approximate: Array) -> float:
    """Return the longest difference of unit rows (n, d); infinite where one is not finite."""
    a, b = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (exact, approximate))
    longest = float(np.linalg.norm(a.astype(np.float64) - b, axis=1).max())
    return longest if np.isfinite(longest) else float("inf")


@contextmanager
def computing(dtype: torch.dtype, device: str) -> Iterator[None]:
    """Run inference in `dtype` inside this block."""
    import torch

    kind = torch.device(device).type
    mixed = nullcontext() if dtype is torch.float32 else torch.autocast(kind, dtype=dtype)
    with torch.inference_mode(), mixed:
        yield


def precision_notes(config: EncodersConfig, identities: Mapping[str, str]) -> list[str]:
    """Return the notes for a report where an encoder computes in another arithmetic than the config asks
    for."""
    notes = []
    for modality, encoder in (("image", config.image), ("text", config.text)):
        if encoder is None or modality not in identities or encoder.precision == "auto":
            continue
        dtype = json.loads(identities[modality]).get("dtype")
        if dtype != encoder.precision:
            notes.append(
                f"encoders.{modality}.precision: {encoder.precision} is off by more than is allowed for this "
                f"encoder; {dtype} was used"
            )
    return notes
