"""This grader compares the first number of the answer with the first one of the reference."""

from __future__ import annotations

import math
import re
from typing import Final

from pydantic import Field

from auditor.graders.references import ReferenceGrader
from auditor.graders.registry import grader
from auditor.graders.text import NUMBER_WORDS, folded
from auditor.registry import Settings

_NUMBER: Final = re.compile(
    r"(?<![a-z\d_])(?<!\d\.)[-−+]?(?:\d+(?:\.\d+)?|\.\d+)(?:e[-+]?\d+(?!\w))?|\b(?:"
    + "|".join(NUMBER_WORDS)
    + r")\b"
)


class NumberSettings(Settings):
    """These are the settings of the grader `number`."""

    tolerance: float = Field(
        0.0,
        ge=0,
        allow_inf_nan=False,
        description="Share of the reference's number that an answer may be off by (0.01: one in a hundred).",
    )


@grader("number", NumberSettings)
class Number(ReferenceGrader):
    """This grader is for counts and readings. Commas between thousands and English words to twelve are read;
    units are not."""

    name = "number"
    meaning = "the first number of the answer is the reference's"

    def __init__(self, settings: NumberSettings) -> None:
        super().__init__(settings)
        self._tolerance = settings.tolerance

    def match(self, answer: str, reference: str) -> float | None:
        """Return 1 or 0; None where the reference has no number."""
        expected = first_number(reference)
        if expected is None:
            return None
        number = first_number(answer)
        if number is None:
            return 0.0
        return float(number == expected or abs(number - expected) <= self._tolerance * abs(expected))


def first_number(text: str) -> float | None:
    """Return the first number in a text; None where there is none, or it is too large for a float."""
    match = _NUMBER.search(folded(text))
    if match is None:
        return None
    if match[0] in NUMBER_WORDS:
        return float(NUMBER_WORDS[match[0]])
    value = float(match[0].replace("−", "-"))
    return value if math.isfinite(value) else None
