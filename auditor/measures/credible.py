"""This module says whether EMI of some rows is reliable: whether their vectors hold the correct answers."""

from __future__ import annotations

from dataclasses import asdict
from typing import NamedTuple

from auditor.emi.credibility import LEAST_GROUPS, credibility
from auditor.profiles.profile import Profile, having
from schemas.report import Credibility

MOST_P = 0.01
"""The largest p-value with which the vectors count as holding the answers."""
WAY_OUT = "another encoder or more rows may help; a grader tells how right answers are without EMI"


class Checked(NamedTuple):
    """This is the credibility check of some rows."""

    credibility: Credibility | None
    """None where there are too few groups of rows to check."""
    reason: str | None
    """Why EMI is not reliable; None where it is."""


def checked(rows: Profile) -> Checked | None:
    """Check the sampled rows that have a query, an answer and a reference, those of EMI. None where there are
    none. The draws are the same for all rows, whatever is checked with them."""
    used = having(rows.sample, "x", "response", "reference")
    if not used.any():
        return None
    x, y = (rows.sample.rows[name][used] for name in ("x", "reference"))
    found = credibility(x, y, rows.sample.groups[used])
    if found is None:
        why = f"fewer than {LEAST_GROUPS} groups of rows, or only one correct answer: it cannot be checked"
        return Checked(None, f"{why} whether the encoders hold the answers; {WAY_OUT}")
    measured = Credibility(**asdict(found))
    if found.p_value <= MOST_P:
        return Checked(measured, None)
    return Checked(
        measured,
        f"the encoders do not show the correct answers: inputs predict {found.value:.1%} of held-out ones, "
        f"no more than by chance (p={found.p_value:.2g}, {found.groups} groups of rows); {WAY_OUT}",
    )
