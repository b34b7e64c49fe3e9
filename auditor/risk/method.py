"""This module chooses the label-free method that is reported for a window, by one rule, from the overlap
alone.

- `reweighted`: a point with an interval, where Q is a new mix of P's inputs and enough of P's rows carry it;
- `identified`: an interval of the quantised EMID, where most of Q lies on P's support;
- `sound`: an upper bound, where neither of the other two is reported and the bound is below EMID's range;
- none, else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import log
from typing import Literal, NamedTuple, Protocol

from auditor.risk.overlap import Overlap

Method = Literal["reweighted", "identified", "sound"]

MOST_OUTSIDE_REWEIGHTED = 0.05
MOST_OUTSIDE_IDENTIFIED = 0.20
"""Beyond this share the interval is wider than half a nat: it still holds, but says little."""
MOST_MOVED = 0.60
"""72 new mixes of 8 to 160 kinds had 0.45 to 0.554; a displacement of 0.6 times the kinds' own radius 0.66 to
0.69, of the radius itself 0.83 to 0.87, where the shares outside were 0.04 to 0.09 and 0.31 to 0.48."""
LEAST_EFFECTIVE_REWEIGHTED = 50.0
LEAST_EFFECTIVE_IDENTIFIED = 20.0
LEAST_GROUPS_P, LEAST_GROUPS_Q = 100, 50
"""Groups of rows (rows, where each is by itself) from which on intervals were measured to hold."""
MOST_AUC = 0.995
"""A classifier that is never wrong has seen inputs that P does not have."""


class UpperBound(Protocol):
    """An upper bound of EMID on quantised answers has a value (nats) and K, the number of symbols."""

    @property
    def value(self) -> float: ...
    @property
    def symbols(self) -> int: ...


class Ceiling(NamedTuple):
    """A ceiling is an `UpperBound` that was computed elsewhere."""

    value: float
    symbols: int


class Choice(NamedTuple):
    """A choice names the method whose numbers are reported, None where none is; `reason` says why, in one
    sentence."""

    method: Method | None
    reason: str


def check_reweighted(overlap: Overlap) -> str | None:
    """Return why the reweighted estimate is not reported; None where it is."""
    return _check(overlap, "reweighted estimate", MOST_OUTSIDE_REWEIGHTED, LEAST_EFFECTIVE_REWEIGHTED)


def check_identified(overlap: Overlap) -> str | None:
    """Return why the identified interval is not reported; None where it is."""
    return _check(overlap, "identified interval", MOST_OUTSIDE_IDENTIFIED, LEAST_EFFECTIVE_IDENTIFIED)


def choose_method(
    overlap: Overlap,
    bound: UpperBound | None = None,
    parts: Mapping[str, Overlap] | None = None,
) -> Choice:
    """Choose the most informative method that can be reported. `bound` is not, where it exceeds 2 log K,
    EMID's range.

    `parts`: coverage of each modality by itself, by name. Where a modality left its support an estimate is
    not reported, even if the joint rows seem covered: in the mean of an image and a text vector the strongest
    blur of the lab moved nothing (AUC 0.63 to 0.74, moved 0.52 to 0.56), in the images alone it did (0.998,
    0.63).
    """
    reweighted = _first_reason(check_reweighted, overlap, parts)
    identified = _first_reason(check_identified, overlap, parts)
    if reweighted is None:
        return Choice(
            "reweighted",
            f"Q is a new mix of known inputs: {overlap.outside:.1%} of its rows lie outside the reference's "
            f"support and {overlap.effective:.0f} effective reference rows carry it.",
        )
    if identified is None:
        return Choice(
            "identified", f"{reweighted.removesuffix('.')}; {overlap.outside:.1%} of the rows are outside."
        )
    if bound is not None and bound.value < 2 * log(bound.symbols):
        return Choice("sound", f"{identified.removesuffix('.')}; the upper bound needs no overlap.")
    return Choice(None, identified)


def _first_reason(
    check: Callable[[Overlap], str | None], overlap: Overlap, parts: Mapping[str, Overlap] | None
) -> str | None:
    if (reason := check(overlap)) is not None:
        return reason
    for name, part in (parts or {}).items():
        if (reason := check(part)) is not None:
            return f"{name.capitalize()} rows alone: {reason[0].lower()}{reason[1:]}"
    return None


def _check(overlap: Overlap, estimate: str, most_outside: float, least_effective: float) -> str | None:
    for side, groups, least in (
        ("reference", overlap.groups_p, LEAST_GROUPS_P),
        ("window", overlap.groups_q, LEAST_GROUPS_Q),
    ):
        if groups < least:
            return (
                f"The {estimate} is not reported: the {side} has {groups} rows, or groups of rows that "
                f"belong together (at least {least})."
            )
    if overlap.outside > most_outside:
        return (
            f"The {estimate} is not reported: {overlap.outside:.1%} of the rows lie outside the reference's "
            f"support (at most {most_outside:.0%})."
        )
    if overlap.moved > MOST_MOVED:
        return (
            f"The {estimate} is not reported: its rows moved, they are no new mix: a row lies farther from "
            f"the reference than {overlap.moved:.0%} of its own rows (at most {MOST_MOVED:.0%}, 50% if "
            "unmoved)."
        )
    if overlap.effective < least_effective:
        return (
            f"The {estimate} is not reported: the window rests on {overlap.effective:.0f} effective "
            f"reference rows (at least {least_effective:.0f})."
        )
    if overlap.auc > MOST_AUC:
        return (
            f"The {estimate} is not reported: a classifier tells the window from the reference with AUC "
            f"{overlap.auc:.3f} (at most {MOST_AUC})."
        )
    return None
