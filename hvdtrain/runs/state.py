"""The state of a run, from what it left in its folder and what Slurm says of its jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from hvdtrain.runs.record import Status
from hvdtrain.runs.slurm_job import SlurmJob
from hvdtrain.runs.submission import Submission

State = Literal[
    "pending",
    "running",
    "requeued",
    "completed",
    "failed",
    "diverged",
    "incomplete",
    "cancelled",
    "unclear",
    "lost",
    "unknown",
]
ACTIVE: frozenset[State] = frozenset({"pending", "running", "requeued", "unknown"})
"""States that change by themselves."""

QUIET_SECONDS = 120.0
QUIET_STEPS = 20
"""A run without a job is taken to run while its metrics are no further from now than the longer."""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a run's metrics have come.

    Attributes:
        step: Updates made.
        epoch: Counted from 1.
        seconds: Of training, evaluations included.
        written: When the last line was written; seconds since 1970.
        step_seconds: Median of the latest updates; None: there were none.
        stragglers: Who was slower than the others in the last epoch, for people.
    """

    step: int
    epoch: int
    seconds: float
    written: float
    step_seconds: float | None = None
    stragglers: tuple[str, ...] = ()


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """What a run set out to do."""

    total_steps: int
    steps_per_epoch: float
    global_batch: int


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """What a run's record says of its end."""

    status: Status
    step: int
    epoch: int
    images_per_second: float | None
    failure: str | None
    stragglers: tuple[str, ...] = ()


class RunFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is in a run's folder; None: that is not there.

    Attributes:
        run_id: The folder's name.
        submission: What was submitted to Slurm.
        planned: The plan, written when the run started.
        progress: What its metrics say until now.
        ended: The record, written when it ended.
        hang: Why its ranks were ended when one of them hung; empty: none did.
        fault: A file that cannot be read, and why; empty: none.
    """

    run_id: str
    submission: Submission | None = None
    planned: Planned | None = None
    progress: Progress | None = None
    ended: Ended | None = None
    hang: str = ""
    fault: str = ""


class RunStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How a run is doing.

    Attributes:
        run: Its id.
        state: In one word. `incomplete`: it was cut off and can go on. `unclear`: sbatch was
            called and no job id is known. `lost`: its jobs are gone and left nothing. `unknown`:
            Slurm does not say.
        reason: Why, where something is known.
        jobs: Job ids.
        job: The job that the state is about; None: none.
        step: Updates made.
        steps: Planned; None: not known.
        epoch: Counted from 1; 0: not begun.
        epochs: Planned, the last one perhaps a part of one; None: not known.
        images_per_second: Training throughput of all ranks together.
        seconds_left: Until its end, as it goes now; None: not known.
        ends: When that is, waiting included; seconds since 1970; None: not known.
        stragglers: Who was slower than the others in the last epoch.
    """

    run: str
    state: State
    reason: str = ""
    jobs: tuple[str, ...] = ()
    job: str | None = None
    step: int = 0
    steps: int | None = None
    epoch: int = 0
    epochs: float | None = None
    images_per_second: float | None = None
    seconds_left: float | None = None
    ends: float | None = None
    stragglers: tuple[str, ...] = ()


def judge_run(facts: RunFacts, queue: Mapping[str, SlurmJob] | None, now: float) -> RunStatus:
    """The state of a run.

    Args:
        facts: What is in its folder.
        queue: What Slurm knows of its jobs; None: Slurm does not answer.
        now: Seconds since 1970.
    """
    submission = facts.submission
    found = {} if submission is None else _own_jobs(submission, queue or {})
    state, reason, job = _judge(facts, found, queue is None, now)
    planned, progress, ended = facts.planned, facts.progress, facts.ended
    left = _seconds_left(facts) if state in ACTIVE else None
    total = planned or submission
    reached = ended or progress
    return RunStatus(
        run=facts.run_id,
        state=state,
        reason=reason,
        jobs=submission.jobs if submission else (),
        job=job.job if job else None,
        step=reached.step if reached else 0,
        steps=total.total_steps if total else None,
        epoch=reached.epoch if reached else 0,
        epochs=planned.total_steps / planned.steps_per_epoch if planned else None,
        images_per_second=ended.images_per_second if ended else _speed(facts, state),
        seconds_left=left,
        ends=_end(left, state, job, progress, now),
        stragglers=reached.stragglers if reached else (),
    )


def _own_jobs(submission: Submission, queue: Mapping[str, SlurmJob]) -> dict[str, SlurmJob]:
    """The run's jobs. Slurm counts from 1 again some day: another name is another job."""
    mine = (queue.get(job) for job in submission.jobs)
    return {job.job: job for job in mine if job is not None and is_job_of(submission, job)}


def is_job_of(submission: Submission, job: SlurmJob) -> bool:
    """Whether a job of the right number is also the right job."""
    return job.job in submission.jobs and job.name == submission.job_name


def _judge(
    facts: RunFacts, found: Mapping[str, SlurmJob], silent: bool, now: float
) -> tuple[State, str, SlurmJob | None]:
    """State, reason, and the job that both are about."""
    ended, submission = facts.ended, facts.submission
    if ended is not None and ended.status in ("completed", "diverged"):
        return ended.status, ended.failure or "", None
    for job in found.values():
        if job.is_running:
            return "running", "" if job.state == "RUNNING" else job.state, job
    begun = facts.planned is not None
    for job in found.values():
        if job.is_waiting:
            return "requeued" if begun else "pending", job.reason, job
    if ended is not None and ended.status == "failed":
        return "failed", ended.failure or "", None
    is_written = _is_written(facts, found, now)
    if submission is None:
        if is_written:
            return "running", "not submitted by hvdtrain", None
        return "incomplete", facts.fault or facts.hang, None
    if submission.cancelled is not None:
        return "cancelled", "can go on" if begun else "", None
    if is_written:
        return "running", "its job is not known", None
    if not submission.jobs:
        return "unclear", "sbatch was called, and no job id is known", None
    last = next(reversed(list(found.values())), None)
    if silent:
        return "unknown", "Slurm does not say", None
    if begun:
        reason = facts.fault or facts.hang or (last.state if last else "")
        return "incomplete", reason, None
    if last is None:
        return "lost", facts.hang or "left nothing", None
    return "failed", facts.hang or f"Slurm: {last.state}", None


def _is_written(facts: RunFacts, found: Mapping[str, SlurmJob], now: float) -> bool:
    """Whether somebody trains, by the metrics, now that none of the jobs that are found runs."""
    progress = facts.progress
    if facts.ended is not None or progress is None or facts.hang:
        return False
    quiet = max(QUIET_SECONDS, QUIET_STEPS * (progress.step_seconds or 0))
    # The clocks of file server and login node differ, but metrics of a later day are not of now.
    is_fresh = abs(now - progress.written) < quiet
    return is_fresh and all(
        job.ends is not None and job.ends < progress.written for job in found.values()
    )


def _speed(facts: RunFacts, state: State) -> float | None:
    """Images per second now; None: it does not run."""
    planned, progress = facts.planned, facts.progress
    if state not in ("running", "unknown") or not planned or not progress:
        return None
    return planned.global_batch / progress.step_seconds if progress.step_seconds else None


def _seconds_left(facts: RunFacts) -> float | None:
    """From the run's own speed once there is one, evaluations included; else from the forecast."""
    planned, progress, submission = facts.planned, facts.progress, facts.submission
    if planned and progress and progress.step_seconds and progress.step:
        pace = progress.step_seconds
        if progress.step > planned.steps_per_epoch:
            pace = max(pace, progress.seconds / progress.step)
        return max(0, planned.total_steps - progress.step) * pace
    if submission is None or submission.forecast_minutes is None:
        return None
    return submission.forecast_minutes * 60


def _end(
    left: float | None, state: State, job: SlurmJob | None, progress: Progress | None, now: float
) -> float | None:
    if left is None:
        return None
    if state == "running":
        return max(now, (min(progress.written, now) if progress else now) + left)
    starts = job.starts if job else None
    return None if starts is None else max(now, starts) + left
