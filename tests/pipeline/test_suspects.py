"""The search for bad rows, against workers that are only functions: what it finds and what it costs."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.pipeline.suspects import Fault, WorkerAtFault, search


def run(rows, fails):
    """The rows found, tries and faults."""
    going, tries, faults = search(rows), 0, 0
    try:
        part = next(going)
        while True:
            tries += 1
            fault = Fault("bad", f"try {tries}") if fails(part) else None
            faults += fault is not None
            part = going.send(fault)
    except StopIteration as end:
        return [row for row, _ in end.value], tries, faults


@given(st.integers(1, 5_000), st.data())
def test_exactly_the_bad_rows_are_found(n, data):
    bad = data.draw(st.sets(st.integers(0, n - 1), max_size=4))
    found, tries, faults = run(range(n), lambda part: any(row in bad for row in part))
    assert found == sorted(bad)
    levels = 2 if n <= 1024 else math.ceil(math.log(n, 32))
    assert faults <= len(bad) * (levels + 1)
    assert tries <= 1 + 32 + len(bad) * (33 * levels)


@given(st.integers(1, 600), st.integers(0, 80))
def test_one_death_from_outside_condemns_nobody(n, when):
    """A fault that does not come back (a kill, a lost node) at any try, the blank's included."""
    left = iter(range(when + 1))

    def fails(part):
        return next(left, None) == when

    assert run(range(n), fails)[0] == []


def test_a_worker_that_fails_on_a_blank_is_at_fault():
    with pytest.raises(WorkerAtFault, match="try 2"):
        run(range(100), lambda part: True)
