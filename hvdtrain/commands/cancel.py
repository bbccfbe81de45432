"""`hvdtrain cancel`: take the jobs of runs out of Slurm."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import msgspec

from hvdtrain.collect.runs import read_runs
from hvdtrain.commands.job_options import say
from hvdtrain.errors import InputError, RunError
from hvdtrain.plan.runstate import is_job_of
from hvdtrain.plan.slurmjob import SlurmJob
from hvdtrain.plan.submission import Submission
from hvdtrain.plan.text import printable, require_name
from hvdtrain.slurm.client import cancel_jobs, find_jobs
from hvdtrain.slurm.runfolder import find_submission, write_submission

_EXAMPLE = """\b
Example:
  hvdtrain cancel hvdtrain-stampede2-knl-256n-b8192-20260314-150926
"""


@dataclass(frozen=True)
class Target:
    """A job to cancel, and the run it belongs to; None: it is of no run in the folder."""

    job: str
    submission: Submission | None


@click.command("cancel", epilog=_EXAMPLE)
@click.argument("names", nargs=-1, metavar="[RUN|JOB]...")
@click.option("--all", "everything", is_flag=True, help="The jobs of all runs in the folder.")
@click.option("--yes", is_flag=True, help="Do not ask before --all.")
@click.option(
    "--results", type=click.Path(path_type=Path), default=Path("results"), show_default=True
)
def command(names: tuple[str, ...], everything: bool, yes: bool, results: Path) -> None:
    """Cancel all jobs of a run, those that wait behind it too; or single jobs by their ids.

    Prints one line for each job that was cancelled. The run's folder stays; what it has trained
    up to its last checkpoint is kept. A job of another name that has got a run's old number is
    left alone.
    """
    if everything == bool(names):
        raise InputError("RUN", None, "runs or jobs, or --all", "hvdtrain status lists the runs")
    targets = _all_targets(results) if everything else _named_targets(names, results)
    queue = find_jobs(_asked_jobs(targets))
    active = _still_active(targets, queue, speak=not everything)
    if everything and active and not yes:
        click.confirm(f"cancel {len(active)} jobs?", abort=True, err=True)
    if not active:
        return
    # The last job of a chain first: it would start when the one before it ends.
    cancel_jobs([job.job for _, job in reversed(active)])
    for target, job in active:
        run = f" of {target.submission.run_id}" if target.submission else ""
        click.echo(f"{job.job}{run}: was {job.state.lower()}, cancelled")
    gone = {job.job for _, job in active}
    left = {name for name, job in queue.items() if _is_active(job) and name not in gone}
    runs = {each.submission.run_id: each.submission for each, _ in active if each.submission}
    for submission in runs.values():
        if not left & set(submission.jobs):
            _note_cancelled(submission, results)


def _named_targets(names: Sequence[str], results: Path) -> list[Target]:
    targets: dict[str, Target] = {}
    for name in names:
        if re.fullmatch(r"[0-9]{1,10}(_[0-9]{1,7})?", name):
            targets.setdefault(name, Target(name, _owner(name, results)))
            continue
        submission = find_submission(results, require_name("RUN", name))
        if submission is None:
            raise InputError("RUN", name, f"a job id, or a run in {results} that was submitted")
        if not submission.jobs:
            raise RunError(
                f"no job of {name} is known: sbatch was called, and its answer is missing",
                f"look for {submission.job_name} in squeue, and give the job id",
            )
        targets |= {job: Target(job, submission) for job in submission.jobs}
    return list(targets.values())


def _all_targets(results: Path) -> list[Target]:
    return [
        Target(job, facts.submission)
        for facts in read_runs(results)
        if facts.submission is not None and facts.submission.cancelled is None
        for job in facts.submission.jobs
    ]


def _owner(job: str, results: Path) -> Submission | None:
    """The run in the folder that a job belongs to."""
    runs = read_runs(results) if results.is_dir() else ()
    found = (each.submission for each in runs if each.submission is not None)
    return next((submission for submission in found if job in submission.jobs), None)


def _asked_jobs(targets: Sequence[Target]) -> list[str]:
    """The targets, and the other jobs of their runs."""
    jobs = [target.job for target in targets]
    jobs += [job for target in targets if target.submission for job in target.submission.jobs]
    return list(dict.fromkeys(jobs))


def _still_active(
    targets: Sequence[Target], queue: Mapping[str, SlurmJob], speak: bool
) -> list[tuple[Target, SlurmJob]]:
    """The targets that wait or run; of the others it may be said why not."""
    active = []
    for target in targets:
        jobs = [job for job in _jobs_of(target, queue) if _is_active(job)]
        if not jobs and speak:
            say(f"{target.job} is not in the queue: there is nothing to cancel")
        for job in jobs:
            if target.submission is not None and not is_job_of(target.submission, job):
                say(f"{target.job} is another job now, called {printable(job.name)}: left alone")
            else:
                active.append((target, job))
    return active


def _jobs_of(target: Target, queue: Mapping[str, SlurmJob]) -> list[SlurmJob]:
    """The job; or every task, where the number of a whole array was given."""
    if target.job in queue:
        return [queue[target.job]]
    return [job for name, job in queue.items() if name.startswith(f"{target.job}_")]


def _is_active(job: SlurmJob) -> bool:
    return job.is_waiting or job.is_running


def _note_cancelled(submission: Submission, results: Path) -> None:
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    noted = msgspec.structs.replace(submission, cancelled=now)
    try:
        write_submission(results / submission.run_id, noted)
    except OSError as error:
        say(f"{submission.run_id} cannot note that it was cancelled: {error.strerror}")
