"""This module tells answers that refuse, by how they begin (in English)."""

from __future__ import annotations

import re

_BEGINS = re.compile(
    r"\W*(?:"
    r"(?:i\s*(?:am|['’]m)\s+|we\s+are\s+)?(?:(?:very\s+)?sorry|unable to)\b"
    r"|(?:i|we)\s+(?:cannot|can['’]t|can not|could not|do not know|don['’]t know)\b"
    r"|(?:my )?apologies|i apologi[sz]e|as an ai\b|unanswerable\b"
    r")",
    re.IGNORECASE,
)


def refuses(text: str) -> bool:
    """Return whether a text begins as a refusal does: "I'm sorry", "I cannot", "As an AI"."""
    return _BEGINS.match(text) is not None
