"""`hvdtrain attempt`: what a job's script asks before its ranks start, and when they have ended."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path

import click

from hvdtrain.cli.output import say
from hvdtrain.cli.path_type import PathType
from hvdtrain.errors import InputError, RunError
from hvdtrain.files.decode import load_json
from hvdtrain.files.fields import require_name
from hvdtrain.runs.attempt import (
    MOST_RESTARTS,
    next_attempt,
    read_attempt,
    read_failure,
    remove_failure,
    remove_hang,
    write_attempt,
)
from hvdtrain.runs.folder import find_submission, write_submission
from hvdtrain.runs.job_identity import JobIdentity, read_job_identity
from hvdtrain.runs.names import CHECKPOINTS_FOLDER, PREFLIGHT_FILE, RECORD_FILE
from hvdtrain.runs.preflight import Preflight
from hvdtrain.runs.record import Record
from hvdtrain.runs.submission import Submission, with_job_by_hand
from hvdtrain.slurm.control import count_nodes, exclude_nodes, requeue_job
from hvdtrain.train.checkpoint.archive import newest_step

_EXAMPLE = """\b
Example:
  hvdtrain attempt end --requeue --results results --run-id "$run_id"
"""


@click.command(epilog=_EXAMPLE)
@click.argument("moment", type=click.Choice(["begin", "end", "refused"]))
@click.option("--results", type=PathType(), default=Path("results"), show_default=True)
@click.option("--run-id", required=True, help="Name of the run's folder.")
@click.option("--requeue", is_flag=True, help="Whether the site lets a job requeue itself.")
def command(moment: str, results: Path, run_id: str, requeue: bool) -> None:
    """Called by a job's script; nobody else needs it.

    `begin`, before the ranks start, counts the job's restarts and fails when there were three from
    the same checkpoint. The next job of a chain counts as one, and fails where a job before it
    failed in a way that it would repeat. A job that was submitted by hand begins at nought, and is
    noted as a job of the run.

    `end`, when the ranks did not end well, puts the job back into the queue, unless the run is
    over, has failed in a way that another start would repeat, or has not come further in three
    restarts.

    `refused`, when a preflight has ended the job: the jobs of its chain leave out the nodes that it
    found wanting, as a job does that goes back into the queue.
    """
    folder = results / require_name("--run-id", run_id)
    submission = find_submission(results, run_id)
    if moment == "begin":
        _begin(folder, submission)
    elif moment == "end":
        _end(folder, requeue, submission)
    else:
        cluster = submission.cluster if submission else None
        _leave_out(folder, _next_jobs(submission), cluster)


def _begin(folder: Path, submission: Submission | None) -> None:
    step = newest_step(folder / CHECKPOINTS_FOLDER)
    job = _job()
    known = submission.jobs if submission else ()
    before = known[: known.index(job.name)] if job.name in known else ()
    for other in before:
        failure = read_failure(folder, other)
        if failure is not None:
            raise RunError(
                f"the job does not start: job {other} of the run has failed, and this one would "
                f"again: {failure}",
                f"when that is mended, submit the same script with HVDTRAIN_RUN_ID={folder.name}",
            )
    attempt = next_attempt(read_attempt(folder) if job.restarts or before else None, step)
    if attempt.is_one_too_many:
        raise _no_progress(folder, step)
    write_attempt(folder, attempt)
    remove_failure(folder, job.name)
    remove_hang(folder)
    if submission is not None and job.name not in known:
        # Whoever submits a job by hand has done something about earlier failures.
        for other in known:
            remove_failure(folder, other)
        write_submission(folder, with_job_by_hand(submission, job.name, os.environ))


def _end(folder: Path, requeue: bool, submission: Submission | None) -> None:
    _leave_out(folder, _next_jobs(submission), submission.cluster if submission else None)
    over = _why_over(folder)
    if over:
        raise RunError(f"the job is not started again: {over}")
    step = newest_step(folder / CHECKPOINTS_FOLDER)
    attempt = read_attempt(folder)
    if attempt is not None and not attempt.may_be_followed(step):
        raise _no_progress(folder, step)
    from_where = f"step {step}" if step else "the first step: there is no checkpoint yet"
    by_hand = f"submit the same script with HVDTRAIN_RUN_ID={folder.name}"
    if not requeue:
        in_a_chain = f"in a chain, the next job goes on from {from_where}"
        raise RunError("the job does not requeue itself", f"{in_a_chain}. Otherwise, {by_hand}")
    # Said before: Slurm may end the job, and this process, before it has answered.
    asking = "asking Slurm to put the job back into the queue"
    say(f"{asking}, to go on from {from_where}")
    job = _job().name
    # Slurm asks this process to end soon after it has requeued the job.
    usual = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        refusal = requeue_job(job)
        if not refusal:
            _leave_out(folder, [job], None)
    finally:
        signal.signal(signal.SIGTERM, usual)
    if refusal:
        raise RunError(
            f"Slurm does not requeue the job: {refusal}", f"{by_hand}; it goes on from {from_where}"
        )


def _leave_out(folder: Path, jobs: Sequence[str], cluster: str | None) -> None:
    """Leave the nodes that the last preflight found wanting out of jobs that wait.

    Where too few would be left, a job would wait for ever: then it has to take them again.
    """
    path = folder / PREFLIGHT_FILE
    if not jobs or not path.is_file():
        return
    report = load_json(path, Preflight)
    if not report.excluded:
        return
    partition = os.environ.get("SLURM_JOB_PARTITION", "")
    working = count_nodes(partition) if partition else None
    if working is None or working - report.excluded_hosts < len(report.hosts):
        say(f"{report.excluded} cannot be left out: {partition} has too few other nodes")
        return
    for job in jobs:
        refusal = exclude_nodes(job, report.excluded, cluster)
        if refusal:
            say(f"{report.excluded} is not left out of the job {job}: {refusal}")
        else:
            say(f"the job {job} leaves out {report.excluded}")


def _next_jobs(submission: Submission | None) -> tuple[str, ...]:
    """The jobs of the run's chain that wait for this one."""
    known, own = submission.jobs if submission else (), _job().name
    return known[known.index(own) + 1 :] if own in known else ()


def _why_over(folder: Path) -> str:
    """Why another start would change nothing; empty: it may."""
    failure = read_failure(folder, _job().name)
    if failure is not None:
        return failure
    record = folder / RECORD_FILE
    if record.exists() and load_json(record, Record).status == "completed":
        return "the run is completed"
    return ""


def _no_progress(folder: Path, step: int) -> RunError:
    where = f"step {step}" if step else "the first step"
    return RunError(
        f"{folder.name} was started again {MOST_RESTARTS} times from {where} and wrote no newer "
        "checkpoint: the job stops here",
        "find out why in its output; to try again, submit the same script with "
        f"HVDTRAIN_RUN_ID={folder.name}",
    )


def _job() -> JobIdentity:
    job = read_job_identity(os.environ)
    if job is None:
        raise InputError("SLURM_JOB_ID", None, "the number of the job; Slurm sets it")
    return job
