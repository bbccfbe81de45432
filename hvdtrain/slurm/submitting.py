"""Gives runs to Slurm so that no job is ever in the queue without a trace in the results."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from hvdtrain.errors import RunError
from hvdtrain.runs.folder import discard_run, renew_script, reserve_run, write_submission
from hvdtrain.runs.submission import Submission
from hvdtrain.slurm.client import Accepted, submit_script
from hvdtrain.slurm.command import SlurmError, SlurmMissingError, on_cluster

Say = Callable[[str], None]


def submit_chain(
    results: Path,
    submission: Submission,
    script: str,
    environ: Mapping[str, str],
    *,
    after: Accepted | None = None,
    tell: Say,
) -> Submission:
    """Submit the jobs of a run, each after the one before it.

    Args:
        results: Folder of all runs.
        submission: What is submitted, still without job ids.
        script: The same for each job of the chain.
        environ: The environment for sbatch, and so for the job.
        after: A job that must have ended before the first one.
        tell: Called with each job id that Slurm has given, also when it cannot be kept.

    Returns:
        The submission with its job ids.

    Raises:
        InputError: A run of this name is there.
        RunError: sbatch refused, or did not say whether it did. Nothing is left of a run of
            which no job was submitted; of another one, the jobs that were are known.
    """
    folder = reserve_run(results, submission, script)
    for number in range(1, submission.chain + 1):
        try:
            accepted = submit_script(script, environ, after=after)
        except RunError as error:
            _give_up([folder], error, submission, number)
            raise
        after = accepted
        submission = _keep_job(folder, submission, accepted, tell)
    return submission


def resume_chain(
    results: Path,
    submission: Submission,
    script: str,
    environ: Mapping[str, str],
    *,
    jobs: int,
    after: Accepted | None = None,
    tell: Say,
) -> Submission:
    """Submit more jobs of a run that is there, each after the one before it.

    What stands in the run's folder changes when the first of them is in the queue, and not before.

    Args:
        results: Folder of all runs.
        submission: What is submitted, with the ids of the run's earlier jobs.
        script: The same for each job.
        environ: The environment for sbatch, and so for the job.
        jobs: How many.
        after: A job that must have ended before the first one.
        tell: Called with each job id that Slurm has given, also when it cannot be kept.

    Returns:
        The submission with the new job ids.

    Raises:
        RunError: sbatch refused, or did not say whether it did.
    """
    folder = results / submission.run_id
    for number in range(1, jobs + 1):
        try:
            accepted = submit_script(script, environ, after=after)
        except RunError as error:
            if _is_unclear(error):
                error.fix = f"the job may be in the queue: look for {submission.job_name} in squeue"
            elif number > 1:
                error.fix = f"{number - 1} of {jobs} jobs were submitted: let them run"
            raise
        after = accepted
        submission = _keep_job(folder, submission, accepted, tell)
        if number == 1:
            renew_script(folder, script)
    return submission


def submit_array(
    results: Path,
    members: Sequence[tuple[Submission, str]],
    script: str,
    environ: Mapping[str, str],
    tell: Callable[[Submission, str], None],
) -> None:
    """Submit several runs as the tasks of one array.

    Args:
        results: Folder of all runs.
        members: Submission and script of each run.
        script: Of the array; each task finds its run by its number.
        environ: The environment for sbatch, and so for the job.
        tell: Called with each run and its job id.

    Raises:
        InputError: A run of one of the names is there.
        RunError: As of `submit_chain`.
    """
    folders: list[Path] = []
    try:
        for submission, own in members:
            folders.append(reserve_run(results, submission, own))
        accepted = submit_script(script, environ, tasks=len(members))
    except RunError as error:
        _give_up(folders, error, members[0][0], 1)
        raise
    except BaseException:
        # A name that is taken. What interrupts sbatch itself leaves the folders: see `Submission`.
        if len(folders) < len(members):
            for folder in folders:
                discard_run(folder)
        raise
    failed: RunError | None = None
    for number, (folder, (submission, _)) in enumerate(zip(folders, members, strict=True)):
        job = f"{accepted.job}_{number}"
        try:
            _keep(folder, _with_job(submission, accepted, job))
        except RunError as error:
            # The others may be kept, and all are told.
            failed = failed or error
        tell(submission, job)
    if failed is not None:
        raise failed


def _keep_job(folder: Path, submission: Submission, accepted: Accepted, tell: Say) -> Submission:
    submission = _with_job(submission, accepted, accepted.job)
    # Whichever of the two fails, the other is done: the job is in the queue.
    try:
        _keep(folder, submission)
    finally:
        tell(accepted.job)
    return submission


def _with_job(submission: Submission, accepted: Accepted, job: str) -> Submission:
    return msgspec.structs.replace(
        submission, jobs=(*submission.jobs, job), cluster=accepted.cluster
    )


def _give_up(folders: Sequence[Path], error: RunError, submission: Submission, number: int) -> None:
    """Leave a clear state, and say in the error what it is."""
    run = f"the run {submission.run_id}" if len(folders) == 1 else f"{len(folders)} runs"
    unclear = _is_unclear(error)
    known = f"{number - 1} of {submission.chain} jobs of {run} were submitted"
    if not unclear and number == 1:
        for folder in folders:
            discard_run(folder)
    elif not unclear:
        error.fix = f"{known}: let them run, or hvdtrain cancel {submission.run_id}"
    elif number == 1:
        error.fix = (
            f"{run} may be in the queue or not, and hvdtrain status calls it unclear: look for "
            f"{submission.job_name} in squeue. When there is none, remove "
            f"{' '.join(map(str, folders))}"
        )
    else:
        error.fix = f"{known}, and one more may be: look for {submission.job_name} in squeue"


def _is_unclear(error: RunError) -> bool:
    """Whether the job may be in the queue all the same."""
    return isinstance(error, SlurmError) and not isinstance(error, SlurmMissingError)


def _keep(folder: Path, submission: Submission) -> None:
    """Write the job ids down.

    Raises:
        RunError: They cannot be written; the message gives them.
    """
    try:
        write_submission(folder, submission)
    except RunError as error:
        raise RunError(
            f"the jobs {', '.join(submission.jobs)} of {submission.run_id} are in the queue, but "
            f"{error.message}",
            "note the numbers, or cancel them: "
            + shlex.join(["scancel", *on_cluster(submission.cluster), *submission.jobs]),
        ) from None
