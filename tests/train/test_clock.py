"""The speed of a run must not contain the compilation of its first step."""

from __future__ import annotations

import pytest

from hvdtrain.train.clock import WARM_UP_STEPS, StepClock


def test_the_first_steps_do_not_count() -> None:
    clock = StepClock()
    for seconds in (60.0, 2.0, 1.0, 3.0):
        clock.add(seconds, 0.5)
    assert clock.steps == 4
    assert clock.mean_seconds == 2.0
    assert clock.exposed_share == pytest.approx(0.25)


def test_a_run_of_warm_up_alone_has_no_speed() -> None:
    clock = StepClock()
    for _ in range(WARM_UP_STEPS):
        clock.add(1.0, 0.0)
    assert clock.mean_seconds is None
    assert clock.exposed_share is None


def test_a_restored_clock_counts_on_and_warms_up_again() -> None:
    clock = StepClock()
    for seconds in (9.0, 5.0, 1.0, 3.0):
        clock.add(seconds, 0.5)
    clock = StepClock.restored(clock.state)
    assert (clock.steps, clock.mean_seconds) == (4, 2.0)
    for seconds in (9.0, 5.0, 5.0):
        clock.add(seconds, 0.5)
    assert (clock.steps, clock.mean_seconds) == (7, 3.0)
    assert clock.state.counted == 3


def test_a_rank_own_time_is_that_before_the_reduction() -> None:
    clock = StepClock()
    for seconds, exposed in ((60.0, 1.0), (60.0, 1.0), (3.0, 2.0), (5.0, 1.0)):
        clock.add(seconds, exposed)
    assert clock.take_compute_seconds() == pytest.approx(2.5)
    assert clock.take_compute_seconds() is None
    clock.add(1.0, 0.25)
    assert clock.take_compute_seconds() == pytest.approx(0.75)
