"""What was read otherwise than it was written is counted by field and kind, and told once a source."""

from __future__ import annotations

from collections import Counter

Coercions = Counter[tuple[str, str]]
"""(name of the field, what was done with it in a few words) -> how often, such as
`("timestamp", "read as epoch milliseconds")`. Whoever reads a value in another way than it stands counts it
here: `coercions["reference", "took the first of several"] += 1`."""
