"""The small fit: against what is known exactly, and the smallest worst error."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hvdtrain.plan.forecast.nonnegative_fit import fit_least_power

COEFFICIENT = st.floats(0.01, 10)


@settings(max_examples=25, deadline=None)
@given(COEFFICIENT, COEFFICIENT, COEFFICIENT, st.sampled_from([2.0, 4.0]))
def test_what_made_the_targets_is_found(a: float, b: float, c: float, power: float) -> None:
    rows = [(1.0, x, x * x) for x in (0.0, 0.5, 1.0, 2.0, 3.0)]
    targets = [a + b * x + c * x * x for _, x, _ in rows]
    assert fit_least_power(rows, targets, power) == pytest.approx([a, b, c], rel=1e-5, abs=1e-6)


def test_least_squares_is_the_mean_and_higher_powers_go_to_the_middle() -> None:
    rows, targets = [(1.0,)] * 4, [1.0, 1.0, 1.0, 5.0]
    assert fit_least_power(rows, targets, 2) == pytest.approx([2.0])
    # The sum of fourth powers is least where 3 (x - 1)^3 = (5 - x)^3.
    middle = (5 + 3 ** (1 / 3)) / (1 + 3 ** (1 / 3))
    assert fit_least_power(rows, targets, 4) == pytest.approx([middle], abs=1e-3)


def test_no_coefficient_is_negative() -> None:
    rows = [(1.0, x) for x in (1.0, 2.0, 3.0)]
    assert fit_least_power(rows, [1.0, 3.0, 5.0], 2) == pytest.approx([0.0, 22 / 14])


def test_columns_that_say_the_same_are_used_once() -> None:
    rows = [(x, 2 * x) for x in (1.0, 2.0, 3.0)]
    first, second = fit_least_power(rows, [2.0, 4.0, 6.0], 2)
    assert first + 2 * second == pytest.approx(2.0)
    assert 0 in (first, second)
