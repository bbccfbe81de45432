"""What `hvdtrain submit` leaves in a run's folder: which jobs, of what, since when.

It is written before the first job is submitted and again with every job id, so that a submission
that is cut off in between can be told from one that never was.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from hvdtrain.plan.job.job_plan import JobPlan
from hvdtrain.plan.job.request import JobRequest

MOST_JOBS = 100
"""Of a chain. A run that needs more has a mistake in it."""

NAME_FROM_STDIN = "sbatch"
"""What Slurm calls a job that has no name and came through standard input."""

JobId = Annotated[str, Meta(pattern=r"^[0-9]{1,10}(_[0-9]{1,7})?\Z")]
"""A job, or a task of an array: `4711` or `4711_3`."""


class Submission(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A run that was given to Slurm.

    Attributes:
        run_id: The run's folder name.
        submitted: When it was decided; UTC, ISO 8601.
        command: The command line that submitted it, quoted for a shell.
        system: The system that it was planned for.
        cluster: What Slurm calls the cluster, where it says so.
        job_name: What Slurm calls the jobs.
        request: What was asked for.
        nodes: Nodes of each job.
        global_batch: Images of an update.
        total_steps: Planned updates, on the data set that the paper used.
        walltime_min: Minutes that each job may take.
        forecast_minutes: Minutes that the whole run will take; None: nothing is known.
        chain: Jobs that were wanted.
        jobs: Job ids, each job after the one before it; those that were submitted by hand come
            last. Empty: sbatch was called, and what it answered is not known.
        cancelled: When `hvdtrain cancel` took its jobs away; UTC, ISO 8601.
    """

    schema_version: Literal[1] = 1
    run_id: Annotated[str, Meta(min_length=1, max_length=200)]
    submitted: str
    command: str
    system: str
    cluster: str | None = None
    job_name: str
    request: JobRequest
    nodes: int
    global_batch: int
    total_steps: int
    walltime_min: int
    forecast_minutes: float | None = None
    chain: Annotated[int, Meta(ge=1, le=MOST_JOBS)] = 1
    jobs: tuple[JobId, ...] = ()
    cancelled: str | None = None


def make_submission(plan: JobPlan, run_id: str, submitted: str, chain: int = 1) -> Submission:
    """The submission of a plan, before any job has an id."""
    return Submission(
        run_id=run_id,
        submitted=submitted,
        command=plan.origin.command,
        system=plan.system.name,
        job_name=plan.directives.get("job-name", NAME_FROM_STDIN),
        request=plan.request,
        nodes=plan.run.nodes,
        global_batch=plan.run.global_batch,
        total_steps=plan.run.total_steps,
        walltime_min=plan.walltime_min,
        forecast_minutes=plan.forecast.minutes_to_train.value if plan.forecast else None,
        chain=chain,
    )


def with_job_by_hand(submission: Submission, job: str, environ: Mapping[str, str]) -> Submission:
    """The submission of a run that a job works on which `hvdtrain submit` knows nothing of.

    Args:
        submission: Without that job.
        job: Its id.
        environ: The environment of the job. It may have another name, as one of a sweep has that
            goes on alone, and be on another cluster, where there are several.
    """
    cluster = environ.get("SLURM_CLUSTER_NAME") if submission.cluster else None
    return msgspec.structs.replace(
        submission,
        jobs=(*submission.jobs, job),
        job_name=environ.get("SLURM_JOB_NAME", submission.job_name),
        cluster=cluster or submission.cluster,
        cancelled=None,
    )
