"""Axes hold all their values, and their ticks are round."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from hvdtrain.collect.figures.model import Scale
from hvdtrain.collect.report.axis import Axis, make_axis

values = st.lists(st.floats(-1e99, 1e99), max_size=20)
positive = st.lists(st.floats(1e-9, 1e9), max_size=20)


def check(axis: Axis, shown: list[float]) -> None:
    assert axis.low < axis.high
    assert all(-1e-9 <= axis.place(value) <= 1 + 1e-9 for value in shown)
    assert axis.place(axis.low) == 0
    ticks = axis.ticks()
    assert len(ticks) <= 8
    assert all(axis.low <= tick <= axis.high for tick in ticks)


@settings(max_examples=50)
@given(shown=values, from_zero=st.booleans())
def test_a_linear_axis_holds_its_values(shown: list[float], from_zero: bool) -> None:
    axis = make_axis(shown, from_zero=from_zero)
    check(axis, shown)
    if from_zero:
        assert axis.low <= 0 <= axis.high


@settings(max_examples=50)
@given(shown=positive)
def test_an_axis_of_powers_of_two_holds_its_values(shown: list[float]) -> None:
    scale: Scale = "log2"
    check(make_axis(shown, scale), shown)


def test_ticks_are_round() -> None:
    assert make_axis([0, 97.3], from_zero=True).ticks() == [0, 20, 40, 60, 80, 100]
    assert make_axis([256, 1536], "log2").ticks() == [256, 512, 1024]
