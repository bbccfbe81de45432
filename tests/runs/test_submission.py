"""How many jobs a run takes, and what a chain changes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hvdtrain.plan.forecast.forecast import STARTUP_MIN, Forecast, Interval
from hvdtrain.plan.job.chain import jobs_needed, plan_chained
from hvdtrain.plan.job.job_plan import JobPlan, ScriptOrigin, make_job
from hvdtrain.plan.job.request import JobRequest, spread_model
from hvdtrain.plan.machine.system import load_system
from hvdtrain.runs.submission import Submission, make_submission


def forecast(minutes: float) -> Forecast:
    one = Interval(value=1, low=1, high=1)
    return Forecast(
        step_seconds=one,
        epoch_seconds=one,
        images_per_second=one,
        efficiency=one,
        minutes_to_train=Interval(value=minutes / 2, low=minutes / 3, high=minutes),
        evaluation_minutes=Interval(value=0, low=0, high=0),
        node_hours=one,
    )


def plan_of(**request: Any) -> JobPlan:
    asked = JobRequest(nodes=64, **request)
    return make_job(asked, load_system("stampede2-knl"), ScriptOrigin(command="c", hvdtrain="h"))


@settings(max_examples=40, deadline=None)
@given(st.floats(0.001, 1e6), st.integers(STARTUP_MIN + 1, 10_000))
def test_the_jobs_are_enough_and_one_less_is_not(minutes: float, walltime_min: int) -> None:
    needed = jobs_needed(forecast(minutes), walltime_min)
    assert needed is not None
    useful = walltime_min - STARTUP_MIN
    assert needed * useful >= minutes * (1 - 1e-9)
    assert needed == 1 or (needed - 1) * useful <= minutes * (1 + 1e-9)


def test_evaluations_take_their_part_of_the_jobs() -> None:
    took = msgspec.structs.replace(
        forecast(90), evaluation_minutes=Interval(value=5, low=2, high=15)
    )
    assert jobs_needed(took, STARTUP_MIN + 100) == 2
    assert jobs_needed(took, STARTUP_MIN + 105) == 1
    assert took.walltime_min == STARTUP_MIN + 105


def test_a_job_that_only_starts_up_is_of_no_use() -> None:
    assert jobs_needed(forecast(1), STARTUP_MIN) is None


def test_a_run_that_fits_is_one_job() -> None:
    plan = plan_of()
    assert plan.forecast is not None
    assert jobs_needed(plan.forecast, plan.walltime_min) == 1
    assert jobs_needed(plan.forecast, plan.walltime_min - 2) == 2


def test_where_a_job_follows_none_goes_back_into_the_queue() -> None:
    plan = plan_of()
    assert plan_chained(plan, 1) == plan
    assert plan.directives.keys() - plan_chained(plan, 2).directives.keys() == {"requeue"}
    wanted = plan_of(set_directives={"requeue": ""})
    assert plan_chained(wanted, 2) == wanted


def test_a_submission_is_read_as_it_was_written() -> None:
    plan = plan_of(set_directives={"comment": "two words"}, epochs=3.5, unset_directives=("qos",))
    submission = make_submission(plan, "run", "2026-03-14T15:09:26+00:00", 3)
    submission = msgspec.structs.replace(submission, jobs=("1", "2_3"))
    encoded = msgspec.json.encode(submission)
    assert msgspec.json.decode(encoded, type=Submission) == submission


@pytest.mark.parametrize(
    ("table", "request_"),
    [
        ({"name": "resnet50", "image_size": 224, "classes": 1000}, JobRequest(nodes=64)),
        (
            {"name": "small", "image_size": 16, "classes": 3},
            JobRequest(nodes=64, model="small", image_size=16, classes=3),
        ),
    ],
)
def test_a_submission_of_an_earlier_version_asked_for_the_same(
    table: dict[str, Any], request_: JobRequest
) -> None:
    raw = msgspec.to_builtins(make_submission(plan_of(), "run", "now"))
    raw["request"]["model"] = {**table, "version": "v1", "precision": "fp32"}
    for key in ("model_version", "image_size", "classes", "precision"):
        del raw["request"][key]
    assert spread_model(msgspec.convert(raw, Submission).request) == request_


def test_a_job_without_a_name_is_called_what_slurm_calls_it() -> None:
    plan = plan_of(unset_directives=("job-name",))
    assert make_submission(plan, "run", "now").job_name == "sbatch"
