"""What a group of rows holds, in counts: how many rows have an image, a query, an answer; how many of these
are one and the same; and marks by which rows are known again in another group.

Counts of rows are of all rows that were admitted. What needs the contents themselves is taken from the row
sample, whose vectors are equal where contents are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from auditor.profiles.profile import CONTENTS, Profile, having
from auditor.profiles.rows import SCRIPT
from auditor.significance.design_effect import effective_rows, effective_scores
from auditor.sketch import RowSample

NAMES = {"image": "image", "query": "text", "answer": "response", "reference": "reference"}
"""What a row may have, as reports call it -> as row samples do."""
FACTS = {"image": "with_image", "query": "with_query", "answer": "answered", "reference": "with_reference"}
"""The same -> the fact that counts it (`auditor.profiles.rows.descriptors`)."""
KEPT = ("image", "query", "answer")
"""Contents that are looked at for being one and the same."""
TIED_BY_IMAGE = "image:"
"""How the name of a group begins whose rows share a picture (`auditor.scenarios.groups`)."""
MOST_MARKS = 512
"""Marks that are kept of a group: those of the rows with the smallest ones."""


class Commonest(BaseModel):
    """The commonest of the contents of one kind."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mark: str
    groups: int
    """Groups of rows that have it."""
    of: int
    """Groups of rows that have any content of this kind."""
    distinct: int
    """Different contents of this kind, among the sampled rows."""


class Contents(BaseModel):
    """What a group of rows holds. Marks are hexadecimal digests."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rows: int = 0
    """Rows that were admitted, usable or not."""
    having: dict[str, int] = {}
    """NAMES, `refusal` (of answers) and `script_...` (of queries) -> rows; what is not known is left out."""
    independent: dict[str, float] = {}
    """NAMES -> independent rows that tell as much of the share of rows that have it as one row does, up to 1;
    `rows`: the same of the mean query."""
    commonest: dict[str, Commonest] = {}
    """KEPT -> the commonest one."""
    marks: tuple[str, ...] = ()
    """Marks of sampled rows, each of image, query and answer together."""
    repeated: float = 0.0
    """The share of sampled rows of which another one says the same."""
    sampled: float = 1.0
    """The share of the usable rows that are in the sample."""

    def share(self, name: str) -> float | None:
        """Return the share of the rows that have a content; None where that is not known."""
        of = self.base(name)
        return self.having[name] / of if of and name in self.having else None

    def base(self, name: str) -> int:
        """Return how many rows could have a content: of refusals the answers, of scripts the queries."""
        if name == "refusal":
            return self.having.get("answer", 0)
        return self.having.get("query", 0) if name.startswith(SCRIPT) else self.rows


def contents(profile: Profile) -> Contents:
    """Return what a profile's rows hold. O(rows of the sample)."""
    facts, sample = profile.facts, profile.sample
    counts = counted(facts)
    if not len(sample):
        return Contents(rows=facts.get("n", 0), having=counts)
    groups = np.unique(sample.groups, return_inverse=True)[1].astype(np.int64)
    n = len(sample)
    independent = {"rows": effective_rows(sample.rows["x"], groups) / n} if "x" in sample.rows else {}
    for name, content in NAMES.items():
        has = sample.rows["has"][:, CONTENTS.index(content)].astype(np.float64)
        independent[name] = effective_scores(has, groups) / n
    marks = row_marks(sample)
    commonest = {}
    for name in KEPT:
        by_mark = _by_mark(sample, name)
        if by_mark:
            mark = max(by_mark, key=lambda m: (len(by_mark[m]), m))
            of = len({group for found in by_mark.values() for group in found})
            commonest[name] = Commonest(mark=mark, groups=len(by_mark[mark]), of=of, distinct=len(by_mark))
    return Contents(
        rows=facts.get("n", 0),
        having=counts,
        independent=independent,
        commonest=commonest,
        marks=tuple(sorted(set(marks))[:MOST_MARKS]),
        repeated=repeated_share(marks),
        sampled=n / profile.n,
    )


def counted(facts: Mapping[str, int]) -> dict[str, int]:
    """Return how many rows have each content, from plain facts; what an earlier version did not count is left
    out."""
    counts = {name: facts[fact] for name, fact in FACTS.items() if fact in facts}
    if "refused" in facts:
        counts["refusal"] = facts["refused"]
    return counts | {name: n for name, n in sorted(facts.items()) if name.startswith(SCRIPT)}


def groups_by_mark(profile: Profile, name: str) -> dict[str, int]:
    """Return mark -> how many groups of the sampled rows have that content."""
    return {mark: len(groups) for mark, groups in _by_mark(profile.sample, name).items()}


def row_marks(sample: RowSample) -> list[str]:
    """Return (m,) what stands for image, query and answer of each sampled row together."""
    kinds = [content_marks(sample, name) for name in KEPT]
    return [_digest(" ".join(parts).encode()) for parts in zip(*kinds, strict=True)]


def repeated_share(marks: Sequence[str]) -> float:
    """Return the share of rows with these marks, a row each, that say what another one says."""
    counts = Counter(marks)
    return sum(n for n in counts.values() if n > 1) / len(marks) if marks else 0.0


def content_marks(sample: RowSample, name: str) -> list[str]:
    """Return (m,) what stands for a content of each sampled row; "" where a row has none. Vectors are rounded
    first: of equal contents they are equal but, on some devices, for the last bits."""
    content = NAMES[name]
    if content not in sample.rows:
        return [""] * len(sample)
    has = having(sample, content)
    rounded: NDArray[np.float16] = sample.rows[content].astype(np.float16) + np.float16(0)
    return [_digest(row.tobytes()) if there else "" for row, there in zip(rounded, has, strict=True)]


def _by_mark(sample: RowSample, name: str) -> dict[str, set[str]]:
    """Return mark -> the groups that have it. Rows that are tied by their pictures have one picture for being
    tied, and so each row counts by itself there."""
    found: dict[str, set[str]] = {}
    for position, (mark, group) in enumerate(
        zip(content_marks(sample, name), sample.groups.tolist(), strict=True)
    ):
        if mark:
            alone = name == "image" and group.startswith(TIED_BY_IMAGE)
            found.setdefault(mark, set()).add(f"{position} {group}" if alone else group)
    return found


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=8).hexdigest()
