"""Axes put values where they belong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.report.numbers import interval, number, p_value
from auditor.report.svg import Axis, axis_over, el

VALUE = st.floats(-1e6, 1e6).filter(lambda v: v == 0 or abs(v) > 1e-6)


@given(st.lists(VALUE, max_size=6), st.booleans())
def test_values_and_ticks_lie_inside(values: list[float], zero: bool):
    axis = axis_over(values, 300.0, 10.0, zero)
    assert axis.low < axis.high
    assert not zero or axis.low <= 0 <= axis.high
    for value in values:
        assert axis.low <= value <= axis.high
    ticks = axis.ticks()
    assert 1 <= len(ticks) <= 12
    room = 1e-6 * (axis.high - axis.low)
    assert all(axis.low - room <= tick <= axis.high + room for tick in ticks)


def test_linear_and_logarithmic():
    assert Axis(0, 10, 0, 100)(2.5) == 25
    axis = Axis(1e-4, 1, 100, 0, log=True)
    assert axis(1e-2) == pytest.approx(50) and axis(0.0) == 100
    assert axis.ticks() == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1, 1])


def test_elements_escape():
    assert el("text", "<b>", class_='a"b') == '<text class="a&#34;b">&lt;b&gt;</text>'


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "–"),
        (0.12345, "0.123"),
        (-0.0001, "0.000"),
        (-1.5, "−1.500"),
        (123.45, "123.5"),
        (12345.6, "12,346"),
    ],
)
def test_numbers(value: float | None, said: str):
    assert number(value) == said


def test_other_numbers():
    assert interval((-0.1, 0.2), 2) == "[−0.10, 0.20]" and interval(None) == ""
    assert p_value(0.0002) == "< 0.001" and p_value(0.04) == "0.040"
