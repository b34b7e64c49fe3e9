"""This module registers shifts by name. A new one is a file beside this (or in a package of its own) with
`@shift(...)`."""

from __future__ import annotations

import inspect
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b
from typing import Any, Literal, TypeVar

import numpy as np
from PIL import Image

from auditor.errors import BadInput
from auditor.records import decode
from auditor.registry import Registry, Settings, settings_keyword

Family = Literal["visual", "text"]
SEVERITIES = range(1, 6)

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class NamedShift:
    """An entry has a shift's function, what it perturbs, and the class of its own settings (None: it has
    none)."""

    name: str
    family: Family
    function: Callable[..., Any]
    settings: type[Settings] | None = None


SHIFTS: Registry[NamedShift] = Registry(
    "shift", "auditor.shifts.shift", "shift_auditor.shifts", "auditor.shifts"
)


def shift(name: str, family: Family, *, settings: type[Settings] | None = None) -> Callable[[F], F]:
    """Register the function below, a `Shift` of images (`visual`) or texts, under `name`.

    It is called with the content, a severity and a random generator, and with `settings` where a class of
    settings is given: the options that the config has for it, validated.
    """

    def register(function: F) -> F:
        SHIFTS.add(name, NamedShift(name, family, function, settings), function)
        return function

    return register


def find_shift(name: str, severity: int, options: Mapping[str, Any] | None = None) -> NamedShift:
    """Find the shift of a name and bind its settings to its function. Raises BadInput for an unknown name
    (the known ones are listed), severity or option."""
    entry = SHIFTS.find(name)
    if isinstance(severity, bool) or severity not in SEVERITIES:
        raise BadInput(f"shift {name}: severity is {severity!r}, must be 1 to 5")
    settings = settings_keyword(entry.settings, options or {}, f"shift {name}")
    return replace(entry, function=partial(entry.function, **settings)) if settings else entry


def source_mark(name: str) -> str:
    """Return what stands for the code of a shift: nothing for one of ours (the version of this package does),
    else a digest of the file that it was defined in, so that results of an older one are not taken for its
    own."""
    if SHIFTS.ours(name):
        return ""
    function = SHIFTS.find(name).function
    try:
        lines, _ = inspect.findsource(function)
    except (OSError, TypeError):  # typed at a prompt, or compiled
        return f"{function.__module__}.{function.__qualname__}"
    return blake2b("".join(lines).encode(), digest_size=16).hexdigest()


def shift_image(
    data: bytes, name: str, severity: int, rng: np.random.Generator, options: Mapping[str, Any] | None = None
) -> bytes:
    """Put an encoded image through a visual shift; the result is PNG. Raises RowError where it does not
    decode."""
    return image_through(find_shift(name, severity, options), data, severity, rng)


def image_through(shift: NamedShift, data: bytes, severity: int, rng: np.random.Generator) -> bytes:
    """Do what `shift_image` does, with a shift that was found before."""
    pixels = np.asarray(decode(data, None), dtype=np.float64) / 255.0
    shifted = shift.function(pixels, severity, rng)
    out = io.BytesIO()
    Image.fromarray(np.rint(shifted * 255.0).astype(np.uint8)).save(out, format="PNG", compress_level=1)
    return out.getvalue()


def shift_text(
    text: str, name: str, severity: int, rng: np.random.Generator, options: Mapping[str, Any] | None = None
) -> str:
    """Put a text through a text shift."""
    return str(find_shift(name, severity, options).function(text, severity, rng))
