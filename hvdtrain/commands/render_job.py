"""`hvdtrain render-job`: the Slurm script of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hvdtrain.cli import job_options as job
from hvdtrain.cli.output import print_json, print_text, say
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
    # Before the notes: what cannot be rendered is not talked about.
    script = "" if as_json else _to_script(plan)
    for note in plan.notes:
        say(f"note: {note}")
    if explain:
        job.explain(plan)
    if as_json:
        print_json(plan)
    else:
        print_text(script)


def _to_script(plan: JobPlan) -> str:
    from hvdtrain.slurm.render import render_script

    return render_script(plan)
