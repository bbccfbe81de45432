"""`hvdtrain submit`: give a run to Slurm."""

from __future__ import annotations

import datetime
import os
from pathlib import Path
from typing import Any

import click
import msgspec

from hvdtrain.cli import job_options as job
from hvdtrain.cli.output import LateErrors, print_json, print_text, say
from hvdtrain.cli.submission import (
    check_chain,
    describe,
    find_last_job,
    ignored,
    submission_options,
    wanted_clusters,
)
from hvdtrain.runs.folder import free_run_id
from hvdtrain.runs.submission import make_submission
from hvdtrain.slurm.client import script_environ
from hvdtrain.slurm.render import render_script
from hvdtrain.slurm.submitting import submit_chain

_EXAMPLE = """\b
Example:
  hvdtrain submit --nodes 256 --data /scratch/imagenet --chain 2
"""


@click.command("submit", cls=job.RecordedCommand, epilog=_EXAMPLE)
@job.job_options
@submission_options
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
    plan = planner.plan(job.make_request(planner, job_file), submitted=True)
    plan = check_chain(plan, chain)
    results = Path(plan.request.results)
    now = datetime.datetime.now(datetime.UTC)
    run_id = free_run_id(results, f"{plan.job_name}-{now:%Y%m%d-%H%M%S}")
    plan = msgspec.structs.replace(plan, run_id=run_id)
    script = render_script(plan)
    submission = make_submission(plan, run_id, now.isoformat(timespec="seconds"), chain or 1)
    environ, dropped = script_environ(os.environ, plan.directives)
    for note in (*plan.notes, *ignored(dropped)):
        say(f"note: {note}")
    if explain:
        job.explain(plan)
    what = describe(submission, submission.chain)
    if dry_run:
        say(f"would submit {what}{f', after {after}' if after else ''}")
        print_json(submission) if as_json else print_text(script)
        return
    say(f"submitting {what}")
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
