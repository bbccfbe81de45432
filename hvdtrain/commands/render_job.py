"""`hvdtrain render-job`: the Slurm script of a run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from hvdtrain.cli import job_options as job
from hvdtrain.cli.output import say
from hvdtrain.plan.job.job_plan import JobPlan

_EXAMPLE = """\b
Example:
  hvdtrain render-job --nodes 1536 --data /scratch/imagenet --explain | sbatch
"""


@click.command("render-job", cls=job.RecordedCommand, epilog=_EXAMPLE)
@job.job_options
@click.option("--explain", is_flag=True, help="Print the plan as a table on stderr as well.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON, not the script.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    job_file: Path | None,
    explain: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Print the Slurm script of a run, and nothing else, on stdout.

    Limits of the site are checked before anything is printed. What else is worth knowing goes to
    stderr.
    """
    planner = job.make_planner(ctx, **options)
    plan = planner.plan(job.make_request(planner, job_file))
    output = _to_json(plan) if as_json else _to_script(plan)
    for note in plan.notes:
        say(f"note: {note}")
    if explain:
        job.explain(plan)
    # Bytes, because a path may hold letters that the terminal's encoding does not have.
    sys.stdout.buffer.write(output)
    sys.stdout.buffer.flush()


def _to_script(plan: JobPlan) -> bytes:
    from hvdtrain.slurm.render import render_script

    return render_script(plan).encode()


def _to_json(plan: JobPlan) -> bytes:
    return msgspec.json.format(msgspec.json.encode(plan)) + b"\n"
