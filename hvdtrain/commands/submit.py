"""`hvdtrain submit`: give a run to Slurm."""

from __future__ import annotations

import datetime
import os
import re
from pathlib import Path
from typing import Any

import click
import msgspec

from hvdtrain.cli import job_options as job
from hvdtrain.cli.completion import complete_run
from hvdtrain.cli.output import LateErrors, print_json, print_text, say
from hvdtrain.errors import InputError
from hvdtrain.files.fields import require_name
from hvdtrain.plan.job.chain import jobs_needed, plan_chained
from hvdtrain.plan.job.job_plan import JobPlan
from hvdtrain.runs.folder import find_submission, free_run_id
from hvdtrain.runs.state import is_job_of
from hvdtrain.runs.submission import MOST_JOBS, Submission, make_submission
from hvdtrain.slurm.client import Accepted, find_jobs, script_environ
from hvdtrain.slurm.render import render_script
from hvdtrain.slurm.submitting import submit_chain
from hvdtrain.units import format_duration, format_walltime

_EXAMPLE = """\b
Example:
  hvdtrain submit --nodes 256 --data /scratch/imagenet --chain 2
"""


@click.command("submit", cls=job.RecordedCommand, epilog=_EXAMPLE)
@job.job_options
@click.option(
    "--after",
    metavar="JOB|RUN",
    shell_complete=complete_run,
    help="Start when this job, or the last job of this run, has ended in whatever way.",
)
@click.option(
    "--chain",
    type=click.IntRange(1, MOST_JOBS),
    help="Submit so many jobs of the one run, each going on from the checkpoint of the job "
    "before it.",
)
@click.option(
    "--dry-run", is_flag=True, help="Print the script; say what would be done, and do nothing."
)
@click.option("--explain", is_flag=True, help="Print the plan as a table on stderr as well.")
@click.option("--json", "as_json", is_flag=True, help="Print the submission as JSON.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    job_file: Path | None,
    after: str | None,
    chain: int | None,
    dry_run: bool,
    explain: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Submit a run with sbatch, and print its job id: one line for each job of a chain.

    The script and the job ids are kept in the run's folder, RESULTS/RUN/job.sh and
    submission.json, where `hvdtrain status` and `hvdtrain cancel` find them. When sbatch refuses,
    nothing is left.
    """
    planner = job.make_planner(ctx, **options)
    request = job.with_whole_path(job.make_request(planner, job_file))
    plan = job.with_data_note(planner.plan(request))
    plan = check_chain(plan, chain)
    results = Path(plan.request.results)
    now = datetime.datetime.now(datetime.UTC)
    run_id = free_run_id(results, f"{plan.job_name}-{now:%Y%m%d-%H%M%S}")
    plan = msgspec.structs.replace(plan, run_id=run_id)
    script = render_script(plan)
    submission = make_submission(plan, run_id, now.isoformat(timespec="seconds"), chain or 1)
    environ, dropped = script_environ(os.environ, plan.directives)
    for note in (*plan.notes, *_ignored(dropped)):
        say(f"note: {note}")
    if explain:
        job.explain(plan)
    if dry_run:
        say(f"would submit {describe(submission)}{f', after {after}' if after else ''}")
        print_json(submission) if as_json else print_text(script)
        return
    say(f"submitting {describe(submission)}")
    lines = LateErrors()
    submission = submit_chain(
        results,
        submission,
        script,
        environ,
        after=find_last_job(after, results, wanted_clusters(plan)),
        tell=(lambda _: None) if as_json else lines.print_line,
    )
    say(f"kept in {results / run_id}; see `hvdtrain status {run_id}`")
    if as_json:
        print_json(submission)
    lines.finish()


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


def describe(submission: Submission) -> str:
    """What is submitted, in words."""
    each = format_walltime(submission.walltime_min)
    hours = submission.nodes * submission.walltime_min * submission.chain / 60
    count = f"{submission.chain} jobs" if submission.chain > 1 else "1 job"
    return (
        f"{submission.run_id}: {count} of {submission.nodes} nodes and {each}, "
        f"at most {hours:.0f} node-hours"
    )


def _ignored(names: list[str]) -> list[str]:
    return [f"{name} is set and would overrule the script: it is left out" for name in names]
