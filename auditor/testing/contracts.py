"""This module holds what the contracts have in common: how a broken one is reported, and identities."""

from __future__ import annotations

import json

import numpy as np

from auditor.protocols import Array


def require(kept: bool, contract: str) -> None:
    """Raise AssertionError with the contract where it is not kept (also where Python drops `assert`)."""
    if not kept:
        raise AssertionError(contract)


def check_identity(who: str, first: str, second: str) -> None:
    """Check that an identity is canonical JSON (keys sorted) of an object, and the same whenever it is asked
    for: it is part of every cache key."""
    require(first == second, f"{who}: identity differs from one look to the next")
    try:
        identity = json.loads(first)
    except (TypeError, ValueError) as error:
        raise AssertionError(f"{who}: identity is no JSON ({error})") from None
    require(isinstance(identity, dict), f"{who}: identity is no JSON object")
    canonical = json.dumps(identity, sort_keys=True)
    require(first == canonical, f"{who}: identity is not canonical: json.dumps(..., sort_keys=True)")


def same_bits(a: Array, b: Array) -> bool:
    """Return whether two arrays are equal to the bit, NaN included."""
    return a.shape == b.shape and a.dtype == b.dtype and np.ascontiguousarray(a).tobytes() == b.tobytes()
