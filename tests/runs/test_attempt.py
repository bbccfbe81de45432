"""A run that gets nowhere is started a few times; one that gets on, as often as it takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvdtrain.plan.job.job_plan import ScriptOrigin, make_job
from hvdtrain.plan.job.notice import LEAVING_SECONDS, UNKNOWN_NOTICE_SECONDS, notice_seconds
from hvdtrain.plan.job.request import JobRequest
from hvdtrain.plan.machine.system import load_system
from hvdtrain.runs.attempt import MOST_RESTARTS, Attempt, next_attempt


def starts(steps: list[int]) -> int:
    """How often a run is started whose starts end at these steps, the last for ever."""
    step, attempt, count = 0, None, 0
    while True:
        attempt = next_attempt(attempt, step)
        assert not attempt.is_one_too_many
        count += 1
        step = max(step, steps[min(count, len(steps)) - 1])
        if not attempt.may_be_followed(step):
            return count


@pytest.mark.parametrize(
    ("steps", "expected"),
    [([0], 1 + MOST_RESTARTS), ([7], 1 + MOST_RESTARTS), ([0, 0, 5, 9], 4 + MOST_RESTARTS)],
)
def test_three_restarts_from_the_same_step(steps: list[int], expected: int) -> None:
    assert starts(steps) == expected


@given(st.lists(st.integers(1, 3), min_size=1, max_size=30))
def test_a_run_that_gets_on_is_never_given_up(advances: list[int]) -> None:
    steps = [sum(advances[: number + 1]) for number in range(len(advances))]
    assert starts(steps) == len(steps) + MOST_RESTARTS


def test_a_start_that_nobody_here_asked_for_counts_too() -> None:
    attempt = None
    for _ in range(1 + MOST_RESTARTS):
        attempt = next_attempt(attempt, 40)
        assert not attempt.is_one_too_many
    assert next_attempt(attempt, 40).is_one_too_many
    assert next_attempt(attempt, 41) == Attempt(step=41, restarts=1)


@pytest.mark.parametrize(
    ("system", "nodes", "walltime", "expected"),
    [
        # 50,000 images at 75,511 per second, and a step of 0.65 s.
        ("stampede2-knl", 1536, None, LEAVING_SECONDS + 2),
        ("frontera", 64, None, UNKNOWN_NOTICE_SECONDS),
        ("frontera", 64, "10", 150),
    ],
)
def test_the_notice_is_long_enough_for_a_step_an_evaluation_and_a_checkpoint(
    system: str, nodes: int, walltime: str | None, expected: int
) -> None:
    request = JobRequest(system=system, nodes=nodes, walltime=walltime)
    plan = make_job(request, load_system(system), ScriptOrigin(command="c", hvdtrain="h"))
    assert notice_seconds(plan.run, plan.forecast, plan.walltime_min) == expected
    assert plan.directives["signal"] == f"B:USR1@{expected}"
