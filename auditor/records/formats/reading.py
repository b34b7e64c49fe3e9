"""What a format knows beside the rows: where uploads may lie, how large they may be, and what is counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from auditor.records.coercions import Coercions
from auditor.records.limits import DEFAULT_LIMITS, Limits


@dataclass(slots=True)
class Reading:
    """A `Reading` goes with one reading of a set of files."""

    limits: Limits = DEFAULT_LIMITS
    media_root: str | Path | None = None
    """The folder that files named by rows must lie under (`data.media_root`)."""
    coercions: Coercions = field(default_factory=Coercions)
    joined: Counter[str] = field(default_factory=Counter)
    """File -> rows of it that became parts of rows that stand elsewhere."""

    def count(self, field: str, what: str, times: int = 1) -> None:
        """Count something that was read otherwise than it stands, or was not read."""
        if times:
            self.coercions[field, what] += times

    def left_out(self, why: str) -> None:
        """Count an object of a log that is no call of a model, and so no row."""
        self.coercions["row", f"left out: {why}"] += 1
