"""What `hvdtrain submit` and `hvdtrain resume` share: how many jobs, and behind which."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

import click
import msgspec

from hvdtrain.cli.completion import complete_run
from hvdtrain.cli.options import option_group
from hvdtrain.cli.output import say
from hvdtrain.errors import InputError
from hvdtrain.files.fields import require_name
from hvdtrain.plan.job.chain import jobs_needed, plan_chained
from hvdtrain.plan.job.job_plan import JobPlan
from hvdtrain.runs.folder import find_submission
from hvdtrain.runs.state import is_job_of
from hvdtrain.runs.submission import MOST_JOBS, Submission
from hvdtrain.slurm.client import Accepted, find_jobs
from hvdtrain.units import format_duration, format_walltime

submission_options = option_group(
    click.option(
        "--after",
        metavar="JOB|RUN",
        shell_complete=complete_run,
        help="Start when this job, or the last job of this run, has ended in whatever way.",
    ),
    click.option(
        "--chain",
        type=click.IntRange(1, MOST_JOBS),
        help="Submit so many jobs of the one run, each going on from the checkpoint of the job "
        "before it.",
    ),
    click.option(
        "--dry-run", is_flag=True, help="Print the script; say what would be done, and do nothing."
    ),
    click.option("--explain", is_flag=True, help="Print the plan as a table on stderr as well."),
    click.option("--json", "as_json", is_flag=True, help="Print the submission as JSON."),
)
"""Adds the options with which a run is given to Slurm."""


def check_chain(plan: JobPlan, chain: int | None) -> JobPlan:
    """The plan of each job of the chain, with a note when they are too few.

    Raises:
        InputError: The run is longer than a job may be, and nothing was said of a chain.
    """
    plan = plan_chained(plan, chain or 1)
    if plan.forecast is None:
        return plan
    needed = jobs_needed(plan.forecast, plan.walltime_min)
    if needed is None or needed <= (chain or 1):
        return plan
    each = format_walltime(plan.walltime_min)
    train = format_duration(plan.forecast.minutes_to_train.high * 60)
    text = f"the run takes {train} at most, that is {needed} jobs of {each}, start-up included"
    if chain is None and plan.request.walltime is None and needed <= MOST_JOBS:
        fix = f"--chain {needed}; or --chain 1 for a single job that will not finish the run"
        raise InputError("--chain", None, text, fix)
    return msgspec.structs.replace(plan, notes=(*plan.notes, f"{text}: --chain {needed}"))


def wanted_clusters(plan: JobPlan) -> str | None:
    """The clusters that sbatch may choose from, divided by commas; None: the one it belongs to."""
    return plan.directives.get("clusters") or os.environ.get("SLURM_CLUSTERS")


def find_last_job(after: str | None, results: Path, clusters: str | None) -> Accepted | None:
    """The job to wait for: the one itself, or what is left of the run's last one.

    Args:
        after: A job or a run.
        results: Folder of all runs.
        clusters: Those that the waiting job may go to, as of `wanted_clusters`.

    Raises:
        InputError: Neither a job nor a run that was submitted, or one of another cluster.
        SlurmError: Slurm does not say whether the run's job is still there.
    """
    if after is None:
        return None
    if re.fullmatch(r"[0-9]{1,10}(_[0-9]{1,7})?", after):
        return Accepted(after, None)
    submission = find_submission(results, require_name("--after", after))
    if submission is None or not submission.jobs:
        raise InputError("--after", after, f"a job id, or a run in {results} whose job is known")
    last = Accepted(submission.jobs[-1], submission.cluster)
    found = find_jobs([last.job], last.cluster).get(last.job)
    if found is None or not found.is_active or not is_job_of(submission, found):
        say(f"note: {after} has ended: there is nothing to wait for")
        return None
    if clusters is not None and last.cluster not in clusters.split(","):
        raise InputError(
            "--after",
            after,
            f"a run on {clusters}: a job can wait only for jobs of its own cluster",
            f"set SLURM_CLUSTERS={last.cluster}" if last.cluster else "unset SLURM_CLUSTERS",
        )
    return last


def describe(submission: Submission, jobs: int) -> str:
    """What is submitted, in words: so many jobs of a run."""
    each = format_walltime(submission.walltime_min)
    hours = submission.nodes * submission.walltime_min * jobs / 60
    count = f"{jobs} jobs" if jobs > 1 else "1 job"
    return (
        f"{submission.run_id}: {count} of {submission.nodes} nodes and {each}, "
        f"at most {hours:.0f} node-hours"
    )


def ignored(names: Iterable[str]) -> list[str]:
    """Notes on variables of the user's that are kept from sbatch."""
    return [f"{name} is set and would overrule the script: it is left out" for name in names]
