"""This module counts how many rows have an image, and how many a text, in P and in Q."""

from __future__ import annotations

from typing import NamedTuple

from scipy import stats

from auditor.profiles.profile import Profile
from auditor.significance import holm


class Share(NamedTuple):
    """This value is the share of the rows that have a content, in P and in Q, and the p-value of their
    difference."""

    content: str
    p: float
    q: float
    p_value: float


def shares(p: Profile, q: Profile) -> list[Share]:
    """Compare how many rows have an image, and how many a text: a feed that lost its images shows here first.

    Fisher's exact test of each, Holm-adjusted over the two.
    """
    n, m = p.sample.seen, q.sample.seen
    out = []
    for content in ("image", "text"):
        k, j = p.sketches[content].n, q.sketches[content].n
        p_value = float(stats.fisher_exact([[k, n - k], [j, m - j]]).pvalue) if n and m else 1.0
        out.append(Share(content, k / n if n else 0.0, j / m if m else 0.0, p_value))
    return [s._replace(p_value=a) for s, a in zip(out, holm([s.p_value for s in out]), strict=True)]
