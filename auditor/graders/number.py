"""Numbers: the first one of the answer against the first one of the reference."""

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
    """Settings of the grader `number`."""

    tolerance: float = Field(
        0.0,
        ge=0,
        allow_inf_nan=False,
        description="Share of the reference's number that an answer may be off by (0.01: one in a hundred).",
    )


@grader("number", NumberSettings)
class Number(ReferenceGrader):
    """For counts and readings. Commas between thousands and English words to twelve are read; units are
    not."""

    name = "number"
    meaning = "the first number of the answer is the reference's"

    def __init__(self, settings: NumberSettings) -> None:
        super().__init__(settings)
        self._tolerance = settings.tolerance

    def match(self, answer: str, reference: str) -> float | None:
        """1 or 0; None where the reference has no number."""
        right = first_number(reference)
        if right is None:
            return None
        said = first_number(answer)
        if said is None:
            return 0.0
        return float(said == right or abs(said - right) <= self._tolerance * abs(right))


def first_number(text: str) -> float | None:
    """The first number in a text; None where there is none, or it is too large for a float."""
    found = _NUMBER.search(folded(text))
    if found is None:
        return None
    if found[0] in NUMBER_WORDS:
        return float(NUMBER_WORDS[found[0]])
    value = float(found[0].replace("−", "-"))
    return value if math.isfinite(value) else None
