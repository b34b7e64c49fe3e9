"""Sums of consecutive units are merged in one order: a binary tree over the units, always the same.

Addition of floats is not associative, so the order is part of the result. A node is the sum of 2^j units, the
first of which is a multiple of 2^j; what is left over at the end is merged from the left. A node that was
made before stands for its units. So units may be folded into few nodes as they come, and any of them may wait
outside and be made anew, for the same bits.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, Self, TypeVar


class Mergeable(Protocol):
    def merge(self, other: Self) -> Self: ...


M = TypeVar("M", bound=Mergeable)


def tree_merge(parts: Iterable[tuple[int, M]]) -> M | None:
    """Merge all parts, each (units, their sum), in the order of the units; None where there are no parts.
    O(log n) sums are held at a time."""
    held: list[tuple[int, M]] = []  # from the left, ever smaller: so each begins at a multiple of its size
    for units, part in parts:
        held.append((units, part))
        while len(held) > 1 and held[-2][0] == held[-1][0]:
            _, right = held.pop()
            size, left = held.pop()
            held.append((2 * size, left.merge(right)))
    total: M | None = None
    for _, part in held:
        total = part if total is None else total.merge(part)
    return total
