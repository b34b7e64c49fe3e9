"""The order of merging: one tree, whatever was folded before and whatever waits outside."""

from dataclasses import dataclass

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from auditor.sketch.merge_tree import tree_merge


@dataclass(frozen=True)
class Sum:
    """A float whose bits tell the order, and how it was made."""

    value: float
    how: str

    def merge(self, other):
        return Sum(self.value + other.value, f"({self.how} {other.how})")


def units(n):
    values = np.random.default_rng(n).normal(size=n) * 10.0 ** np.random.default_rng(n).integers(-8, 8, n)
    return [Sum(float(value), str(i)) for i, value in enumerate(values)]


def nodes(parts, whole, at=0, size=128):
    """The parts cut into nodes of the tree: `whole` decides which are kept whole."""
    if at >= len(parts):
        return
    if size == 1 or (at + size <= len(parts) and whole(at, size)):
        yield size, tree_merge((1, part) for part in parts[at : at + size])
    else:
        yield from nodes(parts, whole, at, size // 2)
        yield from nodes(parts, whole, at + size // 2, size // 2)


def test_the_tree():
    assert tree_merge([]) is None
    assert tree_merge((1, part) for part in units(1)).how == "0"
    assert tree_merge((1, part) for part in units(7)).how == "((((0 1) (2 3)) (4 5)) 6)"
    assert tree_merge((1, part) for part in units(8)).how == "(((0 1) (2 3)) ((4 5) (6 7)))"


@given(st.integers(1, 70), st.integers(0, 2**32 - 1))
def test_nodes_stand_for_their_units(n, seed):
    rng = np.random.default_rng(seed)
    parts = units(n)
    got = tree_merge(nodes(parts, lambda at, size: rng.random() < 0.4))
    assert got == tree_merge((1, part) for part in parts)


def test_no_more_sums_are_held_than_the_tree_is_high():
    held = most = 0

    class Counted:
        def __init__(self):
            nonlocal held, most
            held += 1
            most = max(most, held)

        def merge(self, other):
            nonlocal held
            held -= 2
            return Counted()

    tree_merge((1, Counted()) for _ in range(1000))
    assert most <= 12
