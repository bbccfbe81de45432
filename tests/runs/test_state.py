"""Every state that a run can be in, from its folder and Slurm's queue."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from hvdtrain.runs.slurm_job import SlurmJob
from hvdtrain.runs.state import Ended, Planned, Progress, RunFacts, RunStatus, judge_run
from tests.samples import sample_submission as submission

NOW = 1_000_000.0
PLANNED = Planned(total_steps=1000, steps_per_epoch=100, global_batch=64)
PROGRESS = Progress(step=250, epoch=3, seconds=600, written=NOW - 10, step_seconds=2.0)


def job(number: str, state: str, reason: str = "", name: str = "name", **times: Any) -> SlurmJob:
    return SlurmJob(
        job=number, name=name, partition="p", qos="q", state=state, reason=reason, **times
    )


def ended(status: Any, **changes: Any) -> Ended:
    made = Ended(status=status, step=40, epoch=1, images_per_second=9.0, failure="why")
    return msgspec.structs.replace(made, **changes)


def judge(*jobs: SlurmJob, silent: bool = False, **facts: Any) -> RunStatus:
    queue = None if silent else {each.job: each for each in jobs}
    return judge_run(RunFacts(**{"run_id": "run", "submission": submission(), **facts}), queue, NOW)


BEGUN: dict[str, Any] = {"planned": PLANNED, "progress": PROGRESS}
LEFT: dict[str, Any] = {
    **BEGUN,
    "progress": msgspec.structs.replace(PROGRESS, written=NOW - 1000),
}
# Two days: a clock that was put back since, or never went right.
AHEAD: dict[str, Any] = {
    **BEGUN,
    "progress": msgspec.structs.replace(PROGRESS, written=NOW + 172_800),
}
WAITS = job("1", "PENDING", "Resources")
RUNS = job("1", "RUNNING")


@pytest.mark.parametrize(
    ("state", "jobs", "facts"),
    [
        ("pending", [WAITS], {}),
        ("pending", [job("1", "REQUEUE_HOLD")], {}),
        ("running", [RUNS], {}),
        ("running", [RUNS, job("2", "PENDING", "Dependency")], BEGUN),
        ("running", [job("1", "COMPLETING")], BEGUN),
        ("running", [job("1", "TIMEOUT"), job("2", "RUNNING")], BEGUN),
        ("requeued", [WAITS], BEGUN),
        ("requeued", [job("1", "TIMEOUT"), job("2", "PENDING")], BEGUN),
        # The next job of the chain goes on where this one failed.
        ("requeued", [job("2", "PENDING")], {**BEGUN, "ended": ended("failed")}),
        ("running", [job("2", "RUNNING")], {**BEGUN, "ended": ended("failed")}),
        ("completed", [], {**BEGUN, "ended": ended("completed")}),
        # What is left of the chain ends at once when it starts.
        ("completed", [job("2", "PENDING")], {**BEGUN, "ended": ended("completed")}),
        ("diverged", [job("2", "PENDING")], {**BEGUN, "ended": ended("diverged")}),
        ("failed", [job("1", "FAILED")], {**BEGUN, "ended": ended("failed")}),
        ("failed", [job("1", "FAILED")], {}),
        ("incomplete", [job("1", "TIMEOUT")], BEGUN),
        ("incomplete", [], LEFT),
        # By a job that was submitted by hand, or whose number is lost.
        ("running", [], BEGUN),
        ("running", [], {**BEGUN, "submission": submission(jobs=())}),
        ("running", [job("1", "TIMEOUT", ends=NOW - 60)], BEGUN),
        ("incomplete", [job("1", "TIMEOUT", ends=NOW - 9)], BEGUN),
        # Its watchdog has just ended it.
        ("incomplete", [], {**BEGUN, "hang": "rank 1 on n2 hung"}),
        ("incomplete", [], AHEAD),
        ("incomplete", [], {**AHEAD, "submission": None}),
        ("incomplete", [], {**BEGUN, "submission": None, "ended": ended("interrupted")}),
        ("cancelled", [], {"submission": submission(cancelled="now")}),
        (
            "cancelled",
            [job("1", "CANCELLED")],
            {**BEGUN, "submission": submission(cancelled="n")},
        ),
        ("running", [job("1", "COMPLETING")], {"submission": submission(cancelled="now")}),
        ("unclear", [], {"submission": submission(jobs=())}),
        ("lost", [], {}),
        # The number belongs to somebody else by now.
        ("lost", [job("1", "RUNNING", name="other")], {}),
        # Not by hvdtrain submit: the metrics tell.
        ("running", [], {**BEGUN, "submission": None}),
        ("failed", [], {**BEGUN, "submission": None, "ended": ended("failed")}),
        ("incomplete", [], {"submission": None, "planned": PLANNED}),
        (
            "incomplete",
            [],
            {
                "submission": None,
                "planned": PLANNED,
                "progress": msgspec.structs.replace(PROGRESS, written=NOW - 1000),
            },
        ),
    ],
)
def test_the_state(state: str, jobs: list[SlurmJob], facts: dict[str, Any]) -> None:
    assert judge(*jobs, **facts).state == state


@pytest.mark.parametrize(
    ("state", "facts"),
    [
        ("unknown", {}),
        ("unknown", LEFT),
        ("running", BEGUN),
        ("completed", {**BEGUN, "ended": ended("completed")}),
        ("failed", {**BEGUN, "ended": ended("failed")}),
        ("unclear", {"submission": submission(jobs=())}),
        ("cancelled", {"submission": submission(cancelled="now")}),
    ],
)
def test_the_state_without_slurm(state: str, facts: dict[str, Any]) -> None:
    assert judge(silent=True, **facts).state == state


def test_a_run_that_hung_says_who_did() -> None:
    hung = "the run has not come further for 225 s: rank 1 on n2: the update of step 7"
    assert judge(job("1", "FAILED"), **LEFT, hang=hung).reason == hung
    # So does a preflight, which leaves no plan.
    assert judge(job("1", "FAILED"), hang=hung).reason == hung


def test_a_waiting_run_says_why_and_what_is_forecast() -> None:
    status = judge(job("1", "PENDING", "Priority", starts=NOW + 600))
    assert (status.reason, status.job, status.jobs) == ("Priority", "1", ("1", "2"))
    assert (status.step, status.steps) == (0, 1000)
    assert status.seconds_left == 1800
    assert status.ends == NOW + 600 + 1800
    assert judge(WAITS).ends is None


def test_a_running_run_says_how_fast_it_is_and_when_it_ends() -> None:
    status = judge(RUNS, **BEGUN)
    assert (status.step, status.steps, status.epoch, status.epochs) == (250, 1000, 3, 10)
    assert status.images_per_second == 32
    # 600 s for 250 steps: evaluations are in it.
    assert status.seconds_left == pytest.approx(750 * 2.4)
    assert status.ends == pytest.approx(NOW - 10 + 750 * 2.4)


def test_in_its_first_epoch_only_the_latest_steps_count() -> None:
    early = msgspec.structs.replace(PROGRESS, step=50, epoch=1, seconds=400)
    assert judge(RUNS, planned=PLANNED, progress=early).seconds_left == 950 * 2


def test_a_run_that_is_late_does_not_end_in_the_past() -> None:
    old = msgspec.structs.replace(PROGRESS, step=999, written=NOW - 5000)
    assert judge(RUNS, planned=PLANNED, progress=old).ends == NOW


def test_the_end_of_a_run_that_has_ended_is_not_predicted() -> None:
    status = judge(**{**BEGUN, "ended": ended("completed", stragglers=("n3",))})
    assert (status.step, status.epoch, status.images_per_second) == (40, 1, 9.0)
    assert (status.seconds_left, status.ends) == (None, None)
    assert status.stragglers == ("n3",)


def test_metrics_of_a_later_day_do_not_move_the_end() -> None:
    assert judge(RUNS, **AHEAD).ends == pytest.approx(NOW + 750 * 2.4)
