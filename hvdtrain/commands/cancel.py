"""`hvdtrain cancel`: take the jobs of runs out of Slurm."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import click
import msgspec

from hvdtrain.cli.completion import complete_run
from hvdtrain.cli.config import default_results
from hvdtrain.cli.output import LateErrors, print_json, say
from hvdtrain.cli.path_type import PathType
from hvdtrain.errors import InputError, RunError
from hvdtrain.files.fields import require_name
from hvdtrain.runs.folder import find_submission, write_submission
from hvdtrain.runs.progress import read_runs
from hvdtrain.runs.slurm_job import SlurmJob
from hvdtrain.runs.state import is_job_of
from hvdtrain.runs.submission import Submission
from hvdtrain.slurm.client import find_jobs
from hvdtrain.slurm.control import cancel_jobs

_EXAMPLE = """\b
Example:
  hvdtrain cancel hvdtrain-stampede2-knl-256n-b8192-20260314-150926
"""


@click.command("cancel", epilog=_EXAMPLE)
@click.argument("names", nargs=-1, metavar="[RUN|JOB]...", shell_complete=complete_run)
@click.option("--all", "everything", is_flag=True, help="The jobs of all runs in the folder.")
@click.option("--yes", is_flag=True, help="Do not ask before --all.")
@click.option("--results", type=PathType(), default=default_results, show_default="results")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array instead of lines.")
def command(
    names: tuple[str, ...], everything: bool, yes: bool, results: Path, as_json: bool
) -> None:
    """Cancel all jobs of a run, those that wait behind it too; or single jobs by their ids.

    Prints one line for each job that was cancelled. The run's folder stays; what it has trained
    up to its last checkpoint is kept. A job of another name that has got a run's old number is
    left alone.
    """
    if everything == bool(names):
        raise InputError("RUN", None, "runs or jobs, or --all", "hvdtrain status lists the runs")
    numbers, runs = _wanted(names, results) if names else ([], _submissions(results))
    # Runs of which single jobs were named: it is noted when they have none left.
    related = [each for each in _submissions(results) if _bases(each.jobs) & _bases(numbers)]
    places = {number: _cluster_of(number, related) for number in numbers}
    doomed: list[tuple[_Asked, dict[str, Submission | None]]] = []
    # Each cluster counts its jobs by itself.
    for cluster in dict.fromkeys([*places.values(), *(each.cluster for each in runs)]):
        own = [each for each in runs if each.cluster == cluster]
        near = [each for each in related if each.cluster == cluster]
        named = [number for number in numbers if places[number] == cluster]
        jobs = [*named, *(job for each in (*own, *near) for job in each.jobs)]
        queue = find_jobs(jobs, cluster)
        found = _jobs_of_runs(own, queue, speak=not everything)
        doomed.append((_Asked(cluster, queue), found | _jobs_of_numbers(named, near, queue)))
    count = sum(len(jobs) for _, jobs in doomed)
    if everything and count and not yes:
        click.confirm(f"cancel {count} jobs?", abort=True, err=True)
    lines = LateErrors()
    cancelled: list[Cancelled] = []
    try:
        for asked, found in doomed:
            if found:
                gone = _cancel(asked, found, results)
                cancelled += gone
                if not as_json:
                    _print_lines(gone, lines)
    finally:
        # What is cancelled is told also where another cluster does not answer.
        if as_json:
            print_json(cancelled)
    lines.finish()


class Cancelled(msgspec.Struct, frozen=True, kw_only=True):
    """A job that was cancelled: its id, what it did, and its run; None: of none that is known."""

    job: str
    state: str
    run: str | None


class _Asked(NamedTuple):
    """A cluster, and what its queue holds of the jobs in question."""

    cluster: str | None
    queue: dict[str, SlurmJob]


def _cancel(
    asked: _Asked, doomed: Mapping[str, Submission | None], results: Path
) -> list[Cancelled]:
    # The last job of a chain first: it would start when the one before it ends.
    cancel_jobs(list(reversed(list(doomed))), asked.cluster)
    cancelled = [
        Cancelled(
            job=job, state=asked.queue[job].state.lower(), run=owner.run_id if owner else None
        )
        for job, owner in doomed.items()
    ]
    left = {name for name, job in asked.queue.items() if job.is_active} - doomed.keys()
    for owner in {each.run_id: each for each in doomed.values() if each is not None}.values():
        if not left & set(owner.jobs):
            _note_cancelled(owner, results)
    return cancelled


def _print_lines(cancelled: Sequence[Cancelled], lines: LateErrors) -> None:
    for each in cancelled:
        run = f" of {each.run}" if each.run else ""
        lines.print_line(f"{each.job}{run}: was {each.state}, cancelled")


def _cluster_of(number: str, related: Sequence[Submission]) -> str | None:
    """The cluster of a job, by the run that it belongs to.

    Raises:
        InputError: Jobs of several clusters have this number.
    """
    owners = {each.cluster: each for each in related if _bases(each.jobs) & _bases([number])}
    if len(owners) > 1:
        runs = " and ".join(each.run_id for each in owners.values())
        allowed = f"a job of one cluster: {runs} have it on different ones"
        raise InputError("JOB", number, allowed, "give the name of the run")
    return next(iter(owners), None)


def _wanted(names: Sequence[str], results: Path) -> tuple[list[str], list[Submission]]:
    """Job ids, and the submissions of runs."""
    numbers: list[str] = []
    runs: dict[str, Submission] = {}
    for name in names:
        if re.fullmatch(r"[0-9]{1,10}(_[0-9]{1,7})?", name):
            numbers.append(name)
            continue
        submission = find_submission(results, require_name("RUN", name))
        if submission is None:
            raise InputError("RUN", name, f"a job id, or a run in {results} that was submitted")
        if not submission.jobs:
            raise RunError(
                f"no job of {name} is known: sbatch was called, and its answer is missing",
                f"look for {submission.job_name} in squeue, and give the job id",
            )
        runs[name] = submission
    return list(dict.fromkeys(numbers)), list(runs.values())


def _submissions(results: Path) -> list[Submission]:
    runs = read_runs(results) if results.is_dir() else ()
    return [each.submission for each in runs if each.submission is not None]


def _bases(jobs: Sequence[str]) -> set[str]:
    """The jobs, without the numbers of their tasks."""
    return {job.partition("_")[0] for job in jobs}


def _jobs_of_runs(
    runs: Sequence[Submission], queue: Mapping[str, SlurmJob], speak: bool
) -> dict[str, Submission | None]:
    """What waits or runs of these runs; of the others it may be said why it is left alone."""
    doomed: dict[str, Submission | None] = {}
    for run in runs:
        for number in run.jobs:
            job = queue.get(number)
            if job is None or not job.is_active:
                if speak:
                    say(f"{number} is not in the queue: there is nothing to cancel")
            elif not is_job_of(run, job):
                say(f"{number} is another job now, called {job.name}: left alone")
            else:
                doomed[number] = run
    return doomed


def _jobs_of_numbers(
    numbers: Sequence[str], related: Sequence[Submission], queue: Mapping[str, SlurmJob]
) -> dict[str, Submission | None]:
    """What waits or runs of these jobs, and whose it is; of a whole array, every task."""
    doomed: dict[str, Submission | None] = {}
    for number in numbers:
        tasks = [name for name in queue if name == number or name.startswith(f"{number}_")]
        active = [queue[name] for name in tasks if queue[name].is_active]
        if not active:
            say(f"{number} is not in the queue: there is nothing to cancel")
        for job in active:
            owners = (each for each in related if is_job_of(each, job))
            doomed[job.job] = next(owners, None)
    return doomed


def _note_cancelled(submission: Submission, results: Path) -> None:
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    noted = msgspec.structs.replace(submission, cancelled=now)
    try:
        write_submission(results / submission.run_id, noted)
    except RunError as error:
        say(f"{submission.run_id} cannot note that it was cancelled: {error.message}")
