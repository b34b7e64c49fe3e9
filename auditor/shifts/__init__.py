"""Shifts make perturbed copies of records: blur, frost, keyboard. May import the rooms up to
`generators`.

Languages, new mixes and natural pools are not made here: the lab has its own, other data comes with them. A
new shift is one file with `@shift("name", "visual")` above its function.
"""

from auditor.shifts.apply import Step, apply_shift, shifter
from auditor.shifts.registry import (
    SHIFTS,
    NamedShift,
    find_shift,
    shift,
    shift_image,
    shift_text,
    source_mark,
)

__all__ = [
    "SHIFTS",
    "NamedShift",
    "Step",
    "apply_shift",
    "find_shift",
    "shift",
    "shift_image",
    "shift_text",
    "shifter",
    "source_mark",
]
