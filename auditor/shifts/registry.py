"""Shifts by name. A new one is a file beside this and a line in `SHIFTS`."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from auditor.errors import BadInput
from auditor.protocols import Shift
from auditor.records import decode
from auditor.shifts.blur import blur
from auditor.shifts.frost import frost
from auditor.shifts.keyboard import keyboard

Family = Literal["visual", "text"]
SEVERITIES = range(1, 6)


@dataclass(frozen=True, slots=True)
class NamedShift:
    """A shift and what it perturbs."""

    name: str
    family: Family
    function: Shift


SHIFTS = {
    shift.name: shift
    for shift in (
        NamedShift("blur", "visual", blur),
        NamedShift("frost", "visual", frost),
        NamedShift("keyboard", "text", keyboard),
    )
}


def find_shift(name: str, severity: int) -> NamedShift:
    """The shift of a name. Raises BadInput for an unknown name (the known ones are listed) or severity."""
    if name not in SHIFTS:
        raise BadInput(f"unknown shift {name!r}; known: {', '.join(SHIFTS)}")
    if isinstance(severity, bool) or severity not in SEVERITIES:
        raise BadInput(f"shift {name}: severity is {severity!r}, must be 1 to 5")
    return SHIFTS[name]


def shift_image(data: bytes, name: str, severity: int, rng: np.random.Generator) -> bytes:
    """Encoded image in, PNG out, through a visual shift. Raises RowError where it does not decode."""
    shift = find_shift(name, severity)
    pixels = np.asarray(decode(data), dtype=np.float64) / 255.0
    shifted = shift.function(pixels, severity, rng)
    out = io.BytesIO()
    Image.fromarray(np.rint(shifted * 255.0).astype(np.uint8)).save(out, format="PNG", compress_level=1)
    return out.getvalue()


def shift_text(text: str, name: str, severity: int, rng: np.random.Generator) -> str:
    """A text through a text shift."""
    return str(find_shift(name, severity).function(text, severity, rng))
