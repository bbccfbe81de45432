"""Curves: their ends, their order, and what they are between."""

from __future__ import annotations

import doctest
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvdtrain.plan.method import curves
from hvdtrain.plan.method.curves import Cosine, Curve, PiecewiseConstant, Polynomial

RATES = st.floats(0, 10)


def test_the_docstring_is_right() -> None:
    found = doctest.testmod(curves)
    assert (found.attempted, found.failed) == (3, 0)


@given(RATES, RATES, st.floats(0.1, 4), st.integers(1, 500))
def test_a_smooth_curve_has_its_ends_and_only_goes_one_way(
    start: float, end: float, power: float, steps: int
) -> None:
    smooth: tuple[Curve, ...] = (
        Polynomial(start_lr=start, end_lr=end, power=power),
        Cosine(start_lr=start, end_lr=end),
    )
    for curve in smooth:
        assert curve.rate(0, steps) == start
        assert curve.rate(steps, steps) == pytest.approx(end, abs=1e-15)
        rates = [curve.rate(step, steps) for step in range(steps + 1)]
        for before, after in itertools.pairwise(rates):
            assert (after - before) * (end - start) >= -1e-12


def test_a_polynomial_of_power_2_is_a_quarter_of_the_way_at_half_time() -> None:
    assert Polynomial(start_lr=5.0, end_lr=1.0, power=2).rate(10, 20) == 2.0


def test_a_staircase_falls_at_its_steps_and_not_before() -> None:
    stairs = PiecewiseConstant(start_lr=3.0, factor=0.1, boundaries=(30, 60, 80))
    for fall in stairs.boundaries:
        after = stairs.rate(fall, 90)
        assert after == pytest.approx(stairs.rate(fall - 1, 90) / 10)
    assert stairs.end_lr == pytest.approx(0.003)
    assert stairs.rate(89, 90) == stairs.end_lr
