"""Shifts make perturbed copies of records: blur, frost, keyboard. May import the rooms up to
`generators`.

Languages, new mixes and natural pools are not made here: the lab has its own, other data comes with them.
"""

from auditor.shifts.apply import apply_shift
from auditor.shifts.registry import SHIFTS, NamedShift, find_shift, shift_image, shift_text

__all__ = ["SHIFTS", "NamedShift", "apply_shift", "find_shift", "shift_image", "shift_text"]
